"""Windows of long audio: a function of a few seconds of sound, applied to a song of any length.

There are two methods for two kinds of functions:
- `map_windows` (overlap-save): for functions with a short memory (filters, dynamics, reverbs). Each window has context
  on both sides, and only its middle is kept: there is no seam if the context is longer than the memory.
- `crossfade_windows` (overlap-add): for estimators whose output depends on the whole window (separation, conversion).
  Neighbours overlap and are cross-faded with raised-cosine weights that sum to exactly one.
Both yield blocks in order that together are exactly as long as the source, and hold only a few windows in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import TypeVar

import numpy as np

from understudy.audio.crossfade import raised_cosine
from understudy.audio.samples import Audio, AudioSource
from understudy.context import Context

T = TypeVar("T")
R = TypeVar("R")

_LONGEST_EXCERPTS = 180.0  # seconds in all
_EXCERPT = 20.0  # seconds each


def ordered_map(
    function: Callable[[T], R], items: Iterable[T], workers: int, pool: Executor | None = None
) -> Iterator[R]:
    """`map` with up to `workers` threads, in order, at most `workers` + 1 results waiting. `pool`: existing threads."""
    if workers <= 1:
        yield from map(function, items)
        return
    waiting: deque[Future[R]] = deque()
    with nullcontext(pool) if pool else ThreadPoolExecutor(workers) as threads:
        try:
            for item in items:
                waiting.append(threads.submit(function, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def map_windows(
    source: AudioSource,
    function: Callable[[Audio, int], Audio],
    context: Context,
    *,
    seconds: float = 20.0,
    margin: float = 1.0,
) -> Iterator[Audio]:
    """Apply `function` to windows of `seconds` with `margin` seconds more on both sides (silence past the ends).

    `function` gets the window and the position of its first frame in the source (may be negative) and returns as
    many frames; channels may differ. Yields the middles in order. Runs `context.workers` windows at once.
    """
    size, side = max(1, round(seconds * source.rate)), round(margin * source.rate)

    def middle(start: int) -> Audio:
        stop = min(start + size, source.frames)
        result = function(source.read(start - side, stop + side), start - side)
        if result.frames != stop - start + 2 * side:
            raise ValueError(f"window function changed the length by {result.frames - (stop - start + 2 * side)}")
        return result.read(side, side + stop - start)

    starts = range(0, source.frames, size)
    for done, block in enumerate(ordered_map(middle, starts, context.workers), start=1):
        context.progress(done / len(starts))
        yield block


def crossfade_windows(
    source: AudioSource,
    function: Callable[[Audio, int], Audio],
    context: Context,
    *,
    seconds: float,
    overlap: float,
) -> Iterator[Audio]:
    """Apply `function` to windows of `seconds` of which neighbours share `overlap` seconds; yield the cross-fade.

    `function` gets the window and its first frame's position in the source and returns as many frames.
    """
    size = max(1, round(seconds * source.rate))
    shared = min(round(overlap * source.rate), size // 2)
    step = size - shared
    starts = list(range(0, max(1, source.frames - shared), step))
    fade_in = raised_cosine(shared).astype(np.float32)

    def window(start: int) -> Audio:
        stop = min(start + size, source.frames)
        result = function(source.read(start, stop), start)
        if result.frames != stop - start:
            raise ValueError(f"window function changed the length by {result.frames - (stop - start)}")
        return result

    tail: Audio | None = None
    for done, result in enumerate(ordered_map(window, starts, context.workers), start=1):
        samples = result.samples.copy()
        if tail is not None:  # the overlap with the window before; the last window may be shorter than it
            lap = min(shared, samples.shape[1])
            samples[:, :lap] = tail.samples[:, :lap] * (1 - fade_in[:lap]) + samples[:, :lap] * fade_in[:lap]
        keep = samples.shape[1] if done == len(starts) else step
        tail = Audio(samples[:, keep:], result.rate)
        context.progress(done / len(starts))
        yield Audio(samples[:, :keep], result.rate)


def excerpts(source: AudioSource) -> list[tuple[int, int]]:
    """Frames (start, stop): the whole of `source` up to three minutes, else nine pieces of 20 s, evenly spaced."""
    wanted, piece = round(_LONGEST_EXCERPTS * source.rate), round(_EXCERPT * source.rate)
    if source.frames <= wanted:
        return [(0, source.frames)] if source.frames else []
    starts = np.linspace(0, source.frames - piece, wanted // piece).round().astype(int)
    return [(int(start), int(start) + piece) for start in starts]
