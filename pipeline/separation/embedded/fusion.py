"""From the cues to a mask: three logistic regressions whose few weights were fitted to songs with known stems.

Each gives, per frame and bin, ``sigmoid(bias(frequency) + sum of weight * cue)``, the share of the bin that is sung.
The first has the cues alone. The second has two more, from the mask of the first: how much of the half second and of
the four seconds around the frame was sung. That lets it suppress everything between phrases. The weights minimise the
mean logarithm of the masked song's error over mixes of the stems of seven songs, one of them without vocals
(benchmarks/separation_fusion.py). Fitted without the song that is tested, the second reaches 4.03 dB SDR for vocals and
8.75 for the instrumental (six songs; the first alone 3.77 and 8.12), fitted with it 4.93 and 9.27: expect the former of
a new song.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from understudy.audio.spectrogram import Map

KNOTS = (60.0, 130.0, 260.0, 520.0, 1040.0, 2080.0, 4160.0, 8320.0, 13000.0)
"""Frequencies in Hz between which the bias is interpolated (linearly over the logarithm of the frequency)."""


class Axes(Protocol):
    """The axes of a map: a `Grid`, or bands of one."""

    @property
    def frequencies(self) -> NDArray[np.float32]: ...
    def frames(self, seconds: float) -> int: ...


@dataclass(frozen=True)
class Fusion:
    """A logistic regression: `bias` at each of `KNOTS`, and a weight for each cue by its name."""

    bias: tuple[float, ...]
    weights: Mapping[str, float]


FIRST = Fusion(
    (-2.497, -1.742, -0.859, 1.94, 1.017, -0.132, -0.376, 1.958, 0.591),
    {
        "varying": 0.155,
        "tonal": 0.15,
        "restless": 0.568,
        "melody": 0.82,
        "activity": 1.783,
        "imbalance": -0.603,
    },
)
SECOND = Fusion(
    (-3.675, -1.969, -1.173, 1.586, 0.684, -0.393, -0.353, 1.902, 0.799),
    {
        "varying": 0.118,
        "tonal": 0.08,
        "restless": 0.585,
        "melody": 0.855,
        "activity": -0.837,
        "imbalance": -0.406,
        "briefly": 1.633,
        "lately": 1.263,
    },
)
THIRD = Fusion(
    (-1.636, -0.04, 0.68, -1.879, -1.593, -0.743, 0.176, -0.248, 0.001),
    {
        "varying": -0.031,
        "tonal": 0.144,
        "restless": 0.163,
        "melody": 0.807,
        "activity": 1.008,
        "imbalance": -0.567,
        "share": 0.674,
        "position": 1.326,
        "harmonic": 2.505,
    },
)


def log_odds(share: Map) -> Map:
    """The logarithm of ``share / (1 - share)``, with `share` kept within 0.01..0.99."""
    bounded = np.clip(share, 0.01, 0.99)
    return np.asarray(np.log(bounded / (1 - bounded)), np.float32)


def activity(foreground: Map, magnitude: Map, axes: Axes, seconds: float = 0.49) -> Map:
    """How much of the `seconds` around each frame is `foreground`, between 200 and 5000 Hz: log of the share,
    ``[frames, 1]``."""
    inside = (axes.frequencies > 200) & (axes.frequencies < 5000)
    width = axes.frames(seconds)
    # energies over all bins, averaged over the frames around
    part, whole = (uniform_filter1d(((m * inside) ** 2).sum(axis=1), width) for m in (foreground, magnitude))
    return np.asarray(np.log(np.sqrt(np.maximum(part, 0) / (whole + 1e-9)) + 0.02), np.float32)[:, None]


def sung_share(cues: Mapping[str, Map], magnitude: Map, axes: Axes) -> Map:
    """Share 0..1 of each bin that is sung; `cues` holds a map for each name in ``FIRST.weights``, `magnitude` is the
    song's."""
    return fuse({**cues, **context_cues(fuse(cues, axes, FIRST), magnitude, axes)}, axes, SECOND)


def context_cues(share: Map, magnitude: Map, axes: Axes) -> dict[str, Map]:
    """The cues that follow from a first `share`: how much was sung in the half second and in the four seconds
    around."""
    foreground = magnitude * share  # what the first mask lets through
    return {
        "briefly": activity(foreground, magnitude, axes, 0.5),
        "lately": activity(foreground, magnitude, axes, 4.0),
    }


def fuse(cues: Mapping[str, Map], axes: Axes, fusion: Fusion) -> Map:
    """Share 0..1 of each bin as `fusion` has it; `cues` holds a map for each of its names."""
    total = bias_at(axes.frequencies, fusion.bias)[None]
    for name, weight in fusion.weights.items():
        total = total + np.float32(weight) * cues[name]
    return np.asarray(1 / (1 + np.exp(-total)), np.float32)


def bias_at(frequencies: NDArray[np.float32], bias: Sequence[float]) -> NDArray[np.float32]:
    """The bias at each of `frequencies`."""
    return np.interp(np.log(np.clip(frequencies, 30, None)), np.log(KNOTS), bias).astype(np.float32)
