"""The bins of a spectrum that make up each band of a Roformer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bands = tuple[tuple[int, int], ...]
"""First bin and the one after the last, of every band."""


def split_bands(bins: tuple[int, ...]) -> Bands:
    """Adjacent bands with these numbers of bins."""
    ends = np.cumsum(bins)
    return tuple((int(end) - count, int(end)) for end, count in zip(ends, bins, strict=True))


def mel_bands(count: int, n_fft: int, rate: int) -> Bands:
    """Overlapping bands: the bins in which the `count` triangles of Slaney's mel filter bank (1998, "Auditory
    Toolbox") are above zero, and the two edges of the spectrum in the outermost ones.

    Raises `ValueError` where some bin lies in no band or some band has no bin.
    """
    bins = n_fft // 2 + 1
    corners = _frequencies(np.linspace(0.0, _mel(rate / 2), count + 2))
    frequencies = np.linspace(0.0, rate / 2, bins)
    rises = (frequencies - corners[:-2, None]) / np.diff(corners)[:-1, None]
    falls = (corners[2:, None] - frequencies) / np.diff(corners)[1:, None]
    inside_band = np.minimum(rises, falls) > 0
    inside_band[0, 0] = inside_band[-1, -1] = True
    found = []
    for band in inside_band:
        inside = np.flatnonzero(band)
        if inside.size == 0 or inside[-1] - inside[0] + 1 != inside.size:
            raise ValueError(f"{count} mel bands are too many for spectra of {bins} bins")
        found.append((int(inside[0]), int(inside[-1]) + 1))
    if not inside_band.any(axis=0).all():
        raise ValueError(f"{count} mel bands leave out some of {bins} bins")
    return tuple(found)


_KNEE, _LINEAR, _STEP = 1000.0, 200 / 3, np.log(6.4) / 27  # linear below 1 kHz, logarithmic above


def _mel(frequency: float) -> float:
    if frequency < _KNEE:
        return frequency / _LINEAR
    return float(_KNEE / _LINEAR + np.log(frequency / _KNEE) / _STEP)


def _frequencies(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    knee = _KNEE / _LINEAR
    return np.where(mels < knee, mels * _LINEAR, _KNEE * np.exp(_STEP * (mels - knee)))
