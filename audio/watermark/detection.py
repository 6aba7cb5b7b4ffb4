"""`detect`: the mark in a sound, also after other speeds, other keys, codecs and cuts.

Levels of the cells are differenced to one value per chip, divided by what such values are around them, and added up
over the periods. The sum is correlated with the signs of the synchronising chips at every offset, for every speed and
key that is tried. Each correlation is divided by the root of its sum of squares. If the key of a mark is drawn at
random and independent of the sound, that is a sum of random signs: about normal with a variance of 1, whatever the
sound is. So the probability of a false detection follows from the number of correlations and from the checksum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from understudy.audio.samples import Audio, AudioSource
from understudy.audio.watermark.layout import BAND, COLUMNS, LOWEST, PERIOD, PUBLIC_KEY, ROWS, SLOT, layout
from understudy.audio.watermark.payload import LENGTH, TRIED, Payload, decode
from understudy.context import Context

Floats = NDArray[np.float64]

PERIODS = 5
"""Periods of a sound that are searched at once: 25 s."""

MOST_WINDOWS = 12
"""Windows of so many periods that are searched, evenly spaced: five minutes."""

LEAST = 5.5
"""Standard deviations that a synchronisation must reach."""

_FRAME = 0.046  # seconds
_STEPS = 8  # offsets tried per slot
_USED = 6  # of these, in the middle of a slot: its ends are blurred by the frames
_NEARBY = 75  # steps over which the size of values is measured: half a second
_CLIPPED = 2.0  # times that size
_FAINT = 1e-6  # of the power around: below it a cell tells nothing
_PEAKS = 3  # best speeds that are decoded

_SPEEDS = [(float(s), float(s)) for s in np.arange(0.965, 1.0351, 0.001)]
_KEYS = [(float(s), 1.0) for s in np.arange(0.935, 1.0701, 0.003)]  # a little more than a semitone
_UNCHANGED = (1.0, 1.0)


@dataclass(frozen=True)
class Mark:
    """A mark that was found. `payload`; `key`: that it was made with; `position`, `duration`: seconds of the sound in
    which it was found. `pitch`, `speed`: by what the sound was changed since it was
    marked, as factors. `deviations`: of the synchronisation, and `false_alarm`: the probability that a sound without a
    mark gives one."""

    payload: Payload
    key: int
    position: float
    duration: float
    pitch: float
    speed: float
    deviations: float
    false_alarm: float


def detect(source: AudioSource, context: Context, keys: Sequence[int] = (PUBLIC_KEY,)) -> Mark | None:
    """The mark in `source` that was made with one of `keys`, or None. What is shorter than about five seconds carries
    none that could be found.

    First the windows are added up, as if speed and key were unchanged: a long sound has a mark to spare. Then each is
    searched alone for other speeds and keys.
    """
    starts = _starts(source)
    added: Floats | None = None
    for number, start in enumerate(starts):
        context.progress(0.3 * number / len(starts))
        cells = _Cells(_window(source, start))
        values = _folded(cells.chips(*_UNCHANGED))
        added = values if added is None else added + values
        for key in keys:
            span = (starts[0] / source.rate, start / source.rate + cells.duration)
            mark = _found({_UNCHANGED: added}, key, span, len(starts) * len(keys))
            if mark is not None:
                return mark
    for number, start in enumerate(starts):
        cells = _Cells(_window(source, start))
        changed = {change: _folded(cells.chips(*change)) for change in _SPEEDS + _KEYS}
        context.progress(0.3 + 0.7 * (number + 1) / len(starts))
        for key in keys:
            span = (start / source.rate, start / source.rate + cells.duration)
            mark = _found(changed, key, span, len(starts) * len(keys))
            if mark is not None:
                return mark
    return None


def _starts(source: AudioSource) -> list[int]:
    """The first frames of the windows: at multiples of a period, so that what is found in them can be added."""
    count = max(1, round(source.frames / source.rate / (PERIODS * PERIOD)))
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_WINDOWS)).round().astype(int))
    return [round(number * PERIODS * PERIOD * source.rate) for number in chosen.tolist()]


def _window(source: AudioSource, start: int) -> Audio:
    return source.read(start, min(source.frames, start + round((PERIODS + 1) * PERIOD * source.rate)))


def _found(
    folded: Mapping[tuple[float, float], Floats], key: int, span: tuple[float, float], searches: int
) -> Mark | None:
    """The mark of `key` in the values of a period, `folded` by what pitch and speed were changed by. `searches`:
    windows and keys that are searched in all."""
    places = layout(key, LENGTH)
    signs = places.signs * places.synchronising
    tried = sorted(((*_synchronised(values, signs), change) for change, values in folded.items()), reverse=True)
    for deviations, offset, change in tried[:_PEAKS]:
        if deviations < LEAST:
            return None
        values = folded[change]
        received = np.roll(values, -offset, axis=0)[::_STEPS_PER_CHIP] * places.signs
        carrying = ~places.synchronising
        payload = decode(np.bincount(places.bits[carrying], received[carrying], LENGTH).astype(np.float64))
        if payload is not None:
            trials = searches * len(folded) * len(values)
            alarm = min(1.0, trials * _tail(deviations)) * min(1.0, _PEAKS * TRIED / 2**16)
            return Mark(payload, key, span[0], span[1] - span[0], *change, round(deviations, 1), alarm)
    return None


_STEPS_PER_CHIP = 2 * _STEPS


def _tail(deviations: float) -> float:
    """The probability that a normal variable exceeds so many standard deviations."""
    from scipy.special import ndtr

    return float(ndtr(-deviations))


def _synchronised(values: Floats, signs: NDArray[np.int8]) -> tuple[float, int]:
    """The best correlation of a period's `values` ``[steps, ROWS]`` in standard deviations, and its offset in steps."""
    pattern = np.zeros_like(values)
    pattern[::_STEPS_PER_CHIP] = signs
    correlation = _correlated(values, pattern)
    squares = _correlated(values**2, np.abs(pattern))
    deviations = correlation / np.sqrt(np.maximum(squares, 1e-12 + 1e-6 * squares.max()))
    offset = int(np.argmax(deviations))
    return float(deviations[offset]), offset


def _correlated(values: Floats, pattern: Floats) -> Floats:
    product = fft.rfft(values, axis=0) * np.conj(fft.rfft(pattern, axis=0))
    return np.asarray(fft.irfft(product.sum(axis=1), len(values)))


def _folded(values: Floats) -> Floats:
    """The sum of all periods, ``[steps of a period, ROWS]``."""
    steps = COLUMNS * _STEPS_PER_CHIP
    periods = -(-len(values) // steps)
    padded = np.zeros((periods * steps, values.shape[1]))
    padded[: len(values)] = values
    return np.asarray(padded.reshape(periods, steps, -1).sum(axis=0))


class _Cells:
    """The levels of a window's cells, at any speed and in any key: running sums of its power spectrogram."""

    def __init__(self, window: Audio) -> None:
        rate = window.rate
        self.duration = window.duration
        self._bins = 2 ** round(np.log2(_FRAME * rate)) / rate  # per Hz
        self._hop = max(1, round(SLOT / _STEPS * rate))
        self._step = SLOT / _STEPS * rate / self._hop
        power = _power(window, round(self._bins * rate), self._hop)
        self._sums = np.concatenate([np.zeros((len(power), 1)), np.cumsum(power, axis=1, dtype=np.float64)], axis=1)

    def chips(self, pitch: float, speed: float) -> Floats:
        """A value per chip at every step of time, ``[steps, ROWS]``, of sound whose `pitch` and `speed` were changed by
        these factors since it was marked. About 0 ± 1, and 0 where nothing can be told."""
        from scipy.ndimage import uniform_filter1d

        edges = (LOWEST + np.arange(2 * ROWS + 1) * BAND) * pitch * self._bins + 0.5
        power = np.diff(_at(self._sums, edges, axis=1), axis=1)
        sums = np.concatenate([np.zeros((1, power.shape[1])), np.cumsum(power, axis=0)])
        step = self._step / speed
        sums = _at(sums, np.arange(int(len(power) / step) + 1) * step, axis=0)
        cells = np.maximum(sums[_USED:] - sums[:-_USED], 0.0)
        if len(cells) <= _STEPS:
            return np.zeros((1, ROWS))
        around = np.maximum(uniform_filter1d(cells.mean(axis=1), _NEARBY, mode="nearest"), 0.0)  # rounding errors
        level = 10 * np.log10(np.maximum(cells, _FAINT * around[:, None] + 1e-20))
        change = level[:-_STEPS] - level[_STEPS:]
        values = change[:, 0::2] - change[:, 1::2]
        usual = uniform_filter1d(np.minimum(np.abs(values), 20.0), _NEARBY, axis=0, mode="nearest") + 0.3
        return np.asarray(np.clip(values / usual, -_CLIPPED, _CLIPPED) / np.sqrt(usual))


def _power(window: Audio, size: int, hop: int) -> NDArray[np.float32]:
    """Power spectrogram, summed over channels, ``[frames, bins]``."""
    shape = np.hanning(size + 1)[:-1].astype(np.float32)
    samples = window.samples if window.frames >= size else window.read(0, size).samples
    frames = np.lib.stride_tricks.sliding_window_view(samples, size, axis=1)[:, ::hop]
    power = np.zeros((frames.shape[1], size // 2 + 1), np.float32)
    for first in range(0, frames.shape[1], 512):
        spectrum = fft.rfft(frames[:, first : first + 512] * shape, axis=2)
        power[first : first + 512] = np.sum(spectrum.real**2 + spectrum.imag**2, axis=0)
    return power


def _at(sums: Floats, places: NDArray[np.floating], axis: int) -> Floats:
    """Running sums at fractional `places` along `axis`, linearly interpolated; past the ends, those at the ends."""
    last = sums.shape[axis] - 1
    inside = np.clip(places, 0, last)
    below = np.minimum(inside.astype(int), last - 1)
    share = inside - below
    share = share[:, None] if axis == 0 else share
    return np.asarray(np.take(sums, below, axis) * (1 - share) + np.take(sums, below + 1, axis) * share)
