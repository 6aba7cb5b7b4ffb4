"""`PitchTrack`: the fundamental frequency of a monophonic voice over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HOP = 0.005  # seconds between the frames of every tracker here
_LEAP = 2.5 / 12  # octaves per frame; more is a new note and not a glide, and is not interpolated


@dataclass(frozen=True, eq=False)
class PitchTrack:
    """f0 per frame.

    `f0`: float32 ``[frames]`` in Hz, 0 where unvoiced; frame k is centred at ``k * hop`` seconds from the first
    sample. `hop`: seconds between frames.
    """

    f0: NDArray[np.float32]
    hop: float = HOP

    def __post_init__(self) -> None:
        if self.f0.ndim != 1 or self.f0.dtype != np.float32:
            raise ValueError(f"PitchTrack wants float32 [frames], got {self.f0.dtype} {self.f0.shape}")

    @property
    def frames(self) -> int:
        return int(self.f0.shape[0])

    @property
    def times(self) -> NDArray[np.float64]:
        """The centre of every frame in seconds."""
        return np.arange(self.frames, dtype=np.float64) * self.hop

    @property
    def voiced(self) -> NDArray[np.bool_]:
        return self.f0 > 0

    def transposed(self, semitones: float) -> PitchTrack:
        return PitchTrack((self.f0 * 2 ** (semitones / 12)).astype(np.float32), self.hop)

    def resampled(self, hop: float) -> PitchTrack:
        """The same pitch every `hop` seconds, up to the last moment that this track covers. Between voiced frames log
        f0 is interpolated, between a voiced and an unvoiced one the nearer decides."""
        frames = int((self.frames - 1) * self.hop / hop + 1e-6) + 1 if self.frames else 0
        return PitchTrack(regrid(self.f0, self.voiced.astype(np.float32), 0.5, 0.5, hop / self.hop, frames), hop)


def stretches(frames: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(start, stop) of every run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], frames, [False]])))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def regrid(
    f0: NDArray[np.floating], certainty: NDArray[np.floating], begin: float, hold: float, step: float, frames: int
) -> NDArray[np.float32]:
    """f0 on a grid of `frames` frames that are `step` of the given frames apart; both begin at the same moment.

    `f0`: Hz ``[n]``, meaningful where `certainty` (same shape) is at least `hold`. A stretch of such frames is voiced
    if its certainty reaches `begin` somewhere: a note is certain in its middle and extends to its soft ends; a stretch
    that is nowhere certain is no note. The stretch ends where the certainty, drawn as straight lines, crosses `hold`,
    so that its edges are finer than the given frames. Between two voiced frames log f0 follows a cubic through four
    (Catmull-Rom), so that the turning points of a vibrato keep their height; at the edges of a note, and across a leap,
    the nearest frame's f0 holds. Returns float32 Hz ``[frames]``, 0 where unvoiced.
    """
    position = np.arange(frames) * step
    sure = np.asarray(certainty >= hold)
    result = np.zeros(frames, np.float32)
    for start, stop in stretches(sure):
        if certainty[start:stop].max() < begin:
            sure[start:stop] = False
    if not sure.any():
        return result
    known = np.arange(len(f0))
    voiced = np.interp(position, known, np.where(sure, certainty, np.minimum(certainty, 0.999 * hold))) >= hold
    # a pitch for every given frame: that of the nearest sure one
    sure_at = np.flatnonzero(sure)
    right = np.clip(np.searchsorted(sure_at, known), 0, len(sure_at) - 1)
    left = np.maximum(right - 1, 0)
    nearest = np.where(known - sure_at[left] <= sure_at[right] - known, sure_at[left], sure_at[right])
    nearest[sure] = sure_at[np.searchsorted(sure_at, known[sure])]
    pitch = np.log2(np.asarray(f0, np.float64)[nearest])

    at = np.minimum(position.astype(np.int64), len(pitch) - 1)
    last = len(pitch) - 1
    t = np.minimum(position - at, 1.0)
    p0, p1, p2, p3 = (pitch[np.clip(at + offset, 0, last)] for offset in (-1, 0, 1, 2))
    p0 = np.where(np.abs(p1 - p0) > _LEAP, p1, p0)
    p3 = np.where(np.abs(p3 - p2) > _LEAP, p2, p3)
    cubic = p1 + 0.5 * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)))
    value = np.where(np.abs(p2 - p1) > _LEAP, np.where(t < 0.5, p1, p2), cubic)
    result[voiced] = 2 ** value[voiced]
    return result
