"""``understudy evaluate``: separators compared on songs whose stems are known."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape
from rich.progress import TaskID

from understudy.services.cli.console import cancellable, print_note, print_result, progress_bars
from understudy.services.cli.options import OUTPUT, Options, with_options
from understudy.services.stage_titles import stage_title

if TYPE_CHECKING:
    from understudy.pipeline.evaluation.dataset import Song
    from understudy.pipeline.evaluation.run import Listener, Row
    from understudy.pipeline.executor import StageEvent


@with_options("set cache device", OUTPUT)
def evaluate(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Songs with known stems, as in MUSDB18-HQ: SONG/mixture.wav, vocals.wav ..., or .stem.mp4."
        ),
    ],
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="A separator, or an ensemble A+B; repeat to compare several.", show_default=False),
    ] = None,
    preset: Annotated[
        list[str] | None,
        typer.Option("--preset", help="A preset's separation; repeat to compare several.", show_default=False),
    ] = None,
    stems: Annotated[
        Literal["2", "4"], typer.Option("--stems", help="2: vocals, instrumental; 4: drums, bass and other, too.")
    ] = "2",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the tables; default evaluations/FOLDER.", show_default=False),
    ] = None,
    at_once: Annotated[int, typer.Option("--jobs", min=1, max=64, help="Songs at once.")] = 1,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first so many songs.")] = None,
    *,
    options: Options,
) -> None:
    """Compare separators: SDR, SI-SDR, BSSEval v4, speed and memory, with tables and plots.

    Run the same command again to continue an evaluation that was stopped. A further --model costs only that model.
    """
    from understudy import environment
    from understudy.evaluations import EvaluationJob, candidates, evaluate_separators
    from understudy.pipeline.evaluation.table import text_table

    compared = candidates(model or [], preset or [], options.assignments({}))
    job = EvaluationJob(folder, compared, int(stems), out, limit, at_once)
    for sentence in job.dataset.passed_over:
        print_note(f"[yellow]Note:[/] {escape(sentence)}")
    executor = options.executor()

    def tidy() -> None:
        executor.store.prune(environment.cache_limit(), spare=3600)

    with cancellable() as cancelled, _lines(len(job.dataset.songs) * len(compared)) as listener:
        result = evaluate_separators(job, executor, listener, cancelled, tidy)
    table, page = escape(text_table([*result.rows, *result.others])), escape(str(result.files["html"]))
    failed = "".join(
        f"[red]failed[/] {escape(row.song)} ({escape(row.candidate)}): {escape(row.reason)}\n" for row in result.failed
    )
    print_result(result.to_dict(), lambda: f"{table}\n{failed}Tables and plots: [bold]{page}[/]")
    if result.failed:
        raise typer.Exit(1)


@contextmanager
def _lines(count: int) -> Iterator[Listener]:
    """A progress line for all songs, and one for each that is being worked on."""
    from understudy.pipeline.evaluation.run import Row

    with progress_bars() as progress:
        total = progress.add_task("All songs".ljust(36), total=count, note="")
        tasks: dict[tuple[str, str], TaskID] = {}

        def listen(name: str, song: Song, event: StageEvent | Row) -> None:
            label = f"{song.name} ({name})"
            if isinstance(event, Row):
                if (name, song.name) in tasks:
                    progress.remove_task(tasks.pop((name, song.name)))
                progress.advance(total)
                if event.state == "failed":
                    print_note(f"[red]Failed:[/] {escape(label)}: {escape(event.reason)}")
                return
            if (name, song.name) not in tasks:
                tasks[name, song.name] = progress.add_task(label[:36].ljust(36), total=1.0, note="")
            progress.update(
                tasks[name, song.name], completed=event.fraction, note=stage_title(event.kind, event.subject)
            )

        yield listen
