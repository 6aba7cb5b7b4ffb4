"""Multichannel Wiener filtering: a mask turned into the stems that best explain a stereo mix.

One expectation step of the local Gaussian model (Duong, Vincent and Gribonval, "Under-determined reverberant audio
source separation using a full-rank spatial covariance model", IEEE TASLP 2010): every stem has a power per bin and a
2x2 spatial covariance per frequency, both estimated from the masked mix.
"""

from __future__ import annotations

import numpy as np

from pipeline.separation.spectrogram import Map, Spectrum


def stereo_wiener(spectrum: Spectrum, mask: Map, *, regularization: float = 1e-3) -> Spectrum:
    """The vocals in the stereo `spectrum` ``[2, frames, bins]`` of which `mask` says the share 0..1 that is vocals."""
    vocals = mask * spectrum
    rest = spectrum - vocals
    power = [np.mean(np.abs(stem) ** 2, axis=0) for stem in (vocals, rest)]
    place = [_covariance(stem, level) for stem, level in zip((vocals, rest), power, strict=True)]
    left, right, cross = (power[0] * place[0][i] for i in range(3))
    floor = regularization * (power[0] + power[1]) + 1e-12
    mix_left = left + power[1] * place[1][0] + floor
    mix_right = right + power[1] * place[1][1] + floor
    mix_cross = cross + power[1] * place[1][2]
    determinant = mix_left * mix_right - np.abs(mix_cross) ** 2
    first = (mix_right * spectrum[0] - mix_cross * spectrum[1]) / determinant
    second = (mix_left * spectrum[1] - np.conj(mix_cross) * spectrum[0]) / determinant
    return np.stack([left * first + cross * second, np.conj(cross) * first + right * second]).astype(np.complex64)


def _covariance(stem: Spectrum, power: Map) -> tuple[Map, Map, Spectrum]:
    """Left power, right power and left-right correlation per bin, relative to the mean power; ``[1, bins]`` each."""
    total = power.sum(axis=0) + 1e-9
    left = (np.abs(stem[0]) ** 2).sum(axis=0) / total
    right = (np.abs(stem[1]) ** 2).sum(axis=0) / total
    cross = (stem[0] * np.conj(stem[1])).sum(axis=0) / total
    return left[None], right[None], cross[None]
