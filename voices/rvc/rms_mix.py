"""The volume envelope: how far the sound's loudness over time is its own or the original's.

RVC's `change_rms`: the sound times original^(1 - mix) * own^(mix - 1), both as RMS over a second, every half second.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from understudy.audio.samples import AudioSource, Samples

_LEAST = 1e-6  # RMS of the own sound that the gain reckons with at least


def second_rms(source: AudioSource) -> NDArray[np.float64]:
    """RMS of a mono `source` over a second around every half second, beginning at its first sample; silence beyond
    its ends."""
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

    Between the values lie straight lines; as in RVC they are spread evenly over the sound's length.
    """

    def spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
        places = (np.arange(start, stop) + 0.5) * (len(values) / total) - 0.5
        return np.asarray(np.interp(places, np.arange(len(values)), values))

    gain = spread(original) ** (1 - mix) * np.maximum(spread(own), _LEAST) ** (mix - 1)
    return np.asarray(gain, np.float32)
