"""``understudy doctor``, ``presets`` and ``cache``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.markup import escape

from understudy import environment
from understudy.services.cli.console import print_result
from understudy.services.cli.options import OUTPUT, Options, with_options

cache_app = typer.Typer(help="The cached results of stages.", no_args_is_help=True)


@with_options("voices cache", OUTPUT)
def doctor(options: Options) -> None:
    """Check device, libraries, models and disk; says what is missing and what it costs. Exits 1 for a problem."""
    from understudy.services.doctor import examine

    checks = examine(options.voices, options.cache)
    marks = {"ok": "[green]✓[/]", "lack": "[yellow]![/]", "problem": "[red]✗[/]"}
    data = {"checks": [asdict(check) for check in checks]}
    print_result(data, lambda: "\n".join(f"{marks[c.state]} [bold]{c.name}[/]: {escape(c.detail)}" for c in checks))
    if any(check.state == "problem" for check in checks):
        raise typer.Exit(1)


@with_options(OUTPUT)
def presets() -> None:
    """Show the presets, and every setting with its default."""
    from understudy.pipeline.presets import presets
    from understudy.pipeline.settings import CoverSettings

    texts = {name: path.read_text("utf-8") for name, path in presets().items()}
    defaults = CoverSettings().model_dump(mode="json")
    lines = [f"[bold]{name}[/]\n{escape(text.rstrip())}" for name, text in texts.items()]
    lines += ["[bold]defaults[/] (change any with --set, in a preset, or as UNDERSTUDY_GROUP__FIELD)"]
    lines += _settings(defaults)
    print_result({"presets": texts, "defaults": defaults}, lambda: "\n".join(lines))


def _settings(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """A line per setting, by its full name."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _settings(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name} = {value}"


@cache_app.command("show")
@with_options("cache", OUTPUT)
def show_cache(options: Options) -> None:
    """Show the cache's folder and size, and that of trainings, which the limit doesn't include."""
    from understudy.pipeline.store import Store
    from understudy.voices.training.run_folder import runs_size

    store = Store(options.cache)
    size, limit, trainings = store.size(), environment.cache_limit(), runs_size(options.trainings)
    data = {"folder": str(store.root), "bytes": size, "limit": limit, "trainings": trainings}
    text = f"{escape(str(store.root))}: {size / environment.GIB:.2f} of {limit / environment.GIB:.0f} GB"
    more = f"; and {trainings / environment.GIB:.2f} GB of trainings" if trainings else ""
    print_result(data, lambda: text + more)


@cache_app.command("clear")
@with_options("cache", OUTPUT)
def clear_cache(
    trainings: Annotated[
        bool,
        typer.Option("--trainings", help="Also delete the trainings: none goes on then. Models that voices have stay."),
    ] = False,
    *,
    options: Options,
) -> None:
    """Delete all artifacts; covers, voices and trainings stay."""
    from understudy.pipeline.store import Store
    from understudy.voices.training.run_folder import remove_runs

    store = Store(options.cache)
    removed = (remove_runs(options.trainings) if trainings else 0) + store.prune(0)
    print_result({"removed": removed}, lambda: f"{removed / environment.GIB:.2f} GB freed.")
