"""The chorus of a song: the passage that is repeated most, loud, and sung.

How often a passage comes again is told by the similarity matrix of the song's chroma, averaged along its diagonals
(Foote, "Visualizing music and audio using self-similarity", ACM Multimedia 1999; Bartsch and Wakefield, "Audio
thumbnailing of popular music using chroma-based representations", IEEE Transactions on Multimedia 7(1), 2005). What
they leave open, which of several repeated passages it is, loudness and singing decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from understudy.audio.downmix import fold
from understudy.audio.samples import AudioSource
from understudy.audio.song_analysis import CHROMA_FFT, RATE, chroma_bank, magnitudes
from understudy.context import Context

LENGTH = 20.0
"""Seconds of a chorus."""

_STEP = 0.5  # seconds per value
_BLOCK = 20  # seconds read at once
_AGAIN = 2  # repetitions that count
_SNAP = 1.5  # seconds by which the beginning is moved to where the least is sung

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Chorus:
    """From and to which second of the song."""

    start: float
    stop: float


def find_chorus(context: Context, song: AudioSource, vocals: AudioSource) -> Chorus:
    """The chorus of `song`, whose separated `vocals` are as long; all of a song that is hardly longer than one."""
    seconds, size = song.frames / song.rate, round(LENGTH / _STEP)
    count = int(seconds / _STEP)
    if count < 2 * size:
        return Chorus(0.0, seconds)
    chroma, loudness = _described(context.part(0.0, 0.9), song, count)
    singing = _levels(vocals, count)
    scores = (_repeated(chroma, size), _mean(loudness, size), _mean(singing, size))
    first = int(np.argmax(sum((score - score.mean()) / (score.std() + 1e-9) for score in scores)))
    reach = round(_SNAP / _STEP)
    around = range(max(0, first - reach), min(count - size, first + reach) + 1)
    start = min(around, key=lambda at: (singing[at], abs(at - first))) * _STEP
    return Chorus(start, start + LENGTH)


def _described(context: Context, song: AudioSource, count: int) -> tuple[Array, Array]:
    """Chroma ``[count, 12]``, each row of length 1 and without its mean, and the level in dB ``[count]``."""
    import soxr

    mono, bank, hop = fold(context.part(0.0, 0.2), song), chroma_bank(0.0), round(RATE * _STEP)
    rows: list[Array] = []
    for second in range(0, -(-song.frames // song.rate), _BLOCK):
        sound = mono.read((second - 1) * song.rate, (second + _BLOCK + 1) * song.rate).samples[0]
        sound = np.asarray(soxr.resample(sound, song.rate, RATE, quality="HQ"), np.float32)
        tones = magnitudes(sound, RATE + hop // 2, hop, round(_BLOCK / _STEP), CHROMA_FFT).astype(np.float64)
        rows.append(np.sqrt(tones @ bank.T))
        context.progress(0.2 + 0.8 * second * song.rate / song.frames)
    chroma = np.concatenate(rows)[:count]
    chroma -= chroma.mean(axis=1, keepdims=True)
    chroma /= np.linalg.norm(chroma, axis=1, keepdims=True) + 1e-9
    return chroma, _levels(song, count)


def _levels(sound: AudioSource, count: int) -> Array:
    """dB of each step, at most 60 below the loudest."""
    edges = [round(at * _STEP * sound.rate) for at in range(count + 1)]
    power = np.array([float(np.mean(np.square(sound.read(start, stop).samples))) for start, stop in pairwise(edges)])
    return np.asarray(10 * np.log10(np.maximum(power, 1e-6 * power.max() + 1e-20)))


def _mean(values: Array, size: int) -> Array:
    """The mean of `size` values from each on, ``[values - size + 1]``."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray((total[size:] - total[:-size]) / size)


def _repeated(chroma: Array, size: int) -> Array:
    """How similar the passages of `size` rows are to the `_AGAIN` others that are most like them, on the average."""
    similar = chroma @ chroma.T
    starts = len(chroma) - size + 1
    found = np.full((starts, -(-starts // size) * size), -1.0)
    for lag in range(size, starts):
        along = _mean(similar.diagonal(lag), size)
        place = np.arange(len(along))
        found[place, place + lag] = found[place + lag, place] = along
    # of each stretch of `size` starts the best: neighbours are one repetition
    best = np.sort(found.reshape(starts, -1, size).max(axis=2), axis=1)
    return np.asarray(best[:, -_AGAIN:].mean(axis=1))
