"""Levels and gains at a control rate: a value per block of `hop` frames instead of one per frame.

Blocks lie on a grid that is fixed to the song's beginning, so values do not depend on where a window begins.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from understudy.audio.samples import Samples

Curve = NDArray[np.float64]

TINY = 1e-12  # energy that counts as silence: -120 dB


def block_energies(samples: Samples, start: int, hop: int) -> Curve:
    """Mean square of each block, over all channels together, ``[blocks]``.

    `samples` ``[channels, frames]`` begin at frame `start` of the song; the first block is number ``start // hop``.
    Parts of blocks beyond the window count as silence.
    """
    lead = start % hop
    blocks = -(-(lead + samples.shape[1]) // hop)
    squares = np.zeros(blocks * hop, np.float32)
    squares[lead : lead + samples.shape[1]] = np.einsum("cf,cf->f", samples, samples)
    energies: Curve = squares.reshape(blocks, hop).mean(axis=1, dtype=np.float64)
    return energies


def per_frame(curve: Curve, first_block: int, start: int, frames: int, hop: int) -> Samples:
    """`curve` ``[blocks]``, whose first value is that of block `first_block`, as one value per frame, ``[frames]``.

    Values stand at the middles of their blocks with straight lines between; beyond the ends the end values hold.
    """
    low = (start - hop // 2) // hop  # the block whose middle lies at or before the first frame
    high = (start + frames - 1 - hop // 2) // hop + 1
    wanted = np.clip(np.arange(low, high + 1) - first_block, 0, len(curve) - 1)
    points = curve[wanted].astype(np.float32)
    step = (np.arange(hop, dtype=np.float32)) / np.float32(hop)
    lines = points[:-1, None] + (points[1:] - points[:-1])[:, None] * step
    skip = start - (low * hop + hop // 2)
    return lines.reshape(-1)[skip : skip + frames]


def released(decibels: Curve, per_block: float) -> Curve:
    """The curve that falls with `decibels` at once and rises by at most `per_block` dB per block."""
    # a running minimum of rising lines: with the line subtracted it is a running minimum of constants
    line = np.arange(len(decibels)) * per_block
    rising: Curve = np.minimum.accumulate(decibels - line) + line
    return rising


def smoothed(curve: Curve, blocks: int) -> Curve:
    """Weighted mean with a Hann window of `blocks` blocks around each value; end values hold beyond the ends."""
    if blocks < 2 or not len(curve):
        return curve
    from scipy.ndimage import convolve1d

    weights = np.hanning(blocks // 2 * 2 + 3)[1:-1]
    mean: Curve = convolve1d(curve, weights / weights.sum(), mode="nearest")
    return mean
