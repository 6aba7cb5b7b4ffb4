"""Sounds one after the other, each at its position in time, with cross-fades that keep the level constant.

Two gains whose squares sum to one keep the power of uncorrelated sounds; where both are alike (two voices with the same
consonant), they would add up to twice the power. The power of a sum is ``g² + h² + 2 r g h`` for a correlation r, so
both gains are divided by the root of that, with r measured at the seam.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from understudy.audio.samples import Audio, AudioSource, Samples
from understudy.context import Context

FADE = 0.05  # seconds from one sound to the next
_BLOCK = 20.0  # seconds held in memory
_LEAST = -0.5  # lower limit of the correlation: opposite waves cancel in the middle of a fade, and no gain helps


@dataclass(frozen=True)
class Segment:
    """`source` plays from frame `start` to `stop` of the whole; it is read there, and a little beyond for the fades."""

    source: AudioSource
    start: int
    stop: int


def spliced(segments: Sequence[Segment], context: Context, fade: float = FADE) -> Iterator[Audio]:
    """The segments as one sound from frame 0 to the last's end, in blocks. They must follow one another without a gap,
    share rate and channels, and each be longer than `fade` seconds; the fades lie around the seams."""
    rate, channels = segments[0].source.rate, segments[0].source.channels
    half = max(1, round(fade * rate / 2))
    for before, after in pairwise(segments):
        if before.stop != after.start or (after.source.rate, after.source.channels) != (rate, channels):
            raise ValueError("segments must follow one another and share rate and channels")
    seams = [_seam(before, after, half) for before, after in pairwise(segments)]
    end = segments[-1].stop
    size = max(2 * half, round(_BLOCK * rate))
    for start in range(segments[0].start, end, size):
        stop = min(start + size, end)
        block = np.zeros((channels, stop - start), np.float32)
        for number, segment in enumerate(segments):
            first = segment.start - (half if number else 0)
            last = segment.stop + (half if number < len(seams) else 0)
            a, b = max(start, first), min(stop, last)
            if a >= b:
                continue
            samples = segment.source.read(a, b).samples
            gain = np.ones(b - a, np.float32)
            if number:
                _weigh(gain, a, first, seams[number - 1][1])
            if number < len(seams):
                _weigh(gain, a, last - 2 * half, seams[number][0])
            block[:, a - start : b - start] += samples * gain
        context.progress(stop / end)
        yield Audio(block, rate)


def _seam(before: Segment, after: Segment, half: int) -> tuple[Samples, Samples]:
    """The gains of the two sounds over the ``2 half`` frames around their seam."""
    place = before.stop
    one = before.source.read(place - half, place + half).samples.astype(np.float64)
    two = after.source.read(place - half, place + half).samples.astype(np.float64)
    return fade_gains(2 * half, correlation(one, two))


def correlation(one: np.ndarray, two: np.ndarray) -> float:
    """−1..1 of two sounds of one shape; 0 where one of them is silent."""
    power = float(np.sqrt(np.sum(one**2) * np.sum(two**2)))
    return float(np.sum(one * two)) / power if power > 1e-12 else 0.0


def raised_cosine(frames: int) -> NDArray[np.float64]:
    """The rising weights of a cross-fade, 0..1 ``[frames]``. With their reverse they sum to 1, which
    keeps the amplitude of sounds that are alike."""
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * (np.arange(frames) + 0.5) / max(1, frames)))


def fade_gains(frames: int, correlation: float) -> tuple[Samples, Samples]:
    """Gains of the sound that ends and of the one that begins, float32 ``[frames]``, at this `correlation` (-1..1)."""
    angle = 0.5 * np.pi * raised_cosine(frames)
    falling, rising = np.cos(angle), np.sin(angle)
    power = np.sqrt(1 + 2 * max(correlation, _LEAST) * falling * rising)
    return (falling / power).astype(np.float32), (rising / power).astype(np.float32)


def _weigh(gain: Samples, start: int, place: int, weights: Samples) -> None:
    """Multiply `gain`, which begins at frame `start`, in place with `weights`, which begin at frame `place`."""
    first, last = max(start, place), min(start + len(gain), place + len(weights))
    if first < last:
        gain[first - start : last - start] *= weights[first - place : last - place]
