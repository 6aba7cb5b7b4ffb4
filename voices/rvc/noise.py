"""The random draws of a conversion, as a function of the place in the song.

RVC draws in the order in which it happens to compute. Here a frame's noise depends on nothing but the seed and the
frame's place: wherever the song is cut, both sides of a cut hear the same noise, and a cross-fade is smooth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BLOCK = 100  # frames that are drawn together
_ORIGIN = 1 << 20  # blocks before the song's beginning that may be asked for

LATENT, BREATH = 0, 1


@dataclass(frozen=True)
class Noise:
    """Standard normal noise. `seed` None: all zero, for comparisons."""

    seed: int | None

    def latent(self, first: int, frames: int, channels: int) -> NDArray[np.float32]:
        """Noise of the prior for `frames` frames from frame `first` on (may be negative), ``[channels, frames]``."""
        return np.ascontiguousarray(self._draw(LATENT, first, frames, channels).T)

    def breath(self, first: int, frames: int, hop: int) -> NDArray[np.float32]:
        """Noise of the source, `hop` samples per frame, ``[frames * hop]``."""
        return self._draw(BREATH, first, frames, hop).reshape(-1)

    def _draw(self, kind: int, first: int, frames: int, width: int) -> NDArray[np.float32]:
        if self.seed is None:
            return np.zeros((frames, width), np.float32)
        begin, end = first // _BLOCK, -(-(first + frames) // _BLOCK)
        blocks = [
            np.random.Generator(np.random.PCG64([self.seed, kind, block + _ORIGIN])).standard_normal(
                (_BLOCK, width), np.float32
            )
            for block in range(begin, end)
        ]
        start = first - begin * _BLOCK
        return np.concatenate(blocks)[start : start + frames] if blocks else np.zeros((0, width), np.float32)
