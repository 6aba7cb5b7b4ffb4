"""Similarity of voices: cosines of speaker embeddings of the cover's vocal, the recordings and the original singer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from understudy.audio.samples import Audio, AudioSource
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.report.bands import BandLevels, clean
from understudy.pipeline.values import stored

_SECONDS = 40.0  # of each voice: more doesn't change the embedding, and costs
_PIECE = 4.0
_RMS = 10 ** (-30 / 20)
_SAME, _LEAST = 0.9, 0.1  # similarity of two recordings of one voice; of the way that is left at least


@stored
@dataclass(frozen=True)
class Likeness:
    """Cosines, −1..1. `to_voice`: the cover's vocal to the recordings. `to_singer`: to the original singer.
    `before`: the original singer to the recordings. All None when not measured; `note` then says why."""

    to_voice: float | None = None
    to_singer: float | None = None
    before: float | None = None
    note: str = ""

    @property
    def way(self) -> float | None:
        """How much of the way from the original singer to the voice the cover has gone, 1 for all of it, negative for
        the wrong direction. Of two voices that are alike from the beginning, at least `_LEAST` counts as the way."""
        if self.to_voice is None or self.before is None:
            return None
        return (self.to_voice - self.before) / max(_LEAST, _SAME - self.before)


def compare_voices(
    sung: AudioSource,
    sung_levels: BandLevels,
    original: AudioSource,
    original_levels: BandLevels,
    recordings: Sequence[Path],
    context: Context,
) -> Likeness:
    """`sung` is the dry conversion: ambience would blur the voice."""
    from understudy.voices import speaker

    if not speaker.available():
        note = "Voice likeness was not measured: 'understudy models fetch speaker-encoder' gets the model for it."
        return Likeness(note=note)
    if not recordings:
        return Likeness(note="Voice likeness was not measured: the voice has no recordings to compare with.")
    cover_voice = loudest_pieces(sung, sung_levels)
    singer = loudest_pieces(original, original_levels)
    target = _recorded(recordings)
    if cover_voice is None or singer is None or target is None:
        return Likeness(note="Voice likeness was not measured: there is too little singing.")
    embeddings = []
    try:
        with _one_thread():
            for done, audio in enumerate((cover_voice, singer, target), start=1):
                embeddings.append(speaker.embed(audio))
                context.progress(done / 3)
    except UnderstudyError as error:
        if error.code != "nobody-heard":
            raise
        return Likeness(note=f"Voice likeness was not measured: {error.message}")
    ours, theirs, wanted = embeddings
    return Likeness(
        speaker.similarity(ours, wanted), speaker.similarity(ours, theirs), speaker.similarity(theirs, wanted)
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """The speaker encoder is so small that its threads would mostly wait for each other, at full speed."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def loudest_pieces(source: AudioSource, levels: BandLevels) -> Audio | None:
    """Up to 40 s of `source` in mono: its loudest pieces of 4 s, in the order of the song. None when it's silent."""
    size = max(1, round(_PIECE / levels.step))
    starts = range(0, max(1, levels.columns - size // 2), size)
    power = np.array([float(levels.weighted[start : start + size].mean()) for start in starts])
    if power.max(initial=0) < 1e-9:
        return None
    order = np.argsort(-power, kind="stable")[: round(_SECONDS / _PIECE)]
    loud = sorted(int(spot) for spot in order if power[spot] > 0.01 * power.max())
    pieces = []
    for spot in loud:
        start = round(starts[spot] * levels.step * source.rate)
        stop = min(source.frames, start + round(_PIECE * source.rate))
        pieces.append(clean(source.read(start, stop)).mono().samples[0])
    return _levelled(np.concatenate(pieces), source.rate)


def _levelled(samples: np.ndarray, rate: int) -> Audio:
    """At one level, since the embedding of a quiet voice differs from that of the same voice when it is loud."""
    return Audio.of(samples * (_RMS / max(1e-9, float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))))), rate)


def _recorded(recordings: Sequence[Path]) -> Audio | None:
    """Up to 40 s of the recordings, an equal part of each."""
    import soundfile

    pieces, rate = [], 0
    for path in recordings:
        with soundfile.SoundFile(path) as file:
            if rate and file.samplerate != rate:
                continue
            rate = file.samplerate
            most = max(_PIECE, _SECONDS / len(recordings))
            pieces.append(file.read(round(most * rate), dtype="float32", always_2d=True).mean(axis=1))
        if sum(len(piece) for piece in pieces) > _SECONDS * rate:
            break
    joined = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    return _levelled(joined, rate) if len(joined) > rate and float(np.abs(joined).max()) > 1e-4 else None
