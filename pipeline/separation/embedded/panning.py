"""The panning cue: voices are mixed to both sides alike, many instruments to one side."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter

from understudy.pipeline.separation.spectrogram import Map, Spectrum


def imbalance(spectrum: Spectrum) -> Map:
    """By how much one side of a stereo `spectrum` is stronger around each bin: the absolute logarithm of the ratio of
    the sides' powers, averaged over 5 frames by 5 bins, at most 4. All 0 for any other channel count.

    Only levels are compared: a voice widened by reverb or doubling still counts as balanced.
    """
    if len(spectrum) != 2:
        return np.zeros(spectrum.shape[1:], np.float32)
    left, right = (uniform_filter(np.abs(side) ** 2, 5) + 1e-9 for side in spectrum)
    return np.asarray(np.minimum(np.abs(np.log(left / right)), 4), np.float32)
