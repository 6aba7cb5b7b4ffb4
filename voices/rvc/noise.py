"""The noise of a conversion, as a function of the position in the song.

RVC draws noise in the order of its computation. Here the noise of a frame depends only on the seed and on the frame's
position: wherever the song is cut, both sides of a cut have the same noise, and a cross-fade between them is smooth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BLOCK = 100  # frames drawn at once
_ORIGIN = 1 << 20  # blocks before the song's beginning that exist

LATENT, SOURCE = 0, 1


@dataclass(frozen=True)
class Noise:
    """Standard normal noise. With `seed` None it is zero everywhere, for comparisons."""

    seed: int | None

    def latent(self, first: int, frames: int, channels: int) -> NDArray[np.float32]:
        """Noise of the prior for `frames` frames from frame `first` on (may be negative), ``[channels, frames]``."""
        return np.ascontiguousarray(self._draw(LATENT, first, frames, channels).T)

    def source(self, first: int, frames: int, hop: int) -> NDArray[np.float32]:
        """Noise of the source, `hop` samples per frame, ``[frames * hop]``."""
        return self._draw(SOURCE, first, frames, hop).reshape(-1)

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
