"""``understudy batch``: a chart of songs times a set of voices."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from understudy.errors import UnderstudyError
from understudy.services.cli.console import cancellable, item_progress, print_note, print_result
from understudy.services.cli.options import OUTPUT, SETTINGS, Options, with_options
from understudy.wording import counted, length

if TYPE_CHECKING:
    from understudy.pipeline.executor import StageEvent
    from understudy.services.batch.plan import Item
    from understudy.services.batch.run import Outcome


@with_options("format start duration overwrite engine transpose key", SETTINGS, OUTPUT)
def batch(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="A chart (CSV or JSON lines with the columns song, voice and any setting), folders, globs, songs."
        ),
    ],
    voice: Annotated[list[str] | None, typer.Option(help="Sing every song with this voice; repeat for more.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of covers and table; default covers/CHART.")
    ] = None,
    at_once: Annotated[int, typer.Option("--jobs", min=1, max=64, help="Covers made at once.")] = 2,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, list what would be made, and stop.")
    ] = False,
    only_failed: Annotated[bool, typer.Option("--only-failed", help="Only covers that failed the last time.")] = False,
    server: Annotated[str | None, typer.Option(help="Let this server make them, e.g. http://host:8000.")] = None,
    server_key: Annotated[str | None, typer.Option(help="Its API key; or UNDERSTUDY_SERVER_KEY.")] = None,
    *,
    options: Options,
) -> None:
    """Make many covers: every row of a chart, or every song with every voice.

    Everything is checked before the first cover is made. A song is separated once for all its voices. A cover that
    fails is reported, and the others go on. Run the same command again to continue a batch that was stopped.
    """
    from understudy import environment
    from understudy.pipeline.journal import Journal
    from understudy.pipeline.separating import check_models
    from understudy.services.batch.chart import read_chart
    from understudy.services.batch.plan import estimate, plan
    from understudy.services.batch.remote import Server
    from understudy.services.batch.run import LocalMaker, Maker, Outcome, remaining, run_batch
    from understudy.services.batch.table import write_table

    if "=" in (options.values["transpose"] or ""):
        hint = "Give one number or auto, or a column 'transpose' in the chart."
        raise UnderstudyError("option-invalid", "A batch can't transpose single voices with --transpose.", hint)
    rows = read_chart(sources, voice or [])
    folder = output or _folder(sources)
    executor = options.executor()
    maker: Maker = LocalMaker(executor, lambda name: options.cast([name]), options.overwrite)
    check = check_models if server is None else None
    if server is not None:
        key = server_key or os.environ.get("UNDERSTUDY_SERVER_KEY")
        maker = Server(server, key, options.values["engine"])
    items = plan(rows, folder, options.preset, options.assignments(), options.overwrite, maker.find, check)
    journal = Journal(folder / "batch.jsonl", Outcome)
    left, outcomes = remaining(items, journal.read(), only_failed)
    seconds = estimate(left)
    songs = len({item.song for item in left})
    takes = (
        f"To make: {len(left)}, from {counted(songs, 'song')}. "
        f"With the embedded separator that takes about {length(max(10, seconds))}."
    )
    covers = counted(len(items), "cover")
    print_note(f"{covers}, {len(outcomes)} of them made before. {takes if left else 'Nothing is to be made.'}")
    if dry_run:
        described = [
            {"song": str(item.song), "voice": item.voice_name, "cover": str(item.output), "make": item in left}
            for item in items
        ]
        print_result(
            {"covers": described, "to_make": len(left), "estimated_seconds": seconds},
            lambda: "\n".join(f"{'make' if one['make'] else 'kept'}  {escape(str(one['cover']))}" for one in described),
        )
        return
    with cancellable() as cancelled, item_progress("The batch", len(left)) as show:

        def tidy() -> None:
            write_table(folder, items, outcomes)
            executor.store.prune(environment.cache_limit(), spare=3600)  # a long chart would fill the disk

        def listen(item: Item, event: StageEvent | Outcome) -> None:
            show(item.title, event)

        run_batch(left, outcomes, maker, journal, listen, cancelled, at_once, tidy)
    _answer(folder, items, outcomes, write_table(folder, items, outcomes))


def _folder(sources: list[str]) -> Path:
    """``covers/NAME`` after a chart or a folder, else ``covers``."""
    only = Path(sources[0])
    named = len(sources) == 1 and (only.is_dir() or only.is_file()) and only.resolve().stem
    return Path("covers") / named if named else Path("covers")


def _answer(folder: Path, items: list[Item], outcomes: dict[str, Outcome], files: dict[str, Path]) -> None:
    from dataclasses import asdict

    ended = [outcomes[item.identity] for item in items if item.identity in outcomes]
    failed = [outcome for outcome in ended if outcome.state == "failed"]
    made = len(ended) - len(failed)
    data = {
        "folder": str(folder),
        "table": {name: str(path) for name, path in files.items()},
        "made": made,
        "failed": len(failed),
        "covers": [asdict(outcome) for outcome in ended],
    }
    place, table = escape(str(folder)), escape(str(files["html"]))
    are = f"{made} of {counted(len(items), 'cover')} {'is' if made == 1 else 'are'}"
    lines = [f"{are} in [bold]{place}[/]; the table is {table}"]
    lines += [f"[red]failed[/] {escape(one.song)} ({escape(one.voice)}): {escape(one.reason)}" for one in failed]
    print_result(data, lambda: "\n".join(lines))
    if failed:
        raise typer.Exit(1)
