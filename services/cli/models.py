"""``understudy models``: list, fetch, add, verify, remove, show."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from audio.context import Context
from audio.errors import UnderstudyError
from services.cli import options as o
from services.cli.console import answer, cancellable, say, stage_lines

if TYPE_CHECKING:  # each command imports what it works with, so that ``understudy --help`` answers at once
    from audio.models.catalogue import Model, Variant
    from audio.models.installed import Record, Verified

models_app = typer.Typer(help="The models that neural voices, trackers and separators need.", no_args_is_help=True)

NAMES = Annotated[list[str], typer.Argument(help="Models; 'understudy models list' shows them.")]
NAME = Annotated[str, typer.Argument(help="A model; 'understudy models list' shows them.")]
TRUST = Annotated[bool, typer.Option("--trust", help="Take a file whose hash isn't known; what it is now is recorded.")]


@models_app.command("list")
def list_(
    installed: Annotated[bool, typer.Option("--installed", help="Only those that are on this machine.")] = False,
    json: o.JSON = False,
    quiet: o.QUIET = False,
    debug: o.DEBUG = False,
) -> None:
    """The models there are: what for, how big, under which licence, from where, and whether they are here."""
    from audio.models import catalogue, models_folder

    found = [_described(model) for model in catalogue().values()]
    if installed:
        found = [model for model in found if model["state"] == "installed"]
    nothing = "No models are installed. RVC voices need one: understudy models fetch contentvec"
    data = {"folder": str(models_folder()), "models": found}
    answer(data, lambda: "\n".join(map(_line, found)) or nothing)


@models_app.command()
def show(name: NAME, json: o.JSON = False, quiet: o.QUIET = False, debug: o.DEBUG = False) -> None:
    """All that is known of a model, its files and their hashes."""
    from audio.models.catalogue import find_model

    model = find_model(name)
    found = _described(model)
    answer(found, lambda: _details(model, found))


@models_app.command()
def fetch(
    names: NAMES, trust: TRUST = False, json: o.JSON = False, quiet: o.QUIET = False, debug: o.DEBUG = False
) -> None:
    """Download models; a download that broke off goes on where it was."""
    from audio.models.catalogue import find_model
    from audio.models.fetch import fetch, what_to_fetch
    from audio.models.installed import models_folder

    plans = {name: what_to_fetch(name, trust) for name in names}  # what can't be done fails before anything is
    made = []
    for name, variant in plans.items():
        if variant is not None:
            say(_announcement(find_model(name), variant, models_folder()))
        with _work(f"fetch {name}") as context:
            made.append(fetch(name, context, trust))
    answer({"models": [_record(record) for record in made]}, lambda: "\n".join(map(_made, made)))


@models_app.command()
def add(
    path: Annotated[Path, typer.Argument(help="A model's file, or the folder of a transformers model.")],
    name: Annotated[
        str | None, typer.Option("--as", help="Which model it is, if it can't be told.", show_default=False)
    ] = None,
    trust: TRUST = False,
    link: Annotated[bool, typer.Option("--link", help="Use it where it is instead of copying it.")] = False,
    json: o.JSON = False,
    quiet: o.QUIET = False,
    debug: o.DEBUG = False,
) -> None:
    """Take in a model that is on this machine already, e.g. from another program."""
    from audio.models.add import add

    with _work("add") as context:
        record = add(path, context, name, trust, link)
    answer(_record(record), lambda: _made(record))


@models_app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Models; all that are installed if none is named.")] = None,
    json: o.JSON = False,
    quiet: o.QUIET = False,
    debug: o.DEBUG = False,
) -> None:
    """Compute the hashes of installed models again. Exits 1 when a file is missing or has changed."""
    from audio.models import catalogue
    from audio.models.installed import verify

    found = []
    for name in names or catalogue():
        with _work(f"verify {name}") as context:
            try:
                found.append(verify(name, context))
            except UnderstudyError as error:
                if names or error.code not in ("model-untrusted", "model-record"):
                    raise
                say(f"[red]✗[/] {escape(error.message)} {escape(error.hint)}")
    if not names:
        found = [model for model in found if model.state != "absent"]
    data = {"models": [_verified(model) for model in found]}
    answer(data, lambda: "\n".join(map(_verdict, found)) or "No models are installed.")
    if any(model.state != "ok" for model in found):
        raise typer.Exit(1)


@models_app.command()
def remove(name: NAME, json: o.JSON = False, quiet: o.QUIET = False, debug: o.DEBUG = False) -> None:
    """Delete a model's files; a linked file stays where it is."""
    from audio.models.installed import remove

    removed = [str(path) for path in remove(name)]
    answer({"removed": removed}, lambda: "\n".join(f"Removed {escape(path)}" for path in removed))


@contextmanager
def _work(title: str) -> Iterator[Context]:
    """A context whose progress is one line."""
    from pipeline.executor import StageEvent

    with (
        tempfile.TemporaryDirectory(prefix="understudy-") as folder,
        cancellable() as cancelled,
        stage_lines() as listen,
    ):

        def progress(fraction: float) -> None:
            listen(StageEvent(title, "progress", fraction, 0.0, "cpu"))

        yield Context(Path(folder), on_progress=progress, cancelled=cancelled)


def _described(model: Model) -> dict[str, Any]:
    from audio.models.installed import installed, read_record

    found: dict[str, Any] = {
        "name": model.name,
        "purpose": model.purpose,
        "architecture": model.architecture,
        "licence": model.licence,
        "page": model.page,
        "size": model.preferred.size,
        "url": model.preferred.url,
        "stems": list(model.stems),
        "sdr": dict(model.sdr),
        "variants": [variant.model_dump(mode="json") for variant in model.variants],
        "state": "absent",
    }
    try:
        weights = installed(model.name)
    except UnderstudyError as error:
        return {**found, "state": "unusable", "error": {"code": error.code, "message": error.message}}
    record = read_record(model) if weights else None
    return {**found, "state": "installed", "installed": _record(record)} if record else found


def _record(record: Record) -> dict[str, Any]:
    from audio.models.installed import models_folder

    described = record.model_dump(mode="json")
    return {**described, "path": str(models_folder() / record.weights.path)}


def _line(found: dict[str, Any]) -> str:
    mark = {"installed": "[green]✓[/]", "absent": "·", "unusable": "[red]✗[/]"}[found["state"]]
    size = "size unknown" if found["size"] is None else f"{found['size'] / 1e6:.0f} MB"
    sdr = ", ".join(f"{stem} {value:.1f} dB" for stem, value in found["sdr"].items())
    lines = [
        f"{mark} [bold]{found['name']}[/]  {escape(found['purpose'])}",
        f"    {size}; {escape(found['licence'])}; {escape(found['page'])}" + (f"; SDR {sdr}" if sdr else ""),
    ]
    match found["state"]:
        case "installed":
            lines.append(f"    installed: {escape(found['installed']['path'])}")
        case "unusable":
            lines.append(f"    [red]{escape(found['error']['message'])}[/]")
        case _:
            lines.append(f"    not installed: understudy models fetch {found['name']}")
    return "\n".join(lines)


def _details(model: Model, found: dict[str, Any]) -> str:
    lines = [_line(found), "Any one of these files is the model:"]
    for variant in model.variants:
        for file in (variant, *variant.companions):
            size = "size unknown" if file.size is None else f"{file.size:,} bytes"
            known = f", published as {file.known_as}" if file.known_as else ""
            lines.append(f"  {escape(file.file)}{escape(known)} ({escape(variant.format)}), {size}")
            origin = f" (from {file.sha256_from})" if file.sha256_from else ""
            lines.append(
                f"    SHA-256 {file.sha256}{escape(origin)}" if file.sha256 else "    no hash is known for sure"
            )
            lines.append(f"    {escape(file.url)}" if file.url else "    published at no fixed address")
    return "\n".join(lines)


def _announcement(model: Model, variant: Variant, folder: Path) -> str:
    from audio.models.installed import size_text

    lines = [f"[bold]{model.name}[/]: {escape(model.purpose)}. Licence: {escape(model.licence)}."]
    for file in (variant, *variant.companions):
        lines.append(f"  {size_text(file)} from {escape(str(file.url))}\n  to {escape(str(folder / file.file))}")
    return "\n".join(lines)


def _made(record: Record) -> str:
    from audio.models.installed import models_folder

    trusted = ", trusted by you" if any(file.trusted for file in record.files) else ", the known file"
    path = escape(str(models_folder() / record.weights.path))
    return f"[green]✓[/] [bold]{record.model}[/]  {path}\n    SHA-256 {record.weights.sha256}{trusted}"


def _verified(model: Verified) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(model)


def _verdict(model: Verified) -> str:
    file = escape(model.file)
    says: dict[str, Callable[[], str]] = {
        "ok": lambda: f"[green]✓[/] [bold]{model.name}[/]  {file}" + (" (trusted by you)" if model.trusted else ""),
        "changed": lambda: f"[red]✗[/] [bold]{model.name}[/]  {file} has changed: it is {model.sha256} now",
        "missing": lambda: f"[red]✗[/] [bold]{model.name}[/]  {file} is missing",
        "absent": lambda: f"[red]✗[/] [bold]{model.name}[/]  is not installed: understudy models fetch {model.name}",
    }
    return says[model.state]()
