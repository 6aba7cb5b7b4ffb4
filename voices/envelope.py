"""The level of the converted sound over time: silent and soft passages, and RVC's volume envelope.

The networks produce sound for every frame: where the original rests, the noise of the source would be audible. So the
sound is muted where the original is silent (`gate`; long silences are not computed at all), and where the original is
merely soft, as in a room's noise between two words, the sound is made as soft (`soft_gain`).

The volume envelope (RVC's `change_rms`) sets how far the loudness over time is the conversion's own or the original's:
the sound times ``original^(1 - mix) * own^(mix - 1)``, both as RMS over a second, every half second.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from understudy.audio.effects.control import TINY, Curve, smoothed
from understudy.audio.samples import AudioSource, Samples

_OPEN, _SHUT = -50.0, -65.0  # dB relative to the singing: gain 1 above the first, 0 below the second
_FAINTEST = -90.0  # dBFS: nothing below this counts as singing
_SOFT, _MOST = -30.0, 80.0  # dB: below the first, soft passages are reduced, by at most the second
_AHEAD, _AFTER = 6, 12  # frames that the gate opens before a sound and stays open after it
_SLOPE = 5  # frames over which it opens and closes
_LEAST = 1e-6  # lower bound of the converted sound's RMS in the gain


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


def soft_gain(original: Curve, own: Curve) -> Curve:
    """Gain 0..1 per frame that makes soft moments as soft, relative to the singing, as they are in the original.

    `original`, `own`: mean squares ``[frames]`` of the original and the converted sound. Where the original lies 40 dB
    or more below its singing, the converted sound is reduced to the same; above -30 dB it is unchanged.
    """
    if not len(original):
        return np.zeros(0)
    from scipy.ndimage import minimum_filter1d

    def level(energy: Curve) -> Curve:
        decibels: Curve = 10 * np.log10(smoothed(energy, 5) + TINY) - _singing_level(energy)
        return decibels

    wanted = level(original)
    share = np.clip((_SOFT - wanted) / 10, 0.0, 1.0)
    reduction = share * np.clip(level(own) - wanted, 0.0, _MOST)
    gain: Curve = 10 ** (-smoothed(minimum_filter1d(reduction, 2 * _SLOPE + 1), _SLOPE) / 20)
    return gain


def _singing_level(energy: Curve) -> float:
    """The level in dB of the frames that are sung: the mean of those within 20 dB of the mean, twice (as BS.1770's
    relative gate)."""
    loud = energy[energy > 10 ** (_FAINTEST / 10)]
    for _ in range(2):
        if len(loud):
            loud = loud[loud >= 0.01 * loud.mean()]
    return float(10 * np.log10(loud.mean())) if len(loud) else 0.0


def second_rms(source: AudioSource) -> NDArray[np.float64]:
    """RMS of a mono `source` over a second around every half second from its first sample on; silence around it."""
    half = source.rate // 2
    count = source.frames // half + 1
    # each second is two halves: the one before its middle and the one after
    energies = np.zeros(count + 1)
    for number in range(count + 1):
        samples = source.read((number - 1) * half, number * half).samples[0].astype(np.float64)
        energies[number] = np.dot(samples, samples)
    return np.asarray(np.sqrt((energies[:-1] + energies[1:]) / (2 * half)))


def mixing_gain(
    original: NDArray[np.float64], own: NDArray[np.float64], mix: float, start: int, stop: int, total: int
) -> Samples:
    """The gain of samples ``start:stop`` of a sound of `total` samples, `original` and `own` as of `second_rms`.

    Values are interpolated linearly; as in RVC they are distributed evenly over the sound's length.
    """

    def interpolated(values: NDArray[np.float64]) -> NDArray[np.float64]:
        places = (np.arange(start, stop) + 0.5) * (len(values) / total) - 0.5
        return np.asarray(np.interp(places, np.arange(len(values)), values))

    gain = interpolated(original) ** (1 - mix) * np.maximum(interpolated(own), _LEAST) ** (mix - 1)
    return np.asarray(gain, np.float32)
