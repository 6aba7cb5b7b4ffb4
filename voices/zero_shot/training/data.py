"""`FineTuningData`: what is trained on and what is held out, a file of tensors per clip, so that hours of recordings
take no memory.

A clip is up to eight seconds of a recording. The content encoder hears it as it is, and played slower and faster: what
is sung is then told by sounds of other formants, so that the model takes the voice from the prompt and the style, not
from what is left of it in the content. (seed-vc's training has another converter sing the clip instead.)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from understudy.audio.resample import resample
from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.models import Weights
from understudy.voices.training.hold_out import hold_out
from understudy.voices.training.run_folder import RunFolder
from understudy.voices.zero_shot import content
from understudy.voices.zero_shot.configuration import RATE, Mel
from understudy.voices.zero_shot.content import load_content_encoder
from understudy.voices.zero_shot.references import Clip, cut
from understudy.voices.zero_shot.style import load_style_encoder
from understudy.voices.zero_shot.vocoder import log_mel

FILE = "clips.json"
LEAST = 10.0  # seconds of clips, below which there is nothing to learn
PLAYED = (0, -3, 3)  # semitones by which the content encoder hears a clip lower and higher


@dataclass(frozen=True, eq=False)
class Example:
    """A clip as the networks know it: `mel` ``[bands, frames]``, `f0` in Hz ``[frames]``, `style` ``[style]``, and the
    content features ``[T, values]`` of each way of `PLAYED`, which all stand for the same time."""

    mel: Tensor
    f0: Tensor
    style: Tensor
    content: tuple[Tensor, ...]

    def to(self, device: str) -> Example:
        there = (self.mel.to(device), self.f0.to(device), self.style.to(device))
        return Example(*there, tuple(heard.to(device) for heard in self.content))


@dataclass(frozen=True)
class FineTuningData:
    """The files of the clips that are trained on and of those that are held out, and how many seconds each recording
    has of both: ``{name: (trained, held out)}``."""

    training: tuple[Path, ...]
    held_out: tuple[Path, ...]
    seconds: dict[str, tuple[float, float]]


def read_example(path: Path, device: str) -> Example:
    mel, f0, style, *heard = torch.load(path, weights_only=True)
    return Example(mel, f0, style, tuple(heard)).to(device)


def make_data(
    context: Context,
    folder: RunFolder,
    recordings: Sequence[tuple[str, Path]],
    mel: Mel,
    whisper: Weights,
    campplus: Weights,
) -> FineTuningData:
    """The data of `recordings` (name and file) in the run's `folder`, for a model of these bands; what an earlier call
    made there is kept.

    Raises `UnderstudyError` ``too-little-data`` for less than `LEAST` seconds of clips, ``disk-full``, and what loading
    the two networks raises; `Cancelled`.
    """
    known = read_data(folder)
    if known is not None:
        return known
    clips = [(name, cut(context.part(0, 0), path)) for name, path in recordings]
    amounts = [sum(map(_seconds, found)) for _, found in clips]
    if sum(amounts) < LEAST:
        raise UnderstudyError(
            "too-little-data",
            f"The recordings hold {int(10 * sum(amounts)) / 10} s of sound to train on; at least {LEAST:.0f} s are "
            "needed.",
            "Add recordings: a minute of singing or more. Without training the voice sings from 15 s on.",
        )
    describe = _describer(mel, whisper, campplus, context.device)
    held = [_held_out(found, amount) for (_, found), amount in zip(clips, hold_out(amounts), strict=True)]
    total, done = sum(len(found) for _, found in clips), 0
    files: tuple[list[str], list[str]] = ([], [])
    for number, ((_, found), first_held) in enumerate(zip(clips, held, strict=True)):
        for place, clip in enumerate(found):
            context.progress(done / total)
            path = folder.path / "materials" / f"clip-{number}-{place}.pt"
            if not path.exists():
                with folder.placing(path) as part, part.open("wb") as file:
                    torch.save(describe(clip), file)
            files[place >= first_held].append(path.name)
            done += 1
    seconds = {
        name: (sum(map(_seconds, found[:first])), sum(map(_seconds, found[first:])))
        for (name, found), first in zip(clips, held, strict=True)
    }
    folder.write_json(FILE, {"training": files[0], "held_out": files[1], "seconds": seconds})
    made = read_data(folder)
    assert made is not None
    return made


def read_data(folder: RunFolder) -> FineTuningData | None:
    """What `make_data` described in `folder`; None where it, or a file of it, isn't there."""
    try:
        found = json.loads((folder.path / FILE).read_bytes())
        place = folder.path / "materials"
        files = [tuple(place / name for name in found[use]) for use in ("training", "held_out")]
        seconds = {name: (trained, held) for name, (trained, held) in found["seconds"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    there = all(path.is_file() for path in (*files[0], *files[1]))
    return FineTuningData(files[0], files[1], seconds) if there else None


def _seconds(clip: Clip) -> float:
    return len(clip.sound) / RATE


def _held_out(clips: Sequence[Clip], wanted: float) -> int:
    """The number of the clip from which on those of a recording are held out: as few as have the `wanted` seconds."""
    first = len(clips)
    while first and sum(map(_seconds, clips[first:])) < wanted - 1e-6:
        first -= 1
    return first


def _describer(bands: Mel, whisper: Weights, campplus: Weights, device: str) -> Callable[[Clip], list[Tensor]]:
    """What makes an `Example` of a clip, as the list that its file holds."""
    encoder, styles = load_content_encoder(whisper.path).to(device), load_style_encoder(campplus.path).to(device)

    @torch.no_grad()
    def describe(clip: Clip) -> list[Tensor]:
        heard = []
        for semitones in PLAYED:
            played = Audio(clip.sound[None], round(RATE * 2 ** (semitones / 12)))
            low = torch.from_numpy(resample(played, content.RATE).samples[0]).to(device)
            heard.append(encoder(low[: content.LONGEST]))
        sound = Audio(clip.sound[None], RATE)
        style = styles(torch.from_numpy(resample(sound, content.RATE).samples[0]).to(device))
        samples = torch.from_numpy(resample(sound, bands.rate).samples[0]).to(device)
        mel = log_mel(samples[: len(samples) // bands.hop * bands.hop], bands)
        return [tensor.cpu() for tensor in (mel, torch.from_numpy(clip.f0[: mel.shape[1]]), style, *heard)]

    return describe
