"""A look-ahead true-peak limiter. Its gain curve is computed separately, so that stems can share it.

The peak of the continuous signal is estimated as ITU-R BS.1770-4 annex 2 does, from the signal oversampled to at least
176.4 kHz, with a parabola through each local maximum (four-fold oversampling alone misses up to 0.55 dB of a tone near
half the rate). What each peak needs, in dB, is taken in two parts that add up:
 - the sustained part: what peak after peak needs, for `LASTING` seconds and more. It moves slowly, so that a loud bass
   is turned down and not distorted. A morphological opening finds it: peaks at most `PERIOD` seconds apart count as
   one, and what is shorter than `LASTING` is left out.
 - the fast part: what single peaks need beyond that. It is so short that it is not heard as pumping, and takes little
   of the loudness.
Each part is a curve of its own:
 1. release: the gain rises again by at most so many dB per second (a running minimum of lines);
 2. look-ahead: the least value of the next `attack` seconds;
 3. smoothing: averages over the last `attack` seconds, which cannot rise above the gain needed, because every value
    averaged is already at most that.
The gain is a function of the sound around each moment, without state, so windows of a song join without seams. It is
exactly 1 where no peak within reach exceeds the ceiling, and the samples there keep their bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.audio.effects.control import released
from understudy.audio.samples import Audio, Samples

PERIOD = 0.02
"""Seconds between peaks that belong together: half a period of 25 Hz."""

LASTING = 0.15
"""Seconds that a reduction must last to be taken slowly. At 0.08 the loudness range of loud songs shrinks twice as much
at the same loudness; at 0.3 notes of a bass are distorted more."""

ATTACK, RELEASE = 0.01, 160.0
"""Seconds of look-ahead and dB per second of the sustained part."""

FAST_ATTACK, FAST_RELEASE = 0.001, 2000.0
"""The same of the fast part. Alone, it would distort a bass note of 55 Hz, limited by 4 dB, by -17 dB."""

_SHORTEST = 24  # frames of look-ahead: a faster gain would lift what lies between samples
MARGIN = 0.6  # seconds of context that the gain needs on both sides: enough for the release from 80 dB of reduction


@dataclass(frozen=True, eq=False)
class Limiting:
    """Gains over time, ``[frames]`` in 0..1. `sustained`: the part of `gain` that lasts. `peaks`: of the sound before
    the gain, as `true_peaks` gives them. `idle`: whether the gain is 1 throughout."""

    gain: NDArray[np.float32]
    sustained: NDArray[np.float32]
    peaks: NDArray[np.float32]
    idle: bool


def limiting(window: Audio, ceiling: float) -> Limiting:
    """What keeps `window` at or below `ceiling` dBTP; the same for all channels."""
    limit = 10 ** (ceiling / 20)
    peaks = true_peaks(window, limit)
    if not (peaks > limit).any():
        nothing = np.ones(window.frames, np.float32)
        return Limiting(nothing, nothing, peaks, idle=True)
    over = np.maximum(peaks / np.float32(limit), 1.0).astype(np.float64)
    needed = -20 * np.log10(over)  # dB, 0 or less, for the peak at each frame
    rate = window.rate
    sustained = _curve(_lasting(needed, rate), rate, ATTACK, RELEASE)
    fast = _curve(np.minimum(needed - sustained, 0.0), rate, FAST_ATTACK, FAST_RELEASE)
    return Limiting(_linear(sustained + fast), _linear(sustained), peaks, idle=False)


def gain_curve(window: Audio, ceiling: float) -> NDArray[np.float32]:
    """The gain alone of `limiting`."""
    return limiting(window, ceiling).gain


def _linear(decibels: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(np.power(10.0, decibels / 20), np.float32)


def _lasting(needed: NDArray[np.float64], rate: int) -> NDArray[np.float64]:
    """`needed` (dB, 0 or less) without what is shorter than `LASTING`; nowhere below the lowest of its peaks around."""
    from scipy.ndimage import maximum_filter1d, minimum_filter1d

    size = round(LASTING * rate) | 1
    joined = minimum_filter1d(needed, round(PERIOD * rate) | 1, mode="constant")  # silence beyond the ends
    opened = minimum_filter1d(maximum_filter1d(joined, size, mode="constant"), size, mode="constant")
    return np.asarray(opened)


def _curve(needed: NDArray[np.float64], rate: int, attack: float, release: float) -> NDArray[np.float64]:
    """The dB of a gain that is smooth, and nowhere above `needed`."""
    reach = max(_SHORTEST, round(attack * rate)) // 2 * 2
    return _smooth(np.minimum(released(needed, release / rate), 0.0), reach)


def true_peaks(window: Audio, least: float) -> Samples:
    """The highest absolute value of the continuous signal near each frame, over all channels: ``[frames]``. Above
    `least` it is interpolated; below, it is the highest oversampled value, as in the standard, which saves time."""
    import soxr

    factor = max(1, -(-176400 // window.rate))
    peaks: Samples = np.abs(window.samples).max(axis=0)
    if not len(peaks):
        return peaks
    for channel in window.samples:
        fine = soxr.resample(channel, window.rate, window.rate * factor, quality="HQ") if factor > 1 else channel
        fine = np.abs(_fit(fine, window.frames * factor))
        # the highest of the `factor` oversampled values that belong to each frame
        highest = fine[::factor].copy()
        for offset in range(1, factor):
            np.maximum(highest, fine[offset::factor], out=highest)
        # Local maxima. The parabola below adds at most a tenth, so maxima below ``least / 1.1`` stay below `least`.
        tops = 1 + np.flatnonzero(fine[1:-1] > least / 1.1)
        tops = tops[(fine[tops] >= fine[tops - 1]) & (fine[tops] >= fine[tops + 1])]
        before, at, after = fine[tops - 1], fine[tops], fine[tops + 1]
        # vertex of the parabola through three values: at - (after - before)² / (8 * (before - 2 at + after))
        bend = np.minimum(before - 2 * at + after, -1e-20)
        rise = np.minimum(-((after - before) ** 2) / (8 * bend), 0.1 * at)
        np.maximum.at(highest, tops // factor, at + rise)
        # a peak between two frames counts for both
        np.maximum(peaks, highest, out=peaks)
        np.maximum(peaks[1:], highest[:-1], out=peaks[1:])
    return peaks


def _fit(samples: Samples, frames: int) -> Samples:
    return samples[:frames] if len(samples) >= frames else np.pad(samples, (0, frames - len(samples)))


def _smooth(decibels: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    from scipy.ndimage import minimum_filter1d, uniform_filter1d

    # least of [t, t + reach], then two averages over [t - reach / 2, t], one after the other: a triangle
    held = minimum_filter1d(decibels, reach + 1, origin=-(reach // 2), mode="nearest")
    half = reach // 2
    smooth = held
    for _ in range(2):
        smooth = uniform_filter1d(smooth, half, origin=(half - 1) // 2 if half % 2 else half // 2 - 1, mode="nearest")
    # uniform_filter1d updates a running sum, which leaves rounding errors: exactly 0 where everything averaged is 0
    touched = minimum_filter1d(held, reach + 1, origin=reach // 2, mode="nearest") < 0
    return np.where(touched, np.minimum(smooth, 0.0), 0.0)
