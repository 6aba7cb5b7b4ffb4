"""Content features of the instant engine: per frame, what is sung, as far as possible without whose voice it is.

Two kinds side by side: the probabilities of phones, and cepstra less the voice's own mean, with their neighbours in
time. Frames with the same content have a small Euclidean distance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.voices.instant import phones, spectrum
from understudy.voices.instant.spectrum import Array

ORDER = 60  # cepstral coefficients that describe a timbre
USED = 24  # of them distinguish vowels; the others mostly distinguish speakers
OFFSETS = (-8, -4, 0, 4, 8)  # frames of 5 ms
REACH = 32  # frames on both sides that a row depends on: more than all filters and offsets together
SHAPE_WEIGHT, PHONE_WEIGHT = 0.5, 50.0  # phones then count about four times as much as cepstra in a distance


@dataclass(frozen=True, eq=False)
class FrameStatistics:
    """Statistics of one voice: `shape` ``[ORDER]``, the mean of the voiced cepstra; `mean` and `deviation`
    ``[phones.KEPT]`` of the recogniser's coefficients over all frames that are not pauses."""

    shape: Array
    mean: Array
    deviation: Array


def frame_statistics(
    cepstra: NDArray[np.floating], voiced: NDArray[np.bool_], loud: NDArray[np.bool_]
) -> FrameStatistics:
    """The statistics of cepstra ``[frames, ORDER]`` with the masks `voiced` and `loud`, both true somewhere."""
    shape = cepstra[voiced & loud].mean(axis=0, dtype=np.float64)
    some = np.flatnonzero(loud)[:: max(1, int(loud.sum()) // 20000)]  # 20,000 frames are enough
    coefficients = phones.coefficients(cepstra[some].astype(np.float32) @ spectrum.inverse_basis(ORDER))
    return FrameStatistics(shape.astype(np.float32), coefficients.mean(axis=0), coefficients.std(axis=0))


def content(cepstra: Array, statistics: FrameStatistics) -> Array:
    """Cepstra ``[frames, ORDER]`` -> content features ``[frames, USED * len(OFFSETS) + 42]``."""
    fade = 0.97 ** np.arange(1, USED + 1)
    shape = (cepstra[:, 1 : USED + 1] - statistics.shape[1 : USED + 1]) * fade
    rows = np.arange(len(shape))
    around = np.concatenate([shape[np.clip(rows + offset, 0, len(rows) - 1)] for offset in OFFSETS], axis=1)
    coefficients = phones.coefficients(cepstra @ spectrum.inverse_basis(ORDER))
    probable = phones.probabilities(coefficients, statistics.mean, statistics.deviation)
    return np.concatenate([SHAPE_WEIGHT * around, PHONE_WEIGHT * np.sqrt(probable)], axis=1).astype(np.float32)
