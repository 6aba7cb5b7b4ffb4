"""What is sung, frame by frame, as far as it can be told without a trained model.

Cepstra with the voice's own mean and spread removed, and their neighbours in time: two singers on the same vowel
come out near each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

ORDER = 60  # cepstral coefficients that describe a timbre
_USED = 24  # of them tell vowels apart; the rest is the singer
_OFFSETS = (-8, -4, 0, 4, 8)  # frames of 5 ms


def content(cepstra: Array, mean: Array, deviation: Array) -> Array:
    """``[frames, ORDER]`` cepstra of one singer with their voiced mean and deviation -> ``[frames, 120]``."""
    used = slice(1, _USED + 1)
    fade = 0.97 ** np.arange(1, _USED + 1)
    shape = ((cepstra[:, used] - mean[used]) * fade).astype(np.float32)
    rows = np.arange(len(shape))
    return np.concatenate([shape[np.clip(rows + offset, 0, len(rows) - 1)] for offset in _OFFSETS], axis=1)
