"""The repetition cue: accompaniment repeats, the voice over it varies.

REPET-SIM (Rafii and Pardo, "Music/voice separation using the similarity matrix", ISMIR 2012): for every frame
find the frames most like it; their median is what repeats. What exceeds it is foreground.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from understudy.pipeline.separation.spectrogram import Grid, Map

_BLOCK = 64


def varying_share(magnitude: Map, grid: Grid, *, neighbours: int = 24, apart: float = 0.7) -> Map:
    """Share 0..1 of each bin of `magnitude` that does not repeat.

    `neighbours` similar frames, at least `apart` seconds from each other, vote on what repeats.
    """
    similar = _similar_frames(_reduced(magnitude), neighbours, grid.frames(apart))
    share = np.empty_like(magnitude)
    for first in range(0, len(magnitude), _BLOCK):
        own = magnitude[first : first + _BLOCK]
        repeating = np.minimum(np.median(magnitude[similar[first : first + _BLOCK]], axis=1), own)
        share[first : first + _BLOCK] = (own - repeating) / (own + 1e-9)
    return share


def _reduced(magnitude: Map, bands: int = 96) -> NDArray[np.float32]:
    """Unit-length features ``[frames, bands]`` of log-spaced bands, compressed so that weak bands count too."""
    edges = np.unique(np.geomspace(2, magnitude.shape[1], bands + 1).astype(int))
    feature = np.sqrt(np.add.reduceat(magnitude, edges[:-1], axis=1))
    return np.asarray(feature / (np.linalg.norm(feature, axis=1, keepdims=True) + 1e-9), np.float32)


def _similar_frames(feature: NDArray[np.float32], count: int, apart: int) -> NDArray[np.intp]:
    """For every frame the `count` most similar ones (itself among them): the best of each stretch of `apart` frames,
    so that they do not all come from the same note."""
    frames = len(feature)
    stretches = -(-frames // apart)
    count = min(count, stretches)
    result = np.empty((frames, count), np.intp)
    for first in range(0, frames, 512):
        similarity = np.full((min(512, frames - first), stretches * apart), -1, np.float32)
        similarity[:, :frames] = feature[first : first + 512] @ feature.T
        stretched = similarity.reshape(-1, stretches, apart)
        best = stretched.argmax(axis=2)
        peak = np.take_along_axis(stretched, best[..., None], axis=2)[..., 0]
        chosen = np.argpartition(-peak, count - 1, axis=1)[:, :count]
        result[first : first + 512] = chosen * apart + np.take_along_axis(best, chosen, axis=1)
    return result
