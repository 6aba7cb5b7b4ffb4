"""From the salience of pitches to one pitch per frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PITCHES = 360  # every 20 cents
_LOWEST = 1997.3794084376191  # cents above 10 Hz: 31.7 Hz, the pitch of the first
_REACH = 4  # neighbours on each side that have a say


def decode(salience: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """f0 in Hz ``[frames]``, whether heard surely or not, and how salient it is (0..1), from ``[frames, 360]``.

    The pitch is the mean of the most salient one and its four neighbours on both sides, in cents, weighted with their
    salience: finer than their steps of 20 cents.
    """
    best = salience.argmax(axis=1)
    around = best[:, None] + np.arange(-_REACH, _REACH + 1)
    weights = np.take_along_axis(np.pad(salience, ((0, 0), (_REACH, _REACH))), around + _REACH, axis=1)
    cents = _LOWEST + 20 * (weights.astype(np.float64) * around).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-30)
    return 10 * 2 ** (cents / 1200), np.take_along_axis(salience, best[:, None], axis=1)[:, 0]
