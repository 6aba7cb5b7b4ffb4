"""`GainReduction`: what a limiter takes of a sound of any length, from its gains block by block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_FINEST, _DEEPEST = 0.01, 80.0  # dB


class GainReduction:
    """In dB, 0 or more. `most`: the highest; `mean`: over the time."""

    def __init__(self) -> None:
        self._counts = np.zeros(round(_DEEPEST / _FINEST))  # frames by their reduction in steps of `_FINEST`
        self._sum, self._frames = 0.0, 0
        self.most = 0.0

    def add(self, gain: NDArray[np.float32]) -> None:
        """The next block's gain, ``[frames]`` in 0..1, linear."""
        self._frames += len(gain)
        taken = -20 * np.log10(np.maximum(gain[gain < 1], 1e-6, dtype=np.float64))
        if len(taken):
            self._sum += float(taken.sum())
            self.most = max(self.most, float(taken.max()))
            steps = np.minimum((taken / _FINEST).astype(int), len(self._counts) - 1)
            self._counts += np.bincount(steps, minlength=len(self._counts))

    @property
    def mean(self) -> float:
        return self._sum / max(1, self._frames)

    def share_above(self, decibels: float) -> float:
        """The share of the time, 0..1, with more reduction than that."""
        return float(self._counts[round(decibels / _FINEST) :].sum()) / max(1, self._frames)

    def exceeded(self, share: float) -> float:
        """The dB that the reduction exceeds during that share of the time; 0 where nothing is taken for so long."""
        above = np.cumsum(self._counts[::-1])[::-1]  # frames with at least so many steps
        return float((above > share * self._frames).sum() * _FINEST)
