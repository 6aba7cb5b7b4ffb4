"""`estoi`: how intelligible a sound is against its original.

Jensen & Taal, "An algorithm for predicting the intelligibility of speech masked by modulated noise maskers" (2016):
correlation of short stretches of third-octave spectra after normalisation over time and over frequency. It doesn't
depend on the level, and a change of pitch costs little of it.
"""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_RATE = 10000  # Hz
_FRAME, _SIZE = 256, 512
_BANDS, _LOWEST = 15, 150.0  # third octaves, the centre of the first in Hz
_STRETCH = 30  # frames, 384 ms
_RANGE = 40.0  # dB below the loudest frame; softer frames of the original are left out


def estoi(original: NDArray[np.floating], result: NDArray[np.floating], rate: int) -> float:
    """ESTOI of mono sound ``[samples]`` against the `original` of the same length and rate: 1 for the same, about 0
    for an unrelated one. 0 where less than 0.4 s of the original sounds, or where the result is silent."""
    if original.shape != result.shape or original.ndim != 1:
        raise ValueError(f"estoi wants two sounds of one length, got {original.shape} and {result.shape}")
    x, y = (
        np.asarray(soxr.resample(sound.astype(np.float64), rate, _RATE), np.float64) for sound in (original, result)
    )
    x, y = _without_silence(x, y)
    a, b = _spectra(x), _spectra(y)  # [frames, bands]
    if len(a) < _STRETCH:
        return 0.0
    windows = (np.lib.stride_tricks.sliding_window_view(bands, _STRETCH, axis=0) for bands in (a, b))
    first, second = (_normed(_normed(window, 2), 1) for window in windows)  # [stretches, bands, _STRETCH]
    return float(np.mean(np.sum(first * second, axis=1)))


def _normed(values: Floats, axis: int) -> Floats:
    """Zero mean and unit length along `axis`."""
    centred = values - values.mean(axis=axis, keepdims=True)
    return np.asarray(centred / (np.linalg.norm(centred, axis=axis, keepdims=True) + 1e-12))


def _window() -> Floats:
    return np.asarray(np.hanning(_FRAME + 2)[1:-1])


def _frames(sound: Floats) -> Floats:
    if len(sound) <= _FRAME:
        return np.zeros((0, _FRAME))
    return np.lib.stride_tricks.sliding_window_view(sound[:-1], _FRAME)[:: _FRAME // 2] * _window()


def _without_silence(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Both without the frames in which `x` is silent, overlapped and added again."""
    a, b = _frames(x), _frames(y)
    level = 20 * np.log10(np.linalg.norm(a, axis=1) + 1e-12)
    keep = level > level.max(initial=-np.inf) - _RANGE
    return _joined(a[keep]), _joined(b[keep])


def _joined(frames: Floats) -> Floats:
    step = _FRAME // 2
    if not len(frames):
        return np.zeros(0)
    halves = np.zeros((len(frames) + 1, step))
    halves[:-1] += frames[:, :step]
    halves[1:] += frames[:, step:]
    return halves.reshape(-1)


def _spectra(sound: Floats) -> Floats:
    """Magnitudes in third octaves ``[frames, _BANDS]``."""
    power = np.abs(np.fft.rfft(_frames(sound), _SIZE, axis=1)) ** 2
    grid = np.fft.rfftfreq(_SIZE, 1 / _RATE)
    centres = _LOWEST * 2 ** (np.arange(_BANDS) / 3)
    edges = [(np.argmin(np.abs(grid - c * 2 ** (-1 / 6))), np.argmin(np.abs(grid - c * 2 ** (1 / 6)))) for c in centres]
    return np.asarray(np.sqrt(np.stack([power[:, low:high].sum(axis=1) for low, high in edges], axis=1)))
