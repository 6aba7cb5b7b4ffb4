"""From the cues to a mask: a logistic regression whose few weights were fitted to songs with known stems.

The weights minimise the mean logarithm of the masked song's error over 43 mixes of the stems of seven songs, one of
them without vocals. Fitted without the song that is tested, they reach 3.75 dB SDR for vocals and 8.30 for the
instrumental (mean of six songs), fitted with it 4.60 and 8.88: expect the former of a new song.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from pipeline.separation.spectrogram import Grid, Map

KNOTS = (60.0, 130.0, 260.0, 520.0, 1040.0, 2080.0, 4160.0, 8320.0, 13000.0)
"""Frequencies in Hz between which the bias is interpolated (linearly over the logarithm of the frequency)."""
BIAS = (-2.92, -2.53, -1.63, 1.44, 0.49, -1.15, -0.89, 1.63, 0.84)
WEIGHTS: Mapping[str, float] = {
    "varying": 0.147,
    "tonal": 0.143,
    "restless": 0.639,
    "melody": 1.081,
    "activity": 1.309,
    "imbalance": -0.481,
}


def log_odds(share: Map) -> Map:
    """The logarithm of ``share / (1 - share)``, with `share` kept within 0.01..0.99."""
    bounded = np.clip(share, 0.01, 0.99)
    return np.asarray(np.log(bounded / (1 - bounded)), np.float32)


def activity(foreground: Map, magnitude: Map, grid: Grid) -> Map:
    """How much of each half second between 200 and 5000 Hz is `foreground`: log of the share, ``[frames, 1]``."""
    heard = (grid.frequencies > 200) & (grid.frequencies < 5000)
    width = grid.frames(0.49)
    part, whole = (uniform_filter1d(((m * heard) ** 2).sum(axis=1), width) for m in (foreground, magnitude))
    return np.asarray(np.log(np.sqrt(np.maximum(part, 0) / (whole + 1e-9)) + 0.02), np.float32)[:, None]


def fuse(cues: Mapping[str, Map], grid: Grid) -> Map:
    """Share 0..1 of each bin that is sung; `cues` holds a map for each name in `WEIGHTS`."""
    total = _bias(grid)[None]
    for name, weight in WEIGHTS.items():
        total = total + np.float32(weight) * cues[name]
    return np.asarray(1 / (1 + np.exp(-total)), np.float32)


def _bias(grid: Grid) -> NDArray[np.float32]:
    frequency = np.clip(grid.frequencies, 30, None)
    return np.interp(np.log(frequency), np.log(KNOTS), BIAS).astype(np.float32)
