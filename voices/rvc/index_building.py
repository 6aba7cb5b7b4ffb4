"""Building a voice's index from its content features, as RVC's trainers do it.

The frames of all recordings are shuffled; above `MOST` of them, their `CENTRES` centres stand for them, found by
mini-batch k-means (Sculley, "Web-scale k-means clustering", 2010). They are sorted into lists by their nearest of
min(16 sqrt(n), n / 39) list centres, which faiss finds by k-means in 10 rounds. A search looks at one list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.context import Context
from understudy.disk import replacing
from understudy.errors import UnderstudyError
from understudy.voices.rvc.index import IndexFile, check_index

Features = NDArray[np.float32]

MOST = 200_000  # vectors that an index holds as they are
CENTRES = 10_000
BLOCK = 8192  # vectors added at once
BATCH = 4096  # of the k-means; RVC: 256 per processor
PASSES = 2  # of the k-means over all vectors
ROUNDS = 10  # of the k-means of the list centres


def build_index(features: Sequence[Features], path: Path, context: Context, seed: int = 1234) -> IndexFile:
    """Write the index of `features` to `path`, replacing what is there; returns its sizes.

    `features`: content features of each clip ``[T, D]``, D 256 (v1) or 768 (v2), T at 50 frames per second; they may be
    memory-mapped. Memory holds at most `MOST` vectors twice. The same features, seed and number of threads give the
    same bytes. Raises `UnderstudyError` ``disk-full``, ``output-not-writable``, ``features-not-finite``; `Cancelled`.
    """
    import faiss

    io: Any = faiss  # its type stubs know no writer
    starts = np.cumsum([0, *(len(clip) for clip in features)])
    order = np.random.default_rng(seed).permutation(starts[-1])

    def shuffled(start: int, stop: int) -> Features:
        """Those of all vectors in random order."""
        rows = order[start:stop]
        clips = np.searchsorted(starts, rows, "right") - 1
        together = np.argsort(clips, kind="stable")  # each clip's rows, read at once
        chosen = np.empty((len(rows), features[0].shape[1]), np.float32)
        for places in np.split(together, np.flatnonzero(np.diff(clips[together])) + 1):
            clip = clips[places[0]]
            chosen[places] = features[clip][rows[places] - starts[clip]]
        if not np.isfinite(chosen).all():
            raise UnderstudyError(
                "features-not-finite",
                "The content features of some recordings are not finite, so they can't be searched.",
                "Check the content encoder's file with `understudy models verify`, and train again.",
            )
        return chosen

    if len(order) > MOST:
        vectors, part = centres(shuffled, len(order), CENTRES, context.part(0, 0.8)), context.part(0.8, 0.95)
    else:
        vectors, part = shuffled(0, len(order)), context.part(0, 0.95)
    index = _index(vectors, part)
    with replacing(path) as temporary:
        # faiss's own writing to a path turns an OSError into a RuntimeError
        with temporary.open("wb") as file:
            io.write_index(index, io.PyCallbackIOWriter(file.write))
        return check_index(temporary)


def centres(vectors: Callable[[int, int], Features], total: int, count: int, context: Context) -> Features:
    """`count` centres of the `total` shuffled `vectors`, given by start and stop: ``[count, D]``.

    Mini-batch k-means from the first `count` of them. A centre is the mean of all vectors that were nearest to it when
    they had their turn.
    """
    import faiss

    middle = vectors(0, count)
    seen = np.zeros(count)  # vectors that each centre is the mean of
    starts = [start for _ in range(PASSES) for start in range(0, total, BATCH)]
    for done, start in enumerate(starts):
        context.progress(done / len(starts))
        batch = vectors(start, start + BATCH)
        nearest = faiss.IndexFlatL2(middle.shape[1])
        nearest.add(middle)
        found = nearest.search(batch, 1)[1][:, 0]
        order = np.argsort(found, kind="stable")
        owners, first, members = np.unique(found[order], return_index=True, return_counts=True)
        means = np.add.reduceat(batch[order], first) / members[:, None].astype(np.float32)
        seen[owners] += members
        middle[owners] += (members / seen[owners])[:, None].astype(np.float32) * (means - middle[owners])
    return middle


def _index(vectors: Features, context: Context) -> Any:
    """faiss's ``IVF<lists>,Flat`` of the vectors, trained and filled as by its own methods `train` and `add`, but in
    steps between which the work can stop."""
    import faiss

    count, dimension = vectors.shape
    lists = max(1, min(int(16 * count**0.5), count // 39))
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(dimension), dimension, lists)
    index.nprobe = 1
    clustering = faiss.Clustering(dimension, lists, index.cp)
    clustering.niter = 1  # each call goes on from the centres of the one before
    clustering.min_points_per_centroid = 1  # no warning about few vectors
    for turn in range(ROUNDS):
        context.progress(0.8 * turn / ROUNDS)
        clustering.train(vectors, index.quantizer)
    index.is_trained = True
    for start in range(0, count, BLOCK):
        context.progress(0.8 + 0.2 * start / count)
        index.add(np.ascontiguousarray(vectors[start : start + BLOCK]))
    return index
