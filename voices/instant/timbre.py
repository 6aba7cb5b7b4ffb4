"""The timbre of a performance, frame by frame, moved to that of another voice.

Two answers are blended. The first moves and scales the singer's own envelopes to the voice's mean and spread, which
keeps every word and little of the voice. The second draws, for every frame, the voice's recorded frames that sound
most alike (the frame selection of kNN-VC, Baas et al., "Voice conversion with just nearest neighbors", Interspeech
2023, over cepstra in place of learnt features), which has all of the voice and loses words. Averaging makes spectra
flat, so the spread over time is restored (global variance: Toda, Black and Tokuda, IEEE TASLP 15(8), 2007).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from audio.context import Context
from voices.instant.content import content
from voices.instant.portrait import Portrait
from voices.instant.spectrum import Array

NEIGHBOURS = 8
SMOOTHING = 2.0  # frames of 5 ms: standard deviation of every cross-fade in time
CHUNK = 12000  # frames at once


@dataclass(frozen=True, eq=False)
class Timbre:
    """`cepstra` ``[frames, ORDER]`` of a performance; `voiced` bool ``[frames]``; `loud`: frames that are not pauses."""

    cepstra: NDArray[np.float16]
    voiced: NDArray[np.bool_]
    loud: NDArray[np.bool_]


def moved(context: Context, sung: Timbre, portrait: Portrait, index_rate: float, protect: float) -> NDArray[np.float16]:
    """The cepstra that the voice would have had, ``[frames, ORDER]``; coefficient 0 (loudness) means nothing.

    `index_rate` 0..1 blends the two answers; unvoiced frames move only by ``2 * protect`` of the way.
    """
    measured = sung.voiced & sung.loud
    if not measured.any():
        return sung.cepstra.copy()
    shield = min(1.0, 2 * protect)
    mean, deviation = _statistics(sung.cepstra, measured)
    quiet = ~sung.voiced & sung.loud
    unvoiced_mean = _statistics(sung.cepstra, quiet)[0] if quiet.sum() > 20 else mean
    to_voice = portrait.mean - mean
    to_voice_unvoiced = shield * np.clip(0.5 * (portrait.unvoiced_mean - unvoiced_mean), -3.0, 3.0)
    weight = gaussian_filter1d(sung.voiced.astype(np.float32), SMOOTHING)[:, None]

    result = np.empty_like(sung.cepstra)
    drawn = np.empty_like(sung.cepstra)
    for start in range(0, len(result), CHUNK):
        chunk = slice(start, start + CHUNK)
        shift = weight[chunk] * to_voice + (1 - weight[chunk]) * to_voice_unvoiced
        result[chunk] = sung.cepstra[chunk] + shift
    if index_rate == 0:
        return result

    search = _Search(portrait)
    for start in range(0, len(result), CHUNK):
        context.progress(start / len(result))
        low, high = max(0, start - 16), min(len(result), start + CHUNK + 16)
        frames = sung.cepstra[low:high].astype(np.float32)
        found = search.nearest(content(frames, mean, deviation), sung.voiced[low:high])
        found = gaussian_filter1d(found, SMOOTHING, axis=0)
        drawn[start : start + CHUNK] = found[start - low : start - low + CHUNK]
    drawn = _spread(drawn, measured, weight, portrait)
    for start in range(0, len(result), CHUNK):
        chunk = slice(start, start + CHUNK)
        rate = index_rate * (weight[chunk] + (1 - weight[chunk]) * shield)
        own = result[chunk].astype(np.float32)
        result[chunk] = own + rate * (drawn[chunk].astype(np.float32) - own)
    return _spread(result, measured, weight, portrait)


def _statistics(cepstra: NDArray[np.float16], mask: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Mean and standard deviation over the frames in `mask`."""
    chosen = cepstra[mask]
    return chosen.mean(axis=0, dtype=np.float64).astype(np.float32), chosen.std(axis=0, dtype=np.float64).astype(
        np.float32
    )


def _spread(
    cepstra: NDArray[np.float16], measured: NDArray[np.bool_], weight: Array, portrait: Portrait
) -> NDArray[np.float16]:
    """Voiced frames with the voice's own mean and, within limits, its spread over time."""
    mean, deviation = _statistics(cepstra, measured)
    scale = np.clip(portrait.deviation / np.maximum(deviation, 1e-3), 0.8, 1.8)
    result = np.empty_like(cepstra)
    for start in range(0, len(cepstra), CHUNK):
        chunk = slice(start, start + CHUNK)
        own = cepstra[chunk].astype(np.float32)
        wanted = (own - mean) * scale + portrait.mean
        result[chunk] = own + weight[chunk] * (wanted - own)
    return result


class _Search:
    """The index over a portrait's frames, voiced and unvoiced apart."""

    def __init__(self, portrait: Portrait) -> None:
        import faiss

        self.kinds = []
        for kind in (False, True):
            mask = portrait.voiced == kind
            if mask.sum() < NEIGHBOURS:
                mask = np.ones_like(mask)
            index = faiss.IndexFlatL2(portrait.content.shape[1])
            index.add(np.ascontiguousarray(portrait.content[mask]))
            self.kinds.append((index, portrait.frames[mask]))

    def nearest(self, query: Array, voiced: NDArray[np.bool_]) -> Array:
        """The mean of each query's neighbours, weighted by one over the squared distance."""
        result = np.zeros((len(query), self.kinds[0][1].shape[1]), np.float32)
        for kind, (index, frames) in enumerate(self.kinds):
            rows = np.flatnonzero(voiced == bool(kind))
            if not len(rows):
                continue
            distance, found = index.search(np.ascontiguousarray(query[rows]), NEIGHBOURS)
            weight = 1 / np.maximum(distance, 1e-3)
            weight /= weight.sum(axis=1, keepdims=True)
            result[rows] = np.einsum("nk,nkd->nd", weight, frames[found])
        return result
