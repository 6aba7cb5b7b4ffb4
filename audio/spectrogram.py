"""The short-time Fourier transform and its inverse, for everything here that works on spectrograms.

Arrays are frames first: ``[channels, frames, bins]``, complex64. The window is the square root of a periodic Hann, used
for both analysis and synthesis; at hops of a quarter window its squares sum to a constant, so `resynthesize` of an
unchanged `analyse` gives the samples back to float32 precision.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.audio.samples import Samples

Spectrum = NDArray[np.complex64]
"""Complex short-time spectrum, ``[channels, frames, bins]``."""
Map = NDArray[np.float32]
"""One real value per frame and bin, ``[frames, bins]``: a magnitude or a mask."""

_BLOCK = 256
"""Frames transformed at once: bounds the memory of the windowed copy."""


@dataclass(frozen=True)
class Grid:
    """Where the frames and bins of a short-time spectrum lie: `size` samples per frame every `hop` samples at `rate`
    Hz, and only the lowest `bins` bins kept."""

    rate: int
    size: int
    hop: int
    bins: int

    @staticmethod
    def of(rate: int, seconds: float, top: float) -> Grid:
        """Frames of about `seconds` (a power of two in samples), a hop of a quarter of it, the bins up to `top` Hz."""
        size = 2 ** max(6, round(np.log2(seconds * rate)))
        return Grid(rate, size, size // 4, min(size // 2, int(top * size / rate)) + 1)

    @property
    def frequencies(self) -> NDArray[np.float32]:
        """Centre of each bin in Hz."""
        return (np.arange(self.bins) * (self.rate / self.size)).astype(np.float32)

    @property
    def top(self) -> float:
        """The highest frequency kept, in Hz."""
        return (self.bins - 1) * self.rate / self.size

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.rate / self.hop

    def frames(self, seconds: float) -> int:
        """How many hops `seconds` are, at least one."""
        return max(1, round(seconds * self.frame_rate))

    def width(self, hertz: float) -> int:
        """How many bins `hertz` are, at least one."""
        return max(1, round(hertz * self.size / self.rate))


def analyse(samples: Samples, grid: Grid) -> Spectrum:
    """Spectrum of `samples` ``[channels, n]``, padded with silence so that every sample lies in four frames."""

    from scipy import fft

    lap = grid.size - grid.hop
    count = -(-(samples.shape[1] + lap) // grid.hop)
    padded = np.pad(samples, ((0, 0), (lap, count * grid.hop - samples.shape[1])))
    frames = np.lib.stride_tricks.sliding_window_view(padded, grid.size, axis=1)[:, :: grid.hop][:, :count]
    window = _window(grid)
    spectrum = np.empty((samples.shape[0], count, grid.bins), np.complex64)
    for first in range(0, count, _BLOCK):
        block = frames[:, first : first + _BLOCK] * window
        spectrum[:, first : first + _BLOCK] = fft.rfft(block, axis=2)[..., : grid.bins]
    return spectrum


def level(spectrum: Spectrum) -> Map:
    """Root mean square of the channels' magnitudes."""
    return np.asarray(np.sqrt(np.mean(spectrum.real**2 + spectrum.imag**2, axis=0)), np.float32)


def resynthesize(spectrum: Spectrum, grid: Grid, length: int) -> Samples:
    """The `length` samples whose `analyse` is `spectrum` (the nearest in the least-squares sense)."""

    from scipy import fft

    channels, count, _ = spectrum.shape
    lap = grid.size - grid.hop
    parts = grid.size // grid.hop
    padded = np.zeros((channels, count + parts, grid.hop), np.float32)
    window = _window(grid) * np.float32(2 / parts)  # squared root-Hann windows sum to parts / 2
    for first in range(0, count, _BLOCK):
        block = fft.irfft(spectrum[:, first : first + _BLOCK], n=grid.size, axis=2) * window
        for part in range(parts):
            piece = block[:, :, part * grid.hop : (part + 1) * grid.hop]
            padded[:, first + part : first + part + block.shape[1]] += piece
    return padded.reshape(channels, -1)[:, lap : lap + length]


def _window(grid: Grid) -> NDArray[np.float32]:
    return np.sin(np.pi * np.arange(grid.size) / grid.size).astype(np.float32)
