"""`PitchTrack`: the fundamental frequency of a monophonic voice over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.audio.pitch.grid import regrid

HOP = 0.005  # seconds between frames that every tracker of ours answers with


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

    def percentiles(self, *percents: float) -> tuple[float, ...]:
        """Percentiles (0..100) of the voiced frames in Hz; all 0 when nothing is voiced."""
        if not self.voiced.any():
            return (0.0,) * len(percents)
        return tuple(float(hz) for hz in np.percentile(self.f0[self.voiced], percents))
