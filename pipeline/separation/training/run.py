"""`train_into`: a training from a folder of songs to a file of weights, in a folder of its own that it can go on in."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.models.precision import default_precision
from understudy.pipeline.separation.embedded import weights
from understudy.pipeline.separation.training.examples import example_of, prepare
from understudy.pipeline.separation.training.quality import quality
from understudy.pipeline.separation.training.songs import songs_in
from understudy.pipeline.separation.training.train import Run, TrainingSettings, begin, resume, save, train

CHECK_SECONDS = 60.0


@dataclass(frozen=True)
class Checkpoint:
    """Where a training stands: the mean `loss` since the last checkpoint, and the averaged weights' SDR in dB on the
    songs to check on, None without such songs."""

    step: int
    loss: float
    vocals: float | None
    instrumental: float | None


def train_into(
    context: Context,
    folder: Path,
    settings: TrainingSettings,
    examples: int,
    check: Path | None,
    tell: Callable[[Checkpoint], None],
) -> Path:
    """Train on the songs in `folder` and check on those in `check`; everything is kept in `context.folder`: the
    examples, the last checkpoint, every checkpoint's weights, and the last weights as ``network.safetensors``, whose
    path is given back. Raises what reading the songs raises, ``training-checkpoint``, and ``training-other`` where the
    folder is that of a training with other settings."""
    _same(context.folder / "training.json", {"folder": str(folder.resolve()), "examples": examples, **asdict(settings)})
    songs = songs_in(folder)
    made = context.folder / "examples"
    made.mkdir(exist_ok=True)

    def first(count: int) -> list[Path]:
        return prepare(context.part(0.0, 0.0), songs, made, min(count, examples), settings.seed)

    checked = _checked(context.part(0.0, 0.02), check) if check is not None else []
    precise = default_precision(context.device)
    settings = replace(settings, bfloat16=precise != "float32")
    last = context.folder / "checkpoint.pt"
    run = resume(settings, last, context.device) if last.exists() else begin(settings, context.device)
    final = context.folder / "network.safetensors"

    def keep(run: Run, loss: float) -> None:
        save(run, last)
        weights.write(run.average, settings.shape, context.folder / f"network-{run.step:06d}.safetensors")
        weights.write(run.average, settings.shape, final)
        vocals, instrumental = quality(run.average, checked, context.device)
        heard = not math.isnan(vocals)
        tell(Checkpoint(run.step, loss, vocals if heard else None, instrumental if heard else None))

    train(context.part(0.02, 1.0), run, first, settings, keep)
    return final


def _same(path: Path, facts: Mapping[str, object]) -> None:
    """Write `facts` to `path`, or see that they stand there."""
    text = json.dumps(facts, indent=1, sort_keys=True)
    if not path.exists():
        path.write_text(text, "utf-8")
    elif path.read_text("utf-8") != text:
        raise UnderstudyError(
            "training-other",
            f"{path.parent} holds a training of other songs or with other settings.",
            f"Give another folder with --output, or the settings that stand in {path}.",
        )


def _checked(context: Context, folder: Path) -> list[Path]:
    """The songs in `folder` as they are, up to `CHECK_SECONDS` of each, as examples."""
    made = context.folder / "check"
    made.mkdir(exist_ok=True)
    songs = songs_in(folder)
    paths = []
    for number, song in enumerate(songs):
        path = made / f"{number:05d}.npy"
        if not path.exists():
            seconds = min(CHECK_SECONDS, song.seconds)
            stems = song.read(context, max(0.0, (song.seconds - seconds) / 2), seconds)
            vocals = stems.pop("vocals")
            band = sum(stems.values()) + 0 * vocals
            example_of(vocals, band).save(path)
        paths.append(path)
        context.progress((number + 1) / len(songs))
    return paths
