"""The panning cue: lead vocals are nearly always mixed to the centre, most instruments are not."""

from __future__ import annotations

import numpy as np

from pipeline.separation.spectrogram import Map, Spectrum


def centre(spectrum: Spectrum) -> Map:
    """How far each bin of a stereo spectrum comes from the centre: 1 where left equals right, 0 where they differ
    by half their sum or more, in level or in phase."""
    left, right = spectrum
    difference = np.abs(left - right) / (np.abs(left) + np.abs(right) + 1e-9)
    return np.asarray(np.clip(1 - 2 * difference, 0, 1), np.float32)
