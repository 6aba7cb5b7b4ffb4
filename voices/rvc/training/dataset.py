"""`Dataset`: what a model is trained on, and what is held out to evaluate it. All of it stays on disk and is read as it
is needed, so hours of recordings take no memory.

Frames are 10 ms apart. Frame t of a clip has the pitch at its 10 t ms and the content features of frame t // 2: those
have 50 frames a second, each used twice, as in conversion.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from understudy.audio.pitch import PitchTrack
from understudy.audio.pitch.track import HOP
from understudy.audio.samples import Audio, Samples
from understudy.audio.stored import AudioFile, write_blocks
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.voices.recordings import Finding
from understudy.voices.rvc.architecture import CONTENT_CHANNELS
from understudy.voices.rvc.training.slicing import CONTENT_RATE, SHORTEST, TICKS, Clips, Piece
from understudy.voices.training.hold_out import hold_out

if TYPE_CHECKING:
    from understudy.voices.rvc.embedders import Embedder
    from understudy.voices.rvc.hubert.encoder import Version

LEAST = 10.0  # seconds of sound below which there is nothing to learn
GAP = 100  # ticks, 0.5 s, between what is trained on and what is held out of the same recording
SILENCE = 600  # ticks, 3 s, of the silence that is added to the data
SILENCES = 2  # how often it is there in the data

Features = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class RecordingData:
    """All that training needs of a recording. `pitch`: at 5 ms, of the whole recording; None for models without pitch.
    `content`: a `.npy` with the features of all pieces one after the other, float32 ``[frames at 50 a second, D]``."""

    name: str
    clips: Clips
    pitch: PitchTrack | None
    content: Path


@dataclass(frozen=True)
class Clip:
    """A piece of a recording, or its beginning. `recording`: its number. `frames`: of 10 ms, as many as have sound,
    pitch and content. `row`: the first of its content features in those of the recording."""

    recording: int
    piece: Piece
    frames: int
    row: int

    @property
    def seconds(self) -> float:
        return self.frames / 100

    @property
    def stop(self) -> int:
        """The tick at which it ends."""
        return self.piece.start + 2 * self.frames


@dataclass(frozen=True, eq=False)
class Dataset:
    """`recordings`: the last one is silence. `clips`: of all of them, one after the other. `training`, `held_out`:
    which clips are trained on, silence among them, and which are not. `sample_rate`: Hz. `findings`: what is left out
    (``broken``, ``snatches``, ``silent``) and what is ``held-out``."""

    recordings: tuple[RecordingData, ...]
    clips: tuple[Clip, ...]
    training: tuple[int, ...]
    held_out: tuple[int, ...]
    sample_rate: int
    findings: tuple[Finding, ...] = ()

    @property
    def training_seconds(self) -> float:
        """Seconds of sound that is trained on, without the added silence; where clips overlap it counts once."""
        return seconds(self.clips[index] for index in self.training if not self._is_silence(index))

    @property
    def held_out_seconds(self) -> float:
        return seconds(self.clips[index] for index in self.held_out)

    def sound(self, index: int) -> Samples:
        """The samples of a clip at the model's rate, ``[frames * hop]``."""
        return self._read(index, self._data(index).clips.sound)

    def content_sound(self, index: int) -> Samples:
        """The samples of a clip at 16 kHz, ``[frames * 160]``."""
        return self._read(index, self._data(index).clips.content_sound)

    def f0(self, index: int) -> NDArray[np.float32]:
        """The pitch of a clip in Hz ``[frames]``, 0 where unvoiced. Raises `ValueError` for data without pitch."""
        clip, pitch = self.clips[index], self._data(index).pitch
        if pitch is None:
            raise ValueError("the data was prepared for a model without pitch")
        known = pitch.f0[clip.piece.start : clip.stop : 2]
        return np.pad(known, (0, clip.frames - len(known)))

    def content(self, index: int) -> Features:
        """The content features of a clip at 50 frames a second, ``[ceil(frames / 2), D]``, memory-mapped."""
        clip = self.clips[index]
        return self._features[clip.recording][clip.row : clip.row + (clip.frames + 1) // 2]

    def content_of_training(self) -> list[Features]:
        """The content features of each training clip but silence: what an index is made of."""
        return [self.content(index) for index in self.training if not self._is_silence(index)]

    @cached_property
    def _features(self) -> tuple[Features, ...]:
        return tuple(np.load(recording.content, mmap_mode="r") for recording in self.recordings)

    def _data(self, index: int) -> RecordingData:
        return self.recordings[self.clips[index].recording]

    def _is_silence(self, index: int) -> bool:
        return self.clips[index].recording == len(self.recordings) - 1

    def _read(self, index: int, source: AudioFile) -> Samples:
        clip = self.clips[index]
        first = clip.piece.start * source.rate // TICKS
        samples = source.read(first, first + clip.frames * source.rate // 100).samples[0]
        return np.asarray(samples * np.float32(clip.piece.gain))


def make_dataset(
    recordings: Sequence[RecordingData],
    silence: RecordingData,
    sample_rate: int,
    findings: Sequence[Finding] = (),
) -> Dataset:
    """The data of `recordings` and `silence`, divided into what is trained on and what is held out.

    `findings`: about recordings that were left out before. Raises `UnderstudyError` ``too-little-data`` for less than
    10 s of sound.
    """
    data = (*recordings, silence)
    for recording in data:
        if recording.pitch is not None and recording.pitch.hop != HOP:
            raise ValueError(f"the pitch of {recording.name} has a hop of {recording.pitch.hop} s")
    clips = [list(_clips(number, recording)) for number, recording in enumerate(data)]
    known = [*findings]
    known += [
        replace(finding, recording=recording.name, sentence=f"{recording.name}: {finding.sentence}")
        for recording in recordings
        for finding in recording.clips.findings
    ]
    amounts = [seconds(of_recording) for of_recording in clips[:-1]]
    if sum(amounts) < LEAST:
        why = next((f" {finding.sentence}" for finding in known if finding.severity == "problem"), "")
        raise UnderstudyError(
            "too-little-data",
            f"The recordings hold {math.floor(10 * sum(amounts)) / 10} s of sound to train on; at least {LEAST:.0f} s "
            f"are needed.{why}",
            "Add recordings: ten minutes of singing make a good model, and the instant voice needs no training.",
        )
    held = hold_out(amounts)
    kept: list[Clip] = []
    training: list[int] = []
    held_out: list[int] = []
    for of_recording, amount in zip(clips, held, strict=False):
        border = _border(of_recording, amount)
        for clip in of_recording:
            if clip.piece.start >= border:
                held_out.append(len(kept))
                kept.append(clip)
                continue
            frames = min(clip.frames, (border - GAP - clip.piece.start) // 2)
            if 2 * frames >= SHORTEST:
                training.append(len(kept))
                kept.append(replace(clip, frames=frames))
    training += [len(kept)] * SILENCES
    kept += clips[-1]
    dataset = Dataset(data, tuple(kept), tuple(training), tuple(held_out), sample_rate)
    return replace(dataset, findings=(*known, _held_out_finding(dataset)))


def seconds(clips: Iterable[Clip]) -> float:
    """How much sound the clips hold; where those of a recording overlap it counts once."""
    total, end = 0, (-1, 0)
    for clip in sorted(clips, key=lambda clip: (clip.recording, clip.piece.start)):
        begun = max(clip.piece.start, end[1]) if clip.recording == end[0] else clip.piece.start
        total += max(0, clip.stop - begun)
        end = (clip.recording, max(begun, clip.stop))
    return total / TICKS


def silent_clips(context: Context, rate: int) -> Clips:
    """A recording of three seconds of silence for a model of `rate` Hz, as `slice_recording` gives it: RVC trains on it
    so that the model doesn't make a sound of nothing."""
    length = SILENCE / TICKS
    sound, content_sound = (
        write_blocks(context.folder / name, of, 1, [Audio.silence(1, round(length * of), of)])
        for name, of in (("sound.npy", rate), ("content_sound.npy", CONTENT_RATE))
    )
    return Clips(sound, content_sound, (Piece(0, SILENCE, 1.0),))


def write_content(context: Context, clips: Clips, embedder: Embedder, version: Version) -> Path:
    """The content features of all pieces as `RecordingData.content`; each piece is encoded alone, as RVC does it.

    Raises `UnderstudyError` ``embedder-broken`` where a feature isn't a number.
    """
    import torch

    path = context.folder / "content.npy"
    tick = CONTENT_RATE // TICKS
    shape = (sum(map(_rows, clips.pieces)), CONTENT_CHANNELS[version])
    with path.open("wb") as file:  # and not a memory map, whose pages would stay in memory
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for number, piece in enumerate(clips.pieces):
            sound = clips.content_sound.read(piece.start * tick, piece.stop * tick).samples * np.float32(piece.gain)
            encoded = embedder.encode(torch.from_numpy(sound), version)[0].cpu().numpy()
            if not np.isfinite(encoded).all():
                raise UnderstudyError(
                    "embedder-broken",
                    "The content encoder (embedder) gives features that aren't numbers.",
                    "Get its file again; with a graphics card, try the CPU.",
                )
            if encoded.shape != (_rows(piece), shape[1]):
                raise ValueError(f"an embedder gave {encoded.shape} for {_rows(piece)} frames of {shape[1]} values")
            file.write(np.ascontiguousarray(encoded, "<f4").data)
            context.progress((number + 1) / len(clips.pieces))
    return path


def _rows(piece: Piece) -> int:
    """Content features of a piece, 50 a second; the last one needs 25 ms."""
    return ((piece.stop - piece.start) * (CONTENT_RATE // TICKS) - 400) // 320 + 1


def _clips(number: int, recording: RecordingData) -> Iterator[Clip]:
    row = 0
    for piece in recording.clips.pieces:
        rows = _rows(piece)
        yield Clip(number, piece, min(piece.frames, 2 * rows), row)
        row += rows


def _border(clips: Sequence[Clip], held: float) -> int:
    """The tick of the recording from which on it is held out, so that `held` seconds and no clip more are."""
    if held <= 0:
        return clips[-1].stop + GAP if clips else 0
    for first in range(len(clips) - 1, -1, -1):
        if seconds(clips[first:]) >= held - 1e-6:
            return clips[first].piece.start
    return 0


def _held_out_finding(dataset: Dataset) -> Finding:
    numbers = sorted({dataset.clips[index].recording for index in dataset.held_out})
    shared = {dataset.clips[index].recording for index in dataset.training} & set(numbers)
    names = ", ".join(dataset.recordings[number].name for number in numbers[:5]) + (", …" if len(numbers) > 5 else "")
    what = f"the end of {names}" if shared else names
    sentence = f"Held out to evaluate the model, never trained on: {dataset.held_out_seconds:.0f} s ({what})."
    if shared:
        sentence += " A recording made at another time would tell more."
    return Finding("held-out", "advice", "", sentence)
