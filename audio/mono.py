"""One channel of several, by a fold that cannot cancel.

The mean of the channels loses a voice in reversed polarity, and a delayed copy becomes a comb filter. The fold here is
the first principal component of the channels over the entire sound: the direction in which they hold most energy. For
a sound in the middle that is the mean, for one on a side that side, for one in reversed polarity the difference. Where
no direction holds clearly more than the others (a delay, two different takes) the loudest channel is taken alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.audio.samples import Audio, AudioSource, Samples
from understudy.context import Context

PRINCIPAL_SHARE = 0.65  # of the energy that the principal component must hold to be used
_BLOCK = 20  # seconds read at once


def fold(context: Context, source: AudioSource) -> Mono:
    """`source` with its channels folded to one, by weights that stay the same throughout."""
    if source.channels == 1:
        return Mono(source, np.ones(1, np.float32))
    return Mono(source, fold_weights(channel_covariance(context, source)))


def channel_covariance(context: Context, source: AudioSource) -> NDArray[np.float64]:
    """Sums of the products of all pairs of channels over all frames, ``[channels, channels]``. NaN and infinite samples
    count as 0."""
    covariance = np.zeros((source.channels, source.channels))
    block = _BLOCK * source.rate
    for start in range(0, source.frames, block):
        samples = finite(source.read(start, min(start + block, source.frames)).samples).astype(np.float64)
        covariance += samples @ samples.T
        context.progress(start / source.frames)
    return covariance


def fold_weights(covariance: NDArray[np.float64]) -> NDArray[np.float32]:
    """The weight of each channel in the fold, float32 ``[channels]``; their absolute values sum to 1, and the largest
    is positive."""
    channels = len(covariance)
    if not covariance.any():
        return np.full(channels, 1 / channels, np.float32)
    energies, directions = np.linalg.eigh(covariance)
    chosen = directions[:, -1]
    if energies[-1] < PRINCIPAL_SHARE * energies.sum():
        chosen = np.eye(channels)[int(np.argmax(np.diag(covariance)))]
    if chosen[int(np.argmax(np.abs(chosen)))] < 0:
        chosen = -chosen
    return np.asarray(chosen / np.abs(chosen).sum(), np.float32)


def finite(samples: Samples) -> Samples:
    """`samples` with 0 in place of NaN and infinite values."""
    return np.nan_to_num(samples, posinf=0.0, neginf=0.0)


@dataclass(frozen=True, eq=False)
class Mono:
    """`source` folded to one channel as it is read: the sum of its channels times `weights` ``[channels]``."""

    source: AudioSource
    weights: NDArray[np.float32]

    @property
    def rate(self) -> int:
        return self.source.rate

    @property
    def channels(self) -> int:
        return 1

    @property
    def frames(self) -> int:
        return self.source.frames

    def read(self, start: int = 0, stop: int | None = None) -> Audio:
        """``[1, stop - start]``; silence before the beginning and past the end."""
        return Audio(self.weights[None] @ finite(self.source.read(start, stop).samples), self.rate)
