"""What is sung, frame by frame: content features that two singers of the same word share.

Two kinds side by side: the probabilities of phones, and cepstra without the voice's own mean, with their neighbours in
time. Distances between rows are what counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.voices.instant import phones, spectrum
from understudy.voices.instant.spectrum import Array

ORDER = 60  # cepstral coefficients that describe a timbre
USED = 24  # of them tell vowels apart; the rest is the singer
OFFSETS = (-8, -4, 0, 4, 8)  # frames of 5 ms
REACH = 32  # frames on both sides that a row depends on, more than all filters and offsets together
SHAPE_WEIGHT, PHONE_WEIGHT = 0.5, 50.0  # makes phones count some four times as much as shapes


@dataclass(frozen=True, eq=False)
class FrameStatistics:
    """What a singer's frames have in common: `shape` ``[ORDER]``, the mean of the voiced cepstra; `mean` and
    `deviation` ``[phones.KEPT]`` of the recogniser's coefficients over all frames that are not pauses."""

    shape: Array
    mean: Array
    deviation: Array


def frame_statistics(
    cepstra: NDArray[np.floating], voiced: NDArray[np.bool_], loud: NDArray[np.bool_]
) -> FrameStatistics:
    """Measured from cepstra ``[frames, ORDER]``; some voiced and loud frames must be among them."""
    shape = cepstra[voiced & loud].mean(axis=0, dtype=np.float64)
    some = np.flatnonzero(loud)[:: max(1, int(loud.sum()) // 20000)]
    heard = phones.coefficients(cepstra[some].astype(np.float32) @ spectrum.inverse_basis(ORDER))
    return FrameStatistics(shape.astype(np.float32), heard.mean(axis=0), heard.std(axis=0))


def content(cepstra: Array, statistics: FrameStatistics) -> Array:
    """Cepstra ``[frames, ORDER]`` -> content features ``[frames, USED * len(OFFSETS) + 42]``."""
    fade = 0.97 ** np.arange(1, USED + 1)
    shape = (cepstra[:, 1 : USED + 1] - statistics.shape[1 : USED + 1]) * fade
    rows = np.arange(len(shape))
    around = np.concatenate([shape[np.clip(rows + offset, 0, len(rows) - 1)] for offset in OFFSETS], axis=1)
    heard = phones.coefficients(cepstra @ spectrum.inverse_basis(ORDER))
    probable = phones.probabilities(heard, statistics.mean, statistics.deviation)
    return np.concatenate([SHAPE_WEIGHT * around, PHONE_WEIGHT * np.sqrt(probable)], axis=1).astype(np.float32)
