"""Which parts of a long sound stand for all of it, where hearing everything would take too long."""

from __future__ import annotations

import numpy as np

from understudy.audio.samples import AudioSource

_MOST = 180.0  # seconds
_PIECE = 20.0


def excerpts(source: AudioSource) -> list[tuple[int, int]]:
    """Frames (start, stop): the whole of `source` up to three minutes, else nine pieces of 20 s, evenly spaced."""
    wanted, piece = round(_MOST * source.rate), round(_PIECE * source.rate)
    if source.frames <= wanted:
        return [(0, source.frames)] if source.frames else []
    starts = np.linspace(0, source.frames - piece, wanted // piece).round().astype(int)
    return [(int(start), int(start) + piece) for start in starts]
