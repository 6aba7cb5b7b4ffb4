"""The predominant-pitch cue: the harmonics of the strongest melody in the singing range.

Salience by harmonic summation over a whitened spectrum (Klapuri, "Multiple fundamental frequency estimation by
summing harmonic amplitudes", ISMIR 2006) and the smoothest strong path through it (Viterbi).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from understudy.pipeline.separation.spectrogram import Grid, Map

LOWEST, HIGHEST, STEPS = 90.0, 1000.0, 60
"""Range of the search in Hz and its resolution in steps per octave."""


def candidates() -> NDArray[np.float64]:
    """The fundamental frequencies in Hz that are looked at."""
    count = int(np.log2(HIGHEST / LOWEST) * STEPS) + 1
    return LOWEST * 2 ** (np.arange(count) / STEPS)


def predominant_pitch(magnitude: Map, grid: Grid, *, harmonics: int = 16, jump: float = 0.02) -> NDArray[np.float32]:
    """The fundamental in Hz of the predominant melody in every frame of `magnitude`."""
    score = _salience(magnitude, grid, harmonics)
    score /= score.max(axis=1, keepdims=True) + 1e-9
    return candidates()[_best_path(score, jump)].astype(np.float32)


def comb(pitch: NDArray[np.float32], grid: Grid, *, top: float = 6000.0) -> Map:
    """Mask ``[frames, bins]``: 1 on the harmonics of `pitch`, falling to 0 between them and above `top` Hz; each tooth
    is a Gaussian with a standard deviation of 15 Hz and a hundredth of the pitch, which may be off by that much."""
    frequency = grid.frequencies[None]
    fundamental = np.maximum(pitch, 1)[:, None]
    number = np.maximum(1, np.round(frequency / fundamental))
    distance = np.abs(frequency - number * fundamental) / (15 + 0.01 * fundamental)
    return np.asarray(np.exp(-0.5 * distance**2) * (frequency < top), np.float32)


def _salience(magnitude: Map, grid: Grid, harmonics: int) -> NDArray[np.float32]:
    spectrum = np.sqrt(magnitude)
    spectrum = np.maximum(spectrum - uniform_filter1d(spectrum, grid.width(300.0) | 1, axis=1), 0)
    total = np.zeros((len(spectrum), len(candidates())), np.float32)
    for number in range(1, harmonics + 1):
        position = candidates() * number * grid.size / grid.rate
        low = np.minimum(position.astype(int), grid.bins - 2)
        share = (position - low).astype(np.float32)
        value = (1 - share) * spectrum[:, low] + share * spectrum[:, low + 1]
        total += np.where(position < grid.bins - 1, 0.84 ** (number - 1) * value, 0)
    return total


def _best_path(score: NDArray[np.float32], jump: float, reach: int = 24) -> NDArray[np.intp]:
    """Index of the best state per frame: the sum of `score` less `jump` per state moved, at most `reach` at once."""
    frames, states = score.shape
    cost = (jump * np.abs(np.arange(-reach, reach + 1))).astype(np.float32)
    came_from = np.empty((frames, states), np.int16)
    total = score[0]
    for frame in range(1, frames):
        padded = np.pad(total, reach, constant_values=-np.inf)
        options = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1) - cost
        best = options.argmax(axis=1)
        came_from[frame] = best - reach
        total = options[np.arange(states), best] + score[frame]
    path = np.empty(frames, np.intp)
    path[-1] = total.argmax()
    for frame in range(frames - 1, 0, -1):
        path[frame - 1] = path[frame] + came_from[frame, path[frame]]
    return path
