"""Spectral envelopes of a voice on a mel grid that is the same at every sample rate.

The envelope is WORLD's CheapTrick (Morise, "CheapTrick, a spectral envelope estimator for high-quality speech
synthesis", Speech Communication 67, 2015): pitch-adaptive smoothing, so that it shows the vocal tract and not the
harmonics. It is sampled at `POINTS` mel-spaced frequencies up to `TOP`, in nats of power.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

POINTS = 80
TOP = 10500.0  # Hz: just under what recordings at 22.05 kHz hold
FLOOR = -46.0  # nats of power, about -200 dB: digital silence
DEPTH = 60 / 4.343  # nats of power
LOWEST_F0 = 71.0  # Hz: fixes CheapTrick's transform at 2048 samples for 44.1 and 48 kHz


def mel(hertz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """O'Shaughnessy's mel scale."""
    return np.asarray(1127.0 * np.log1p(np.asarray(hertz, np.float64) / 700.0))


@lru_cache(maxsize=8)
def grid() -> NDArray[np.float64]:
    """The `POINTS` frequencies in Hz."""
    return np.asarray(700.0 * np.expm1(np.linspace(0.0, float(mel(TOP)), POINTS) / 1127.0))


def transform_size(rate: int) -> int:
    """Samples of the transform that CheapTrick wants at `rate`."""
    return int(2 ** (1 + int(np.log2(3.0 * rate / LOWEST_F0 + 1))))


@lru_cache(maxsize=8)
def to_grid(rate: int, top: float = TOP) -> Array:
    """``[bins, POINTS]``: hat-shaped weights that average a log envelope around every grid point.

    Points above `top` Hz, or above the Nyquist frequency, repeat the last one below.
    """
    top = min(top, 0.48 * rate)
    bins = transform_size(rate) // 2 + 1
    frequency = np.arange(bins) * rate / transform_size(rate)
    points = grid()
    edges = np.concatenate([[2 * points[0] - points[1]], points, [2 * points[-1] - points[-2]]])
    weights = np.zeros((bins, POINTS))
    for index, point in enumerate(points):
        if point > top and index > 0:
            weights[:, index] = weights[:, index - 1]
            continue
        # never narrower than a bin, or a low point could fall between two bins
        left = max(point - edges[index], rate / transform_size(rate))
        right = max(edges[index + 2] - point, rate / transform_size(rate))
        distance = frequency - point
        weights[:, index] = np.clip(1 - np.where(distance < 0, -distance / left, distance / right), 0, None)
    return np.asarray(weights / weights.sum(axis=0), np.float32)


@lru_cache(maxsize=8)
def from_grid(rate: int) -> Array:
    """``[POINTS, bins]``: linear interpolation back from the grid; above `TOP` the last point is held."""
    frequency = np.arange(transform_size(rate) // 2 + 1) * rate / transform_size(rate)
    position = np.interp(frequency, grid(), np.arange(POINTS))
    low = np.minimum(position.astype(int), POINTS - 2)
    weights = np.zeros((POINTS, len(frequency)))
    column = np.arange(len(frequency))
    weights[low, column] = 1 - (position - low)
    weights[low + 1, column] = position - low
    return np.asarray(weights, np.float32)


def envelope(signal: NDArray[np.float64], f0: NDArray[np.float64], rate: int, hop: float) -> Array:
    """Log power envelope of a mono signal, ``[frames, bins]`` in nats; frame k is centred at ``k * hop`` seconds."""
    import pyworld

    times = np.arange(len(f0)) * hop
    power = pyworld.cheaptrick(signal, f0, times, rate, f0_floor=LOWEST_F0, fft_size=transform_size(rate))
    return np.asarray(np.log(np.maximum(power, np.exp(FLOOR))), np.float32)


def warped(log_envelope: Array, factor: float) -> Array:
    """The envelope with its frequency axis stretched by `factor`: formants at f move to ``f * factor``."""
    if abs(factor - 1.0) < 1e-4:
        return log_envelope
    bins = log_envelope.shape[1]
    position = np.minimum(np.arange(bins) / factor, bins - 1)
    low = np.minimum(position.astype(int), bins - 2)
    part = (position - low).astype(np.float32)
    return np.ascontiguousarray(log_envelope[:, low] * (1 - part) + log_envelope[:, low + 1] * part)


def cepstrum(points: Array) -> Array:
    """Orthonormal DCT-II over the grid: ``[frames, POINTS]``; coefficient 0 is loudness.

    Values more than `DEPTH` below the frame's peak are raised to that: the spectral holes of separation and lossy
    coding are not timbre, and in a log spectrum they would outweigh everything else.
    """

    from scipy.fft import dct

    points = np.maximum(points, points.max(axis=1, keepdims=True) - DEPTH)
    return np.asarray(dct(points, type=2, norm="ortho", axis=1), np.float32)


@lru_cache(maxsize=8)
def inverse_basis(order: int) -> Array:
    """``[order, POINTS]``: the first `order` cepstral coefficients back to the grid."""

    from scipy.fft import dct

    return np.asarray(dct(np.eye(POINTS), type=2, norm="ortho", axis=1).T[:order], np.float32)
