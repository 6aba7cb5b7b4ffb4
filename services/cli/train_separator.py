"""``understudy train-separator``: the embedded separator's network, trained on one's own songs with known stems."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from understudy.context import Context
from understudy.services.cli import options as o
from understudy.services.cli.console import answer, cancellable, progress_lines, say


def train_separator(
    folder: Annotated[
        Path, typer.Argument(help="Songs with known stems: a folder each, or .stem.mp4, as in MUSDB18 and MUSDB18-HQ.")
    ],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run; an old run there goes on.")],
    check: Annotated[
        Path | None, typer.Option("--check", help="Other songs, to check on after each checkpoint.", show_default=False)
    ] = None,
    examples: Annotated[int, typer.Option("--examples", min=1, help="Remixes of 24 s to train on.")] = 300,
    steps: Annotated[int, typer.Option("--steps", min=1)] = 6000,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Crops of 6 s that a step sees.")] = 2,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 1,
    device: o.DEVICE = None,
    json: o.JSON = False,
    quiet: o.QUIET = False,
    debug: o.DEBUG = False,
) -> None:
    """Train the embedded separator's network on songs whose stems are known.

    Writes OUTPUT/network.safetensors after each checkpoint; stopped and started again, it goes on where it was.
    """
    from understudy.pipeline.separation.training.run import Checkpoint, train_into
    from understudy.pipeline.separation.training.train import TrainingSettings
    from understudy.services.device import choose_device

    settings = TrainingSettings(steps=steps, batch=batch, seed=seed)
    told: list[Checkpoint] = []

    def tell(checkpoint: Checkpoint) -> None:
        told.append(checkpoint)
        say(_line(checkpoint))

    with cancellable() as cancelled, progress_lines() as progress:
        task = progress.add_task("Training the separator".ljust(36), total=1.0, note="")
        output.mkdir(parents=True, exist_ok=True)
        context = Context(
            output,
            choose_device(device),
            on_progress=lambda fraction: progress.update(task, completed=fraction),
            cancelled=cancelled,
        )
        path = train_into(context, folder, settings, examples, check, tell)
    last = told[-1] if told else None
    data = {
        "network": str(path),
        "steps": steps,
        "loss": last.loss if last else None,
        "vocals": last.vocals if last else None,
        "instrumental": last.instrumental if last else None,
    }
    answer(data, lambda: f"[bold]{escape(str(path))}[/]" + (f"\n{_line(last)}" if last else "\nnothing left to train"))


def _line(checkpoint: object) -> str:
    from understudy.pipeline.separation.training.run import Checkpoint

    assert isinstance(checkpoint, Checkpoint)
    heard = ""
    if checkpoint.vocals is not None and checkpoint.instrumental is not None:
        heard = f", SDR {checkpoint.vocals:.2f} dB vocals, {checkpoint.instrumental:.2f} dB instrumental"
    return f"step {checkpoint.step}: loss {checkpoint.loss:.4f}{heard}"
