"""Fewer channels from many: surround to stereo, and folds to mono that cannot cancel.

Surround: the coefficients of ITU-R BS.775-4, table 2: centre and surrounds at -3 dB, no LFE.
Mono: `understudy.audio.samples.fold_weights` has the rule; `fold` applies it to a sound of any length. Pitch trackers
get `strongest_mono`, whose weights follow the voice from window to window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.audio.samples import (
    Audio,
    AudioSource,
    Samples,
    View,
    covariance,
    finite,
    fold_weights,
    strongest_direction,
)
from understudy.context import Context

_BLOCK = 20  # seconds read at once
_HALF_POWER = 0.5**0.5
# left and right share of each channel, by FFmpeg's channel names
_SHARES = {
    "FL": (1.0, 0.0),
    "FR": (0.0, 1.0),
    "FC": (_HALF_POWER, _HALF_POWER),
    "LFE": (0.0, 0.0),
    "BL": (_HALF_POWER, 0.0),
    "BR": (0.0, _HALF_POWER),
    "SL": (_HALF_POWER, 0.0),
    "SR": (0.0, _HALF_POWER),
    "FLC": (_HALF_POWER, 0.5),  # between front left and centre
    "FRC": (0.5, _HALF_POWER),
    "BC": (0.5, 0.5),  # one rear channel: -3 dB, then shared at equal power
}
# the layouts that FFmpeg assumes for a file that names none
_USUAL = {
    3: ("FL", "FR", "FC"),
    4: ("FL", "FR", "BL", "BR"),
    5: ("FL", "FR", "FC", "BL", "BR"),
    6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
    7: ("FL", "FR", "FC", "LFE", "BC", "SL", "SR"),
    8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}


def to_stereo(samples: Samples, names: Sequence[str]) -> Samples:
    """``[channels, frames]`` with 3 to 8 channels named as FFmpeg does -> ``[2, frames]``; no scaling, so peaks may
    pass full scale. A channel with an unknown name counts by its place in the usual layout of that many channels."""
    known = names if len(names) == len(samples) and all(name in _SHARES for name in names) else _USUAL[len(samples)]
    shares = np.array([_SHARES[name] for name in known], np.float32)
    return np.ascontiguousarray(shares.T @ samples)


def fold(context: Context, source: AudioSource) -> Mono:
    """`source` with its channels folded to one, by `fold_weights` of all of it, the same throughout."""
    if source.channels == 1:
        return Mono(source, np.ones(1, np.float32))
    return Mono(source, fold_weights(channel_covariance(context, source)))


def channel_covariance(context: Context, source: AudioSource) -> NDArray[np.float64]:
    """The `covariance` of all of `source`; NaN and infinity count as 0."""
    products = np.zeros((source.channels, source.channels))
    block = _BLOCK * source.rate
    for start in range(0, source.frames, block):
        products += covariance(finite(source.read(start, min(start + block, source.frames)).samples))
        context.progress(start / source.frames)
    return products


@dataclass(frozen=True, eq=False)
class Mono(View):
    """`source` folded to one channel as it is read: the sum of its channels times `weights` ``[channels]``."""

    source: AudioSource
    weights: NDArray[np.float32]

    @property
    def channels(self) -> int:
        return 1

    def read(self, start: int = 0, stop: int | None = None) -> Audio:
        """``[1, stop - start]``; silence before the beginning and past the end."""
        return Audio(self.weights[None] @ finite(self.source.read(start, stop).samples), self.rate)


def strongest_mono(samples: Samples) -> Samples:
    """One channel that holds the voice: the first principal component of the channels, ``[frames]``.

    For a voice in the middle that is (L + R) / sqrt 2; for one channel in reversed polarity, where the mean would
    cancel, the difference; for a panned voice, the side it sits on. Where the component holds little more than half
    the energy (a delay, two takes left and right) every sum is a comb filter; the louder channel is taken alone.
    """
    if samples.shape[0] == 1:
        return np.asarray(samples[0])
    return strongest_direction(covariance(samples)).astype(np.float32) @ samples
