"""The harmonic/percussive cue: voiced singing draws horizontal lines in the spectrogram, drums vertical ones.

Median filtering along time and along frequency (FitzGerald, "Harmonic/percussive separation using median
filtering", DAFx 2010), with a time median short enough to follow vibrato.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import median_filter

from pipeline.separation.spectrogram import Grid, Map


def harmonic_share(magnitude: Map, grid: Grid, *, seconds: float = 0.2, hertz: float = 180.0) -> Map:
    """Share 0..1 of each bin that is steady over `seconds` rather than flat over `hertz`."""
    steady = median_filter(magnitude, (grid.frames(seconds) | 1, 1)) ** 2
    flat = median_filter(magnitude, (1, grid.width(hertz) | 1)) ** 2
    return np.asarray(steady / (steady + flat + 1e-12), np.float32)
