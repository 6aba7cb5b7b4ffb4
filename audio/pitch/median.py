"""Several trackers together: a frame is voiced if most of them say so, and its pitch is the middle one."""

from __future__ import annotations

import numpy as np

from understudy.audio.pitch.trackers import F0


def median(tracks: list[F0]) -> F0:
    """The middle of an odd number of f0 arrays, most trusted first. Where an even number of them is voiced there are
    two middles; the one that comes from the more trusted tracker is taken, never a pitch that nobody heard."""
    stacked = np.stack(tracks)
    order = np.argsort(np.where(stacked > 0, stacked, np.inf), axis=0, kind="stable")
    voiced = (stacked > 0).sum(axis=0)
    column = np.arange(stacked.shape[1])
    middle = np.minimum(order[np.maximum(voiced - 1, 0) // 2, column], order[voiced // 2 % len(tracks), column])
    return np.where(voiced * 2 > len(tracks), stacked[middle, column], 0).astype(np.float32)
