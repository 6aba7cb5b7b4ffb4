"""`PitchTrack`: the fundamental frequency of a monophonic voice over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
