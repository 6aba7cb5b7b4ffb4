"""A tone with harmonics that follows any pitch, so that the right answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.audio.pitch import PitchTrack
from understudy.audio.samples import Audio
from understudy.context import Context

CONTEXT = Context(Path("."))


def vibrato(middle: float, seconds: float, rate: int, cents: float = 50, speed: float = 5.5) -> NDArray[np.float64]:
    """f0 per sample in Hz."""
    return middle * 2 ** (cents / 1200 * np.sin(2 * np.pi * speed * np.arange(int(seconds * rate)) / rate))


def sung(f0: NDArray[np.float64], rate: int, loud: float = 0.3) -> Audio:
    """Mono sound with harmonics up to 7 kHz, silent where `f0` (Hz per sample) is 0."""
    phase = 2 * np.pi * np.cumsum(f0) / rate
    sound = np.zeros(len(f0))
    for harmonic in range(1, 1 + int(7000 / f0[f0 > 0].min())):
        # a formant at 600 Hz, so that the fundamental isn't always the strongest
        gain = 1 / harmonic / (1 + ((harmonic * f0 - 600) / 400) ** 2) + 0.1 / harmonic
        sound += np.where(harmonic * f0 < min(7000, 0.45 * rate), gain, 0) * np.sin(harmonic * phase)
    sound *= f0 > 0
    return Audio.of(sound * loud / np.abs(sound).max(), rate)


def at_frames(f0: NDArray[np.float64], rate: int) -> NDArray[np.float64]:
    """The truth at the frames of a track: one every 5 ms, the last where the sound ends."""
    return np.append(f0, f0[-1])[np.arange(len(f0) * 200 // rate + 1) * rate // 200]


def cents_off(heard: PitchTrack, truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Absolute error in cents of the frames that are truly voiced; infinite where heard as unvoiced."""
    voiced = truth > 0
    with np.errstate(divide="ignore"):
        return np.abs(1200 * np.log2(heard.f0[voiced] / truth[voiced]))
