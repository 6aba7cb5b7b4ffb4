"""Coarse pitch: f0 as one of 255 steps on the mel scale, which RVC's prior encoder looks up in a table.

The steps reach from 50 to 1100 Hz; what lies beyond takes the nearest. Only this table is bounded: the decoder's
source gets f0 as it is, so a soprano above 1100 Hz is still sung at her pitch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LOWEST, HIGHEST = 50.0, 1100.0  # Hz of steps 1 and 255
STEPS = 255


def coarse_pitch(f0: NDArray[np.floating]) -> NDArray[np.int64]:
    """`f0` in Hz, any shape, 0 where unvoiced, to steps 1..255 of the same shape; unvoiced is 1, as in RVC.

    mel(f) = 1127 ln(1 + f / 700) (O'Shaughnessy, 1987), rounded half to even.
    """
    low, high = _mel(np.float64(LOWEST)), _mel(np.float64(HIGHEST))
    steps = 1 + (_mel(np.asarray(f0, np.float64)) - low) * (STEPS - 1) / (high - low)
    return np.rint(np.clip(steps, 1, STEPS)).astype(np.int64)


def _mel(hertz: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    return np.asarray(1127 * np.log1p(hertz / 700))
