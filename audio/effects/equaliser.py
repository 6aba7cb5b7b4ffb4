"""Equaliser: a cascade of second-order sections.

The sections are those of Robert Bristow-Johnson's Audio EQ Cookbook (https://www.w3.org/TR/audio-eq-cookbook/).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from understudy.audio.samples import Audio, Samples

Section = NDArray[np.float64]
"""``[6]``: b0 b1 b2 a0 a1 a2, with a0 = 1."""

MARGIN = 0.5  # seconds of sound before a window that the sections need to have settled (down to 20 Hz)


def peak(rate: int, frequency: float, gain: float, q: float = 0.7) -> Section:
    """`gain` dB around `frequency` Hz."""
    amplitude, cosine, alpha = _basics(rate, frequency, gain, q)
    return _normal(
        [1 + alpha * amplitude, -2 * cosine, 1 - alpha * amplitude],
        [1 + alpha / amplitude, -2 * cosine, 1 - alpha / amplitude],
    )


def high_pass(rate: int, frequency: float, q: float = 0.7071) -> Section:
    """12 dB per octave below `frequency` Hz."""
    _, cosine, alpha = _basics(rate, frequency, 0.0, q)
    return _normal([(1 + cosine) / 2, -(1 + cosine), (1 + cosine) / 2], [1 + alpha, -2 * cosine, 1 - alpha])


def equalise(window: Audio, sections: Sequence[Section]) -> Audio:
    """`window` through `sections`, one after the other."""
    return Audio(filtered(window.samples, sections), window.rate)


def filtered(samples: Samples, sections: Sequence[Section]) -> Samples:
    """`samples` ``[channels, frames]`` through `sections`, one after the other."""
    if not sections:
        return samples
    from scipy.signal import sosfilt

    # float64: a float32 filter at 70 Hz of 192 kHz would add noise of its own
    result: Samples = sosfilt(np.stack(sections), samples.astype(np.float64), axis=-1).astype(np.float32)
    return result


def _basics(rate: int, frequency: float, gain: float, q: float) -> tuple[float, float, float]:
    """Square root of the linear gain, cosine of the angular frequency, and alpha."""
    angle = 2 * np.pi * min(frequency, 0.47 * rate) / rate
    return float(10 ** (gain / 40)), float(np.cos(angle)), float(np.sin(angle) / (2 * q))


def _normal(numerator: list[float], denominator: list[float]) -> Section:
    return np.array([*numerator, *denominator]) / denominator[0]
