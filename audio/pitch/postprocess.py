"""Postprocessing of pitch tracks: the median of several trackers, and the repair of octave errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from understudy.audio.pitch.track import PitchTrack
from understudy.audio.pitch.tracker import F0

_LEAP = 0.3  # octaves from one frame to the next: no voice glides that fast
_LONGEST = 0.13  # seconds: an octave leap that lasts longer is sung and stays
_FORGOTTEN = 0.15  # seconds of rest after which the octave of a note is independent of the one before


def median(tracks: list[F0]) -> F0:
    """The median of an odd number of f0 arrays ``[frames]``, most trusted first. A frame is voiced if it is in most of
    them. Where an even number of them is voiced there are two middle values; the more trusted tracker's is taken, not
    their mean, which would be a pitch that no tracker found."""
    stacked = np.stack(tracks)
    order = np.argsort(np.where(stacked > 0, stacked, np.inf), axis=0, kind="stable")
    voiced = (stacked > 0).sum(axis=0)
    column = np.arange(stacked.shape[1])
    middle = np.minimum(order[np.maximum(voiced - 1, 0) // 2, column], order[voiced // 2 % len(tracks), column])
    return np.where(voiced * 2 > len(tracks), stacked[middle, column], 0).astype(np.float32)


def repair_octaves(track: PitchTrack) -> PitchTrack:
    """The track with short octave errors corrected; all other values are unchanged.

    The voiced frames are divided into stretches without a leap. Each stretch may stay, or move up or down by an octave;
    the combination with the least cost is found by dynamic programming (Viterbi 1967). A leap of about an octave
    between neighbours costs 1, moving a stretch costs its length over 65 ms. So a jump up and back down (two leaps) is
    corrected if it lasts less than 130 ms, one at an end of a phrase if less than 65 ms; a true octave leap is kept.
    """
    voiced = np.flatnonzero(track.f0 > 0)
    if len(voiced) == 0:
        return track
    pitch = np.log2(track.f0[voiced].astype(np.float64))
    starts = np.flatnonzero((np.abs(np.diff(pitch)) > _LEAP) | (np.diff(voiced) > 1)) + 1
    starts = np.concatenate([[0], starts])
    stops = np.concatenate([starts[1:], [len(voiced)]])
    first = np.array(
        [np.median(pitch[start : min(start + 3, stop)]) for start, stop in zip(starts, stops, strict=True)]
    )
    last = np.array([np.median(pitch[max(stop - 3, start) : stop]) for start, stop in zip(starts, stops, strict=True)])
    rest = (voiced[starts[1:]] - voiced[stops[:-1] - 1] - 1) * track.hop
    near = np.clip(1 - rest / _FORGOTTEN, 0, 1)
    # cost 1 for a stretch of half of `_LONGEST`
    moves = _cheapest(first, last, near, (stops - starts).astype(np.float64) * (2 * track.hop / _LONGEST))
    if not moves.any():
        return track
    f0 = track.f0.copy()
    f0[voiced] *= np.repeat(2.0**moves, stops - starts).astype(np.float32)
    return PitchTrack(f0, track.hop)


def _cheapest(
    first: NDArray[np.float64], last: NDArray[np.float64], near: NDArray[np.float64], effort: NDArray[np.float64]
) -> NDArray[np.int64]:
    """The move (-1, 0 or +1 octaves) of every stretch, ``[stretches]``. `first`, `last`: log2 pitch at its ends. `near`
    ``[stretches - 1]``: 0..1, weight of a leap between it and the next. `effort`: cost of moving it."""
    moves = np.array([0, -1, 1])  # staying comes first: it wins a tie
    step = moves[None, :] - moves[:, None]  # [from, to]
    cost = effort[0] * np.abs(moves)
    came_from = np.zeros((len(first), len(moves)), np.int64)
    for at in range(1, len(first)):
        leap = np.abs(first[at] - last[at - 1] + step)
        # up to a third costs nothing, an octave and more costs 1, a fifth or sixth costs half: it is one either way
        total = cost[:, None] + near[at - 1] * np.where(leap <= 0.3, 0.0, np.where(leap < 0.85, 0.5, 1.0))
        came_from[at] = np.argmin(total, axis=0)
        cost = np.min(total, axis=0) + effort[at] * np.abs(moves)
    chosen = np.zeros(len(first), np.int64)
    chosen[-1] = np.argmin(cost)
    for at in range(len(first) - 1, 0, -1):
        chosen[at - 1] = came_from[at, chosen[at]]
    return moves[chosen]
