"""Probabilities of phones from the spectral envelope, by the acoustic model of a speech recogniser.

The package `pocketsphinx` includes a small English model (BSD licence): for each of 42 phones and noises, mixtures of
128 Gaussians over cepstra, their slopes and their curvatures (Huggins-Daines et al., "PocketSphinx", ICASSP 2006).
Only its parameters are read here. The cepstra are computed from WORLD's envelope and not from the spectrum: of a high
note a filter bank would resolve single harmonics, while its envelope still resembles speech.

The key idea in `_model`: the log density of a Gaussian with diagonal covariance is linear in x and x²,
``constant + x * mean / variance - x² / (2 * variance)``, so that all Gaussians of a stream are two matrix products.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from understudy.packages import package_missing
from understudy.voices.instant import spectrum
from understudy.voices.instant.spectrum import Array

FILTERS, LOWEST, HIGHEST, LIFTER, KEPT, MIXTURES = 25, 130.0, 6800.0, 22, 13, 128  # the model's own front end
STEP = 2  # frames of 5 ms: the model was trained on one every 10 ms
SHARPNESS = 0.3  # exponent of the likelihoods, because the model's three streams are far from independent
SMOOTHING = 3.0  # frames


@dataclass(frozen=True, eq=False)
class _Model:
    """`linear`, `square` ``[streams, KEPT, phones * mixtures]``: factors of x and x² in the log density; `constant`
    ``[streams, phones * mixtures]``; `deviation` ``[KEPT]``: of the cepstra that the model was trained on."""

    linear: Array
    square: Array
    constant: Array
    deviation: Array


@lru_cache(maxsize=1)
def _model() -> _Model:
    found = importlib.util.find_spec("pocketsphinx")
    if found is None or not found.submodule_search_locations:
        raise package_missing("pocketsphinx")
    folder = Path(found.submodule_search_locations[0]) / "model" / "en-us" / "en-us"
    mean, variance = _table(folder / "means"), np.maximum(_table(folder / "variances"), 1e-4)
    constant = -0.5 * (np.log(2 * np.pi * variance).sum(axis=2) + (mean**2 / variance).sum(axis=2))
    return _Model(
        np.ascontiguousarray((mean / variance).transpose(0, 2, 1)),
        np.ascontiguousarray((-0.5 / variance).transpose(0, 2, 1)),
        constant,
        np.sqrt(mean[0].var(axis=0) + variance[0].mean(axis=0)),
    )


def _table(path: Path) -> Array:
    """Gaussian parameters of a Sphinx 3 file, ``[streams, phones * mixtures, KEPT]``.

    A text header, a byte-order mark, counts of phones, streams, mixtures, each stream's length, the total, values.
    """
    data = path.read_bytes()
    counts = data.index(b"endhdr\n") + len(b"endhdr\n") + 4
    phones, streams, mixtures = (int(count) for count in np.frombuffer(data, "<i4", 3, counts))
    values = np.frombuffer(data, "<f4", phones * streams * mixtures * KEPT, counts + 4 * (3 + streams + 1))
    ordered = values.reshape(phones, streams, mixtures, KEPT).transpose(1, 0, 2, 3)
    return np.asarray(ordered.reshape(streams, phones * mixtures, KEPT), np.float32)


@lru_cache(maxsize=1)
def _filters() -> Array:
    """``[POINTS, FILTERS]``: triangles on the mel scale over our grid, with the model's pre-emphasis."""
    grid = spectrum.grid()
    emphasis = np.abs(1 - 0.97 * np.exp(-2j * np.pi * grid / 16000)) ** 2
    edges = np.linspace(float(spectrum.mel(LOWEST)), float(spectrum.mel(HIGHEST)), FILTERS + 2)
    place, width = spectrum.mel(grid)[:, None], edges[1] - edges[0]
    triangles = np.clip(np.minimum(place - edges[:-2], edges[2:] - place) / width, 0, None)
    return np.asarray(triangles * (np.gradient(grid) * emphasis)[:, None], np.float32)


def coefficients(points: Array) -> Array:
    """The model's cepstra ``[frames, KEPT]`` of log power envelopes ``[frames, POINTS]``."""

    from scipy.fft import dct

    energy = np.log(np.exp(points) @ _filters() + 1e-20)
    lifter = 1 + LIFTER / 2 * np.sin(np.pi * np.arange(KEPT) / LIFTER)
    return np.asarray(dct(energy, type=2, norm="ortho", axis=1)[:, :KEPT] * lifter, np.float32)


def probabilities(coefficients: Array, mean: Array, deviation: Array) -> Array:
    """The probability of every phone, ``[frames, 42]``, rows sum to one; frames are 5 ms apart.

    `mean` and `deviation` ``[KEPT]`` are those of the voice's coefficients, which are normalised to the model's.
    """

    from scipy.ndimage import gaussian_filter1d

    model = _model()
    own = np.asarray((coefficients - mean) * (model.deviation / np.maximum(deviation, 1.0)), np.float32)
    rows = np.arange(0, len(own), STEP)

    def at(offset: int) -> Array:
        return own[np.clip(rows + STEP * offset, 0, len(own) - 1)]

    # the recogniser's own slopes and curvatures, over 40 and 60 ms
    streams = (at(0), at(2) - at(-2), at(3) - at(-1) - at(1) + at(-3))
    score = np.zeros((len(rows), model.constant.shape[1] // MIXTURES), np.float32)
    for index, stream in enumerate(streams):
        for first in range(0, len(rows), 500):
            part = stream[first : first + 500]
            # log densities [rows, phones, mixtures], then the log of their sum over the mixtures (log-sum-exp)
            each = part @ model.linear[index] + part**2 @ model.square[index] + model.constant[index]
            each = each.reshape(len(part), -1, MIXTURES)
            best = each.max(axis=2)
            score[first : first + 500] += best + np.log(np.exp(each - best[:, :, None]).sum(axis=2))
    result = np.exp(SHARPNESS * (score - score.max(axis=1, keepdims=True)))
    result /= result.sum(axis=1, keepdims=True)
    return np.asarray(gaussian_filter1d(np.repeat(result, STEP, axis=0)[: len(own)], SMOOTHING, axis=0), np.float32)
