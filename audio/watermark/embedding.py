"""`watermarked`: a sound with a mark, block by block.

The gain of a cell is applied to the short-time spectrum, the same to all channels. A frame spreads what it adds over
its 46 ms, and its window over frequency. So what is added is measured again and turned down where it is too much for
the sound around it: for a critical band (`MOST`), or within milliseconds (`_SHARE`). Silence stays silent, also right
before an onset.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from understudy.audio.samples import Audio, AudioSource, Samples
from understudy.audio.spectrogram import Grid, Map, Spectrum, analyse, resynthesize
from understudy.audio.watermark.layout import BAND, COLUMNS, HIGHEST, LOWEST, ROWS, SLOT, layout
from understudy.audio.watermark.payload import LENGTH, Payload, encode
from understudy.audio.windows import map_windows
from understudy.context import Context

DEPTH = 0.9
"""dB that a cell is moved up or down, before the frames blur it to about half of that."""

MOST = 0.5
"""dB: what is added in a frame and critical band is at most what a change by so much would add."""

_FRAME = 0.046  # seconds
_MOMENT = 0.003  # seconds over which the sound and what is added are compared
_SHARE = 0.25  # of the sound's level that may be added at any moment


def watermarked(source: AudioSource, payload: Payload, key: int, context: Context) -> Iterator[Audio]:
    """`source` with a mark, in blocks that together are as long. `key`: 0..2^64-1, which a detector needs, too."""
    grid = Grid.of(source.rate, _FRAME, min(HIGHEST + BAND, source.rate / 2))
    signs = layout(key, LENGTH).pattern(encode(payload))

    def marked(window: Audio, start: int) -> Audio:
        if not window.samples.any():
            return window
        before = start % grid.hop  # frames lie on one grid for the whole sound
        samples = np.pad(window.samples, ((0, 0), (before, 0)))
        frames = samples.shape[1]
        spectrum = analyse(samples, grid)
        gain = _gain(signs, grid, start - before, spectrum.shape[1])
        wanted = analyse(resynthesize(spectrum * (gain - 1), grid, frames), grid)
        added = resynthesize(wanted * _allowed(spectrum, wanted, grid), grid, frames)[:, before:]
        return Audio(window.samples + added * _held(window.samples, added, source.rate), source.rate)

    yield from map_windows(source, marked, context, margin=4 * grid.size / source.rate)


def _gain(signs: NDArray[np.int8], grid: Grid, start: int, count: int) -> Map:
    """The gain ``[count, bins]`` for the frames of `analyse` of sound that begins at frame `start` of the whole."""
    middles = start + np.arange(count) * grid.hop - (grid.size - grid.hop) + grid.size // 2
    slot = np.floor(middles / (SLOT * grid.rate)).astype(int)
    band = np.floor((grid.frequencies - LOWEST) / BAND).astype(int)
    inside = (band >= 0) & (band < 2 * ROWS)
    row = np.where(inside, band, 0)
    checked = np.where(slot[:, None] % 2 == row % 2, 1, -1)  # + - over - +
    moved = signs[slot // 2 % COLUMNS][:, row // 2] * checked * inside
    return np.asarray(10 ** (DEPTH / 20 * moved), np.float32)


def _allowed(sound: Spectrum, added: Spectrum, grid: Grid) -> Map:
    """A gain 0..1 ``[frames, bins]`` that keeps `added` to what `MOST` dB of `sound` are in each critical band."""
    from scipy.ndimage import minimum_filter1d

    # ERB-rate of Glasberg and Moore (1990), "Derivation of auditory filter shapes from notched-noise data"
    number = (21.4 * np.log10(1 + 0.00437 * grid.frequencies)).astype(int)
    first = np.flatnonzero(np.diff(number, prepend=-1))

    def power(spectrum: Spectrum) -> Map:
        squares = np.sum(spectrum.real**2 + spectrum.imag**2, axis=0)
        return np.asarray(np.add.reduceat(squares, first, axis=1))

    ratio = (10 ** (MOST / 20) - 1) ** 2 * power(sound) / np.maximum(power(added), 1e-20)
    gain = minimum_filter1d(np.sqrt(np.minimum(ratio, 1.0)), 3, axis=0)  # frames overlap
    return np.asarray(np.repeat(gain, np.diff(first, append=grid.bins), axis=1), np.float32)


def _held(samples: Samples, added: Samples, rate: int) -> Samples:
    """A gain 0..1 ``[frames]`` that keeps `added` below `_SHARE` of `samples` at each moment."""
    from scipy.ndimage import uniform_filter1d

    size = max(1, round(_MOMENT * rate))

    def power(sound: Samples) -> NDArray[np.float64]:
        squares = np.sum(np.square(sound, dtype=np.float64), axis=0)
        return np.asarray(np.maximum(uniform_filter1d(squares, size, mode="constant"), 0.0))

    allowed = _SHARE**2 * power(samples)
    # rounding of the running sum leaves a trace after a loud sound
    allowed[allowed < 1e-14] = 0.0
    return np.asarray(np.sqrt(np.minimum(1.0, allowed / np.maximum(power(added), 1e-20))), np.float32)
