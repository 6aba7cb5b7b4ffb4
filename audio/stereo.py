"""The stereo position and width of a sound, measured on one recording and applied to another.

Position and width follow from the energies of left and right and their correlation. They are applied to a mono sound as

    left = l * dry + s * side        right = r * dry - s * side

with a `side` that has the energy of `dry` and is uncorrelated with it. Exactly one choice of l, r and s (`Placement`)
gives left², right² and left times right as measured. In left + right the side cancels, so that a fold to mono gives the
dry sound without coloration.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.audio.effects.control import Curve, smoothed
from understudy.audio.samples import Samples

_LEAST_MIDDLE = 0.1
"""Least share of the energy in left + right, also where the recording's cancels: no voice may vanish in mono."""

_CLEAR = 4.0
"""Exponent of the weight of moments whose sound comes from one position. In a separated vocal the others are often
bleed of instruments. A larger value would make truly wide vocals narrow."""

_LENGTH = 0.03  # seconds of the decorrelating response
_DELAY = 0.004  # seconds before it
_FLOOR = 200.0  # Hz below which nothing is decorrelated


@dataclass(frozen=True, eq=False)
class Placement:
    """Factors of the dry sound in the left and right channel and of the side, ``[values]`` each, over time.

    ``left² + right² + 2 * side² = 1``: the energy of both channels is that of the mono sound.
    """

    left: Curve
    right: Curve
    side: Curve


def placement(left: Curve, right: Curve, shared: Curve, blocks: int, width: float = 1.0) -> Placement:
    """Where a recording sits, from its energies per block: of left, of right, and the mean of their product.

    Energies are summed over about `blocks` blocks, so that loud moments count and pauses don't, and moments that come
    from one place count more than those that come from everywhere. `width` 0..1 scales the
    side's share of the energy. Without energy the place is the nearest in time; of a silent recording, the centre.
    """
    total = left + right
    floor = 1e-6 * float(total.max(initial=0.0)) + 1e-20
    weights = _clearness(left, right, shared) ** _CLEAR + 1e-3
    a, b, c = (smoothed(curve * weights, blocks) for curve in (left, right, shared))
    known = a + b > floor
    if not known.any():
        middle = np.full(len(left), np.sqrt(0.5))
        return Placement(middle, middle.copy(), np.zeros(len(left)))
    a, b, c = (curve / np.maximum(a + b, floor) for curve in (a, b, c))
    c = np.clip(c, (_LEAST_MIDDLE - 1) / 2, np.sqrt(np.maximum(a * b, 0.0)))
    side = np.maximum(a * b - c * c, 0.0) / np.maximum(a + b + 2 * c, _LEAST_MIDDLE) * width
    to_left, to_right = np.maximum(a + c, 0.0), np.maximum(b + c, 0.0)
    scale = np.sqrt(np.maximum(1 - 2 * side, 0.0) / np.maximum(to_left**2 + to_right**2, 1e-12))
    where = np.arange(len(left))
    curves = [np.interp(where, where[known], curve[known]) for curve in (to_left * scale, to_right * scale, side**0.5)]
    return Placement(*curves)


def _clearness(left: Curve, right: Curve, shared: Curve) -> Curve:
    """1 where all sound comes from one place, 0 where it comes from everywhere: difference over sum of the principal
    energies."""
    a, b, c = (smoothed(curve, 5) for curve in (left, right, shared))
    clearness: Curve = np.sqrt((a - b) ** 2 + 4 * c * c) / np.maximum(a + b, 1e-20)
    return np.minimum(clearness, 1.0)


def spreading_response(rate: int, seed: int = 5) -> Samples:
    """A short impulse response with a flat spectrum: a sound convolved with it is uncorrelated with the original.

    Noise that decays over `_LENGTH` seconds, made flat in spectrum, without low frequencies (no width, only smear).
    """
    size = 1 << int(np.ceil(np.log2(2 * _LENGTH * rate)))
    first, last = round(_DELAY * rate), round((_DELAY + _LENGTH) * rate)
    noise = np.zeros(size)
    time = np.arange(last - first) / (last - first)
    noise[first:last] = np.random.default_rng(seed).standard_normal(last - first) * np.sin(np.pi * time**0.5) ** 2
    for _ in range(4):  # flat in frequency, short in time, in turns
        spectrum = np.fft.rfft(noise)
        frequency = np.fft.rfftfreq(size, 1 / rate)
        slope = np.minimum(1.0, (frequency / _FLOOR) ** 2)
        noise = np.fft.irfft(spectrum / np.maximum(np.abs(spectrum), 1e-9) * slope, size)
        noise[:first] = 0.0
        noise[last:] = 0.0
    response: Samples = (noise[:last] / np.sqrt(np.square(noise).sum())).astype(np.float32)
    return response


def correlation(left: NDArray[np.floating], right: NDArray[np.floating]) -> float:
    """-1..1: 1 for the same sound on both sides (at any level), 0 for two that share nothing; 1 for silence."""
    energy = float(np.sqrt(np.vdot(left, left) * np.vdot(right, right)))
    return float(np.vdot(left, right)) / energy if energy > 0 else 1.0
