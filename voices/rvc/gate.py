"""The gate: silence where the original is silent.

A network sings something wherever it is asked to: where the original rests, the source's noise would hiss. So the
sound follows the original down into silence, and long silences are never computed at all.
"""

from __future__ import annotations

import numpy as np

from audio.effects.control import TINY, Curve, smoothed

_OPEN, _SHUT = -50.0, -65.0  # dB against the singing: as it is down to the first, silent from the second
_FAINTEST = -90.0  # dBFS: nothing below this is singing
_AHEAD, _AFTER = 6, 12  # frames that it opens before a sound and stays open after it
_SLOPE = 5  # frames over which it opens and closes


def gate(energy: Curve) -> Curve:
    """Gain 0..1 per frame of 10 ms for the original's mean squares `energy` ``[frames]``."""
    if not len(energy):
        return np.zeros(0)
    from scipy.ndimage import maximum_filter1d

    singing = max(_singing_level(energy), _FAINTEST - _SHUT)
    level = 10 * np.log10(smoothed(energy, 3) + TINY)
    gain = np.clip((level - singing - _SHUT) / (_OPEN - _SHUT), 0.0, 1.0)
    # a running maximum over `_AHEAD` frames of the future and `_AFTER` of the past
    size = _AHEAD + _AFTER + 1
    held = maximum_filter1d(gain, size, mode="nearest", origin=size // 2 - _AHEAD)
    faded = smoothed(held, _SLOPE)
    return np.where(faded < 1e-3, 0.0, faded)


def _singing_level(energy: Curve) -> float:
    """The level in dB of the frames that are sung: the mean of all within 20 dB of the mean, taken twice (the relative
    gate of ITU-R BS.1770, wider)."""
    loud = energy[energy > 10 ** (_FAINTEST / 10)]
    for _ in range(2):
        if len(loud):
            loud = loud[loud >= 0.01 * loud.mean()]
    return float(10 * np.log10(loud.mean())) if len(loud) else 0.0
