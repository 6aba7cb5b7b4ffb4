"""Retrieval: content features moved towards those of the voice's own recordings, which are in the index.

RVC's method: the weighted mean of a frame's 8 nearest neighbours, each with the weight 1 / score². faiss's score is
the squared Euclidean distance, so the weight falls with the fourth power of the distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.errors import UnderstudyError
from understudy.voices.rvc.index import open_index

NEIGHBOURS = 8

Features = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Retrieval:
    """An opened index of features with `dimension` values each."""

    index: Any
    dimension: int

    def neighbours(self, content: Features, nprobe: int = 1) -> Features:
        """The weighted mean of the vectors nearest to each frame of `content` ``[T, dimension]``; same shape.

        `nprobe`: the number of lists searched per frame; 1 as in RVC, all of them for an exact search. A frame that
        equals stored vectors gives their mean; a frame whose lists are empty stays unchanged.
        """
        content = np.ascontiguousarray(content, np.float32)
        if not len(content):
            return content
        scores, ids, vectors = self.index.search_and_reconstruct(content, NEIGHBOURS, params=self._search(nprobe))
        # scores [T, 8], vectors [T, 8, dimension]; where a list has too few, faiss fills up with id -1 and NaN vectors
        found = ids >= 0
        scores = np.where(found, np.maximum(scores, 0.0), np.inf)
        nearest = scores.min(axis=1, keepdims=True)
        # (nearest / score)² instead of 1 / score²: the factor cancels in the mean, and nothing overflows
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(nearest > 0, nearest / scores, scores == 0)
        weights = np.where(found, ratio, 0.0).astype(np.float32) ** 2
        total = weights.sum(axis=1, keepdims=True)
        mean = np.einsum("tk,tkd->td", weights / np.maximum(total, 1e-30), np.where(found[..., None], vectors, 0.0))
        return np.where(total > 0, mean, content).astype(np.float32)

    def _search(self, nprobe: int) -> Any:
        """The search's own parameters: the opened index is shared and never changed."""
        import faiss

        parameters: Any = faiss.SearchParametersIVF()
        parameters.nprobe = min(nprobe, self.index.nlist)
        return parameters


def open_retrieval(path: Path, dimension: int) -> Retrieval:
    """The index at `path` for a model whose content features have `dimension` values.

    Raises `UnderstudyError` ``index-mismatch`` for an index of another dimension.
    """
    index = open_index(path)
    if index.d != dimension:
        versions = {256: "v1", 768: "v2"}
        raise UnderstudyError(
            "index-mismatch",
            f"The index {path.name} holds features of {index.d} values ({versions.get(index.d, 'no RVC version')}), "
            f"the model needs {dimension} ({versions.get(dimension, 'no RVC version')}).",
            "Import the voice again with the index that was made with this model, or without one.",
        )
    return Retrieval(index, dimension)


def pull_to_index(
    content: Features, retrieval: Retrieval, voiced: NDArray[np.bool_] | None, rate: float, protect: float, nprobe: int
) -> Features:
    """`content` ``[T, D]`` at 100 frames per second, moved towards the index by `rate` (0..1).

    `content` repeats each of the encoder's frames twice. `protect` (0..0.5, 0.5 = off): the factor of `rate` in frames
    that are not `voiced` ``[T]`` (None: voicing is not known, and no frame is protected).
    """
    near = np.repeat(retrieval.neighbours(content[::2], nprobe), 2, axis=0)[: len(content)]
    share = np.full((len(content), 1), rate, np.float32)
    if voiced is not None and protect < 0.5:
        share[~voiced] *= np.float32(protect)
    return content + share * (near - content)
