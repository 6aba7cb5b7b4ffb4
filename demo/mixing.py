"""Panning and reverb."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, oaconvolve, sosfilt

from demo.singer import RATE

Floats = NDArray[np.floating]


def room(random: np.random.Generator, seconds: float, predelay: float = 0.018) -> Floats:
    """Impulse response of a reverb, ``[2, frames]``: noise that falls by 60 dB in `seconds`, sooner at high
    frequencies; unit energy."""
    time = np.arange(round(seconds * 1.1 * RATE)) / RATE
    noise = random.standard_normal((2, len(time)))
    low = sosfilt(butter(1, [180, 2500], "bandpass", fs=RATE, output="sos"), noise) * np.exp(-6.91 * time / seconds)
    high = sosfilt(butter(1, [2500, 9000], "bandpass", fs=RATE, output="sos"), noise) * np.exp(
        -6.91 * time / (0.5 * seconds)
    )
    tail = (low + 0.7 * high) * np.clip(time / 0.008, 0, 1)
    tail = np.pad(tail, ((0, 0), (round(predelay * RATE), 0)))
    return np.asarray(tail / np.sqrt(np.sum(tail**2, axis=1, keepdims=True)))


def reverberated(dry: Floats, response: Floats, wet: float) -> Floats:
    """`dry` (``[2, frames]``) plus the reverb of its mono sum at `wet` dB, on both sides."""
    middle = dry.mean(axis=0)
    echo = np.array([oaconvolve(middle, side)[: dry.shape[1]] for side in response])
    return dry + 10 ** (wet / 20) * echo


def panned(mono: Floats, pan: float = 0.0) -> Floats:
    """Constant power, -1 left to 1 right; 0.707 on both sides in the middle."""
    angle = (pan + 1) * np.pi / 4
    return np.outer((np.cos(angle), np.sin(angle)), mono)
