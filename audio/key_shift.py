"""A whole song or instrumental transposed to another key, with the same tempo.

The pitch shifter is Signalsmith Stretch (python-stretch), a spectral method that keeps the phase relation of the
channels. Its binding renders one array per call without latency and keeps no state between calls: the renderings of
neighbouring parts do not have the same phases. So a song of at most `SEGMENT` frames (five minutes at 48 kHz) is
rendered in one piece, and the pieces of a longer one are joined by cross-fades at its quietest moments.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from understudy.audio.samples import Audio, AudioSource, Samples
from understudy.audio.windows import map_windows
from understudy.context import Context

SEGMENT = 14_400_000  # frames rendered at once: bounds the memory to about 0.5 GB for stereo
_SEARCH = 5.0  # seconds on either side of a planned join in which the quietest moment is taken
_JOIN = 0.1  # seconds of cross-fade
_CONTEXT = 0.5  # seconds rendered beyond both ends and cut off, because the shifter is inaccurate at its edges
# Longer blocks than the library's default of 0.12 s: the mean error of tones of 55 to 440 Hz is 4.3 instead of 7.3
# cents, and they stand 70 instead of 51 dB above their surroundings, with the same pre-echo before a click (-30 dB).
_BLOCK, _INTERVAL = 0.16, 0.03  # seconds
_TONALITY_LIMIT = 8000.0  # Hz; above it the shift decreases towards the original frequencies: cymbals stay bright
_SEED = 1
_LARGEST = 24.0


def shift_key(source: AudioSource, semitones: float, context: Context) -> Iterator[Audio]:
    """`source` transposed by `semitones` (-24..24, up is positive), in blocks of the same rate and channels that are
    together exactly as long.

    Sound stays at its frame. Same input, same bytes. Raises `ValueError` for a larger shift.
    """
    if abs(semitones) > _LARGEST:
        raise ValueError(f"key shift of {semitones} semitones is beyond {_LARGEST:g}")
    if semitones == 0:
        yield from map_windows(source, lambda window, start: window, context, margin=0.0)
        return
    joins = find_joins(source, context)
    half = round(_JOIN * source.rate / 2)
    # gains whose squares sum to 1, because two renderings have unrelated phases
    fade = np.sin(0.5 * np.pi * (np.arange(2 * half) + 0.5) / max(1, 2 * half)).astype(np.float32)
    edges = [0, *joins, source.frames]
    tail: Samples | None = None
    for done, (start, stop) in enumerate(pairwise(edges), start=1):
        first = start - (half if start else 0)
        last = stop + (half if stop < source.frames else 0)
        shifted = _render(source, first, last, semitones)
        if tail is not None:
            shifted[:, : 2 * half] = shifted[:, : 2 * half] * fade + tail * fade[::-1]
        keep = shifted.shape[1] - (2 * half if stop < source.frames else 0)
        tail = shifted[:, keep:].copy()
        context.progress(done / (len(edges) - 1))
        yield Audio(np.ascontiguousarray(shifted[:, :keep]), source.rate)


def find_joins(source: AudioSource, context: Context) -> list[int]:
    """Where renderings meet: the quietest moments near every `SEGMENT` frames."""
    search = min(round(_SEARCH * source.rate), SEGMENT // 4)
    step = max(1, round(_JOIN * source.rate))
    joins = []
    planned = SEGMENT - search
    while source.frames - planned > search + step:
        context.progress(0.0)
        near = source.read(planned - search, planned + search).samples
        levels = np.square(near[:, : near.shape[1] // step * step], dtype=np.float64)
        quiet = levels.sum(axis=0).reshape(-1, step).sum(axis=1).argmin()
        joins.append(planned - search + int(quiet) * step + step // 2)
        planned = joins[-1] + SEGMENT - 2 * search
    return joins


def _render(source: AudioSource, start: int, stop: int, semitones: float) -> Samples:
    from python_stretch.Signalsmith import Stretch

    side = round(_CONTEXT * source.rate)
    dry = source.read(start - side, stop + side).samples
    shifted = np.empty((source.channels, stop - start), np.float32)
    for first in range(0, source.channels, 2):  # the binding takes one or two channels
        pair = np.ascontiguousarray(dry[first : first + 2])
        stretch = Stretch(_SEED)
        stretch.configure(len(pair), round(_BLOCK * source.rate), round(_INTERVAL * source.rate))
        stretch.setTransposeSemitones(float(semitones), min(0.5, _TONALITY_LIMIT / source.rate))
        shifted[first : first + 2] = np.asarray(stretch.process(pair), np.float32)[:, side : side + stop - start]
    return shifted
