"""``understudy batch``: a chart of songs times a set of voices."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from understudy.services.cli.console import cancellable, item_progress, print_note, print_result
from understudy.services.cli.options import CLUSTER, OUTPUT, SETTINGS, Options, with_options
from understudy.wording import clock, counted

if TYPE_CHECKING:
    from understudy.pipeline.executor import StageEvent
    from understudy.services.batch.plan import Item, Plan
    from understudy.services.batch.run import Outcome
    from understudy.services.batch.timing import StageTimes


@with_options(
    "format name cookies video loudness start duration overwrite engine transpose key", SETTINGS, CLUSTER, OUTPUT
)
def batch(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="A chart (CSV or JSON lines with the columns song, voice and any setting), folders, globs, songs."
        ),
    ],
    voice: Annotated[list[str] | None, typer.Option(help="Sing every song with this voice; repeat for more.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="What the chart calls our columns: song=Titel,artist=Interpret.")
    ] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(help="Make each cover with each of these values, e.g. index_rate=0.25,0.5; the best comes first."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of covers and table; default covers/CHART.")
    ] = None,
    at_once: Annotated[int, typer.Option("--jobs", min=1, max=64, help="Covers made at once.")] = 2,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, list what would be made, and stop.")
    ] = False,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave out rows that can't be made, and make the others.")
    ] = False,
    watching: Annotated[
        bool, typer.Option("--watch", help="Go on with what comes into the folders, until Ctrl-C.")
    ] = False,
    only_failed: Annotated[bool, typer.Option("--only-failed", help="Only covers that failed the last time.")] = False,
    server: Annotated[str | None, typer.Option(help="Let this server make them, e.g. http://host:8000.")] = None,
    server_key: Annotated[str | None, typer.Option(help="Its API key; better: set UNDERSTUDY_SERVER_KEY.")] = None,
    *,
    options: Options,
) -> None:
    """Make many covers: every row of a chart, or every song with every voice.

    Everything is checked before the first cover is made. A song is separated once for all its voices. A cover that
    fails is reported, and the others go on. Run the same command again to continue a batch that was stopped.
    """
    from understudy import environment
    from understudy.errors import Cancelled
    from understudy.pipeline.journal import Journal
    from understudy.services.batch.chart import Chart, Row, parse_columns, parse_sweeps, read_chart
    from understudy.services.batch.plan import Maker, Plan, plan
    from understudy.services.batch.remote import Server
    from understudy.services.batch.run import LocalMaker, Outcome, remaining, run_batch
    from understudy.services.batch.table import write_table
    from understudy.services.batch.timing import StageTimes
    from understudy.services.batch.watch import watch

    named, sweeps = parse_columns(columns), parse_sweeps(sweep or [])
    folder = output or _folder(sources)
    executor = options.executor()
    times = StageTimes(options.cache / "stage_times.jsonl", at_once)
    maker: Maker = LocalMaker(
        executor,
        lambda singers: options.singers([singers.voice], singers.engine, singers.transposes),
        options.overwrite,
        times,
    )
    if server_key is not None:
        print_note("--server-key shows the key to every user of this machine: set UNDERSTUDY_SERVER_KEY instead.")
    if server is not None:
        maker = Server(server, server_key or os.environ.get("UNDERSTUDY_SERVER_KEY"), times)

    def read() -> Chart:
        with options.fetching() as fetch:
            return read_chart(sources, voice or [], options.values["engine"], options.transposes, named, sweeps, fetch)

    def planned(chart: Chart, before: tuple[Item, ...] = ()) -> Plan:
        given = options.assignments()
        return plan(chart, folder, options.preset, given, options.overwrite, maker, before)

    chart = read()
    # what is watched is checked when its turn comes
    todo = planned(Chart((), chart.problems) if watching and not dry_run else chart)
    todo.check(skip_invalid)
    journal = Journal(folder / "batch.jsonl", Outcome)
    left, outcomes = remaining(todo.items, journal.read(), only_failed)
    if dry_run:
        _tell(todo, left, times)
        _show(todo, left, times)
        return
    with cancellable() as cancelled:

        def make(part: Plan, left: list[Item]) -> None:
            _tell(part, left, times)
            times.begin()
            with item_progress("The batch", len(left)) as show:

                def tidy() -> None:
                    write_table(folder, todo, outcomes)
                    executor.store.prune(environment.cache_limit(), spare=3600)  # a long chart would fill the disk

                def listen(item: Item, event: StageEvent | Outcome) -> None:
                    show(item.label, event)

                run_batch(left, outcomes, maker, journal, listen, cancelled, at_once, tidy)

        def make_fresh(rows: tuple[Row, ...]) -> None:
            nonlocal todo
            kept = todo.without(rows)
            fresh = planned(Chart(rows), kept.items)
            todo = Plan((*kept.items, *fresh.items), (*kept.skipped, *fresh.skipped), ())
            left, done = remaining(fresh.items, journal.read(), only_failed)
            outcomes.update(done)
            make(fresh, left)

        if watching:
            print_note(f"Watching {escape(', '.join(sources))}; Ctrl-C ends it.")
            with suppress(Cancelled):
                watch(read, make_fresh, cancelled)
        else:
            make(todo, left)
    _answer(folder, todo, outcomes, write_table(folder, todo, outcomes))


def _show(todo: Plan, left: list[Item], times: StageTimes) -> None:
    """What would be made."""
    described = [
        {
            "song": str(item.song),
            "voice": item.voice_name,
            "cover": str(item.output),
            "make": item in left,
            "swept": dict(item.row.swept),
        }
        for item in todo.items
    ]
    seconds, unknown = times.estimate(work for item in left for work in item.works)
    data = {
        "covers": described,
        "to_make": len(left),
        "estimated_seconds": seconds or None,
        "not_in_estimate": unknown,
        "skipped": [{"source": one.row.source, "problems": one.problems} for one in todo.skipped],
    }
    print_result(
        data,
        lambda: "\n".join(f"{'make' if one['make'] else 'kept'}  {escape(str(one['cover']))}" for one in described),
    )


def _tell(todo: Plan, left: list[Item], times: StageTimes) -> None:
    """What is about to be made, what isn't and why, and how long it takes."""
    for one in todo.skipped:
        print_note(f"[yellow]Skipped[/] {escape(one.row.source)}: {escape('; '.join(one.problems))}")
    carried = dict.fromkeys(name for item in todo.items for name in item.row.carried)
    if carried:
        print_note(f"Not settings, carried into the table: {escape(', '.join(carried))}.")
    sentences = [f"{counted(len(todo.items), 'cover')}, {len(todo.items) - len(left)} of them made before."]
    if left:
        songs = len({item.song for item in left})
        sentences.append(f"To make: {len(left)}, from {counted(songs, 'song')}.")
        seconds, unknown = times.estimate(work for item in left for work in item.works)
        if seconds:
            sentences.append(f"That takes about {clock(max(10.0, seconds))}, by what earlier covers took here.")
            if unknown:
                sentences.append(f"Not counted, because it never ran here: {', '.join(unknown)}.")
        else:
            sentences.append("How long that takes isn't known: nothing like it was made on this machine.")
    else:
        sentences.append("Nothing is to be made.")
    print_note(" ".join(sentences))


def _folder(sources: list[str]) -> Path:
    """``covers/NAME`` after a chart or a folder, else ``covers``."""
    only = Path(sources[0])
    named = len(sources) == 1 and (only.is_dir() or only.is_file()) and only.resolve().stem
    return Path("covers") / named if named else Path("covers")


def _answer(folder: Path, todo: Plan, outcomes: dict[str, Outcome], files: dict[str, Path]) -> None:
    from dataclasses import asdict

    from understudy.services.batch.table import table_lines, total_time, tracks

    lines = table_lines(todo, outcomes)
    ended = [line.outcome for line in lines if line.outcome is not None]
    failed = [outcome for outcome in ended if outcome.state == "failed"]
    made = len(ended) - len(failed)
    data = {
        "folder": str(folder),
        "table": {name: str(path) for name, path in files.items()},
        "made": made,
        "failed": len(failed),
        "skipped": len(todo.skipped),
        "total_seconds": total_time(tracks(lines)),
        "covers": [{**asdict(line.outcome), "rank": line.rank} for line in lines if line.outcome is not None],
    }
    place, table = escape(str(folder)), escape(str(files["html"]))
    are = f"{made} of {counted(len(lines), 'cover')} {'is' if made == 1 else 'are'}"
    told = [f"{are} in [bold]{place}[/]; the table is {table}"]
    played = tracks(lines)
    if len(played) > 1:
        told += [f"Track list: {escape(str(files['m3u8']))}, {len(played)} tracks, {clock(total_time(played))}"]
    told += [f"[red]failed[/] {escape(one.song)} ({escape(one.voice)}): {escape(one.reason)}" for one in failed]
    told += [
        f"[yellow]skipped[/] {escape(line.song.name if line.song else 'a row')}: {escape(line.reason)}"
        for line in lines
        if line.state == "skipped"
    ]
    told += [
        f"[green]best[/] {escape(line.outcome.cover)}" for line in lines if line.rank == 1 and line.outcome is not None
    ]
    print_result(data, lambda: "\n".join(told))
    if failed or todo.skipped:
        raise typer.Exit(1)
