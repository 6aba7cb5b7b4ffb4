"""Where a song is cut: into pieces for one pass of the networks each, without the long rests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.audio.effects.control import Curve, smoothed

SKIPPED = 300  # frames; a rest this long is left out. A shorter one isn't worth it: each piece costs 2 s of context


@dataclass(frozen=True)
class Piece:
    """Frames ``first:last`` of 10 ms. `follows`: the piece before ends where this one begins, so they cross-fade."""

    first: int
    last: int
    follows: bool

    @property
    def frames(self) -> int:
        return self.last - self.first


def pieces(energy: Curve, gain: Curve, longest: int) -> list[Piece]:
    """The song in pieces of at most `longest` frames.

    `energy`: the original's mean square per frame. `gain`: the gate's; no piece where it is 0 for `SKIPPED` frames.
    """
    stretches = [Piece(first, last, False) for first, last in _sung(gain > 0)]
    return [piece for stretch in stretches for piece in split(stretch, energy, longest)]


def split(piece: Piece, energy: Curve, longest: int) -> list[Piece]:
    """`piece` in consecutive parts of at most `longest` frames. Cuts lie at the quietest frames within a quarter of a
    part around the ends of equal parts."""
    quiet = smoothed(energy[piece.first : piece.last], 9)
    found: list[Piece] = []
    start, follows = piece.first, piece.follows
    while (left := piece.last - start) > longest:
        part = left / np.ceil(left / (0.8 * longest))
        low, high = round(0.75 * part), round(1.25 * part)
        cut = start + low + _quietest(quiet[start - piece.first :][low:high])
        found.append(Piece(start, cut, follows))
        start, follows = cut, True
    return [*found, Piece(start, piece.last, follows)]


def _quietest(energy: Curve) -> int:
    """The middle of the first lowest stretch: the lowest value itself, or the middle of a silence."""
    lowest = np.flatnonzero(energy <= energy.min())
    breaks = np.flatnonzero(np.diff(lowest) > 1)
    end = int(breaks[0]) + 1 if len(breaks) else len(lowest)
    return int(lowest[end // 2])


def _sung(open_: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(first, last) of the stretches in which the gate is open, across rests shorter than `SKIPPED`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], open_, [False]]).astype(np.int8)))
    stretches: list[tuple[int, int]] = []
    for first, last in edges.reshape(-1, 2).tolist():
        if stretches and first - stretches[-1][1] < SKIPPED:
            stretches[-1] = (stretches[-1][0], last)
        else:
            stretches.append((first, last))
    return stretches
