"""``understudy evaluate``: separators compared on songs whose stems are known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from understudy.services.cli.console import cancellable, item_progress, print_note, print_result
from understudy.services.cli.options import OUTPUT, Options, with_options

if TYPE_CHECKING:
    from understudy.pipeline.evaluation.dataset import Song
    from understudy.pipeline.evaluation.run import Row
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
        list[str] | None, typer.Option(help="A separator, or an ensemble A+B; repeat to compare several.")
    ] = None,
    preset: Annotated[list[str] | None, typer.Option(help="A preset's separation; repeat to compare several.")] = None,
    stems: Annotated[
        Literal["2", "4"], typer.Option(help="2: vocals, instrumental; 4: drums, bass and other, too.")
    ] = "2",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the tables; default evaluations/FOLDER.")
    ] = None,
    at_once: Annotated[int, typer.Option("--jobs", min=1, max=64, help="Songs at once.")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many songs.")] = None,
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

    pairs = len(job.dataset.songs) * len(compared)
    with cancellable() as cancelled, item_progress("All songs", pairs) as show:

        def listen(name: str, song: Song, event: StageEvent | Row) -> None:
            show(f"{song.name} ({name})", event)

        result = evaluate_separators(job, executor, listen, cancelled, tidy)
    table, page = escape(text_table([*result.rows, *result.others])), escape(str(result.files["html"]))
    failed = "".join(
        f"[red]failed[/] {escape(row.song)} ({escape(row.candidate)}): {escape(row.reason)}\n" for row in result.failed
    )
    print_result(result.to_dict(), lambda: f"{table}\n{failed}Tables and plots: [bold]{page}[/]")
    if result.failed:
        raise typer.Exit(1)
