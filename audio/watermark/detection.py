"""`detect`: the mark in a sound, also after other speeds, other keys, codecs and cuts.

Levels of the cells are differenced to one value per chip, divided by how large such values are around them, and added
up over the periods. The sum is correlated with the signs of the synchronising chips at every offset, for every speed
and key that is tried. At the best places the payload is decoded. Whether there is a mark is then decided by all chips:
their correlation with the whole pattern of that payload, divided by the root of the sum of their squares.

If the key of a mark is drawn at random and independent of the sound, that is a weighted sum of random signs. It exceeds
z with a probability of at most exp(-z²/2), whatever the sound is (Hoeffding, "Probability inequalities for sums of
bounded random variables", 1963). Times the number of places and of payloads, this bounds the probability of a false
detection: a mark counts where it is at most `RISK`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import uniform_filter1d

from understudy.audio.samples import Audio, AudioSource
from understudy.audio.watermark.layout import BAND, COLUMNS, HIGHEST, LOWEST, PERIOD, PUBLIC_KEY, ROWS, SLOT, layout
from understudy.audio.watermark.payload import LENGTH, PAYLOADS, Payload, decode, encode
from understudy.context import Context

Floats = NDArray[np.float32]
Change = tuple[float, float]  # factors of pitch and speed

RISK = 1e-6
"""The highest probability that something is found in a sound without a mark."""

PERIODS = 5
"""Periods of a sound that are searched at once: 25 s."""

MOST_WINDOWS = 12
"""Windows of so many periods that are searched, evenly spaced: five minutes."""

_FRAME = 0.046  # seconds
_STEPS = 4  # offsets tried per slot
_USED = 3  # of these, in the middle of a slot: its ends are blurred by the frames
_STEPS_PER_CHIP = 2 * _STEPS
_STEPS_PER_PERIOD = COLUMNS * _STEPS_PER_CHIP
_NEARBY = 37  # steps over which the size of values is measured: half a second
_CLIPPED = 1.5  # times that size
_FAINT = 1e-5  # of the power around: below it a cell tells nothing
_PEAKS = 8  # best changes that are decoded

_PITCHES = [round(0.94 + 0.005 * step, 3) for step in range(25)]  # a semitone down to a semitone up
_UNCHANGED: Change = (1.0, 1.0)
_KEYS: list[Change] = [(pitch, 1.0) for pitch in _PITCHES]
# speed moves the pitch by as much, for which the nearest of `_PITCHES` is good enough
_SPEEDS: list[Change] = [
    (min(_PITCHES, key=lambda pitch, speed=speed: abs(pitch - speed)), speed)  # type: ignore[misc]
    for speed in (round(0.965 + 0.001 * step, 3) for step in range(71))
]
_CHANGES = list(dict.fromkeys([*_KEYS, *_SPEEDS]))


@dataclass(frozen=True)
class Mark:
    """A mark that was found. `payload`; `key`: that it was made with; `position`, `duration`: seconds of the sound in
    which it was found. `pitch`, `speed`: by what the sound was changed since it was
    marked, as factors. `deviations`: of all chips, and `false_alarm`: the most that the probability can be that a sound
    without a mark gives one."""

    payload: Payload
    key: int
    position: float
    duration: float
    pitch: float
    speed: float
    deviations: float
    false_alarm: float


def detect(source: AudioSource, context: Context, keys: Sequence[int] = (PUBLIC_KEY,)) -> Mark | None:
    """The mark in `source` that was made with one of `keys`, or None. What is shorter than about three seconds carries
    none that could be found.

    First the windows are added up, as if speed and key were unchanged: a long sound has a mark to spare. Then each is
    searched alone for other speeds and keys.
    """
    starts = _starts(source)

    @lru_cache(maxsize=1)
    def levels_at(start: int) -> _Levels:
        return _Levels(source.read(start, min(source.frames, start + round((PERIODS + 1) * PERIOD * source.rate))))

    trials = (len(starts) + 1) * len(keys) * len(_CHANGES) * _STEPS_PER_PERIOD
    added = np.zeros((ROWS, _STEPS_PER_PERIOD), np.float32)
    for number, start in enumerate(starts):
        context.progress(0.3 * number / len(starts))
        levels = levels_at(start)
        added += _folded(levels.chips(1.0), 1.0)
        for key in keys:
            span = (starts[0] / source.rate, start / source.rate + levels.duration)
            mark = _found({_UNCHANGED: added}, key, span, trials)
            if mark is not None:
                return mark
    for number, start in enumerate(reversed(starts)):  # the last one's levels are known
        levels = levels_at(start)
        chips = {pitch: levels.chips(pitch) for pitch in _PITCHES}
        changed = {(pitch, speed): _folded(chips[pitch], speed) for pitch, speed in _CHANGES}
        context.progress(0.3 + 0.7 * (number + 1) / len(starts))
        for key in keys:
            span = (start / source.rate, start / source.rate + levels.duration)
            mark = _found(changed, key, span, trials)
            if mark is not None:
                return mark
    return None


def _starts(source: AudioSource) -> list[int]:
    """The first frames of the windows: at multiples of a period, so that what is found in them can be added."""
    count = max(1, round(source.frames / source.rate / (PERIODS * PERIOD)))
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_WINDOWS)).round().astype(int))
    return [round(number * PERIODS * PERIOD * source.rate) for number in chosen.tolist()]


def _found(folded: Mapping[Change, Floats], key: int, span: tuple[float, float], trials: int) -> Mark | None:
    """The mark of `key` in the values of a period, `folded` by what pitch and speed were changed by. `trials`: places
    that are searched in all."""
    places = layout(key, LENGTH)
    carrying = ~places.synchronising
    pattern = np.zeros((ROWS, _STEPS_PER_PERIOD), np.float32)
    pattern[:, ::_STEPS_PER_CHIP] = (places.signs * places.synchronising).T
    wanted = np.conj(fft.rfft(pattern))
    needed = float(np.sqrt(2 * np.log(trials * PAYLOADS / RISK)))
    tried = sorted(((*_synchronised(values, wanted), change) for change, values in folded.items()), reverse=True)
    for _, offset, change in tried[:_PEAKS]:
        received = np.roll(folded[change], -offset, axis=1)[:, ::_STEPS_PER_CHIP].T.astype(np.float64)
        size = np.sqrt(np.sum(received**2)) + 1e-9
        signed = received * places.signs
        synchronised = np.sum(signed[places.synchronising])
        soft = np.bincount(places.bits[carrying], signed[carrying], LENGTH).astype(np.float64)
        payload = decode(soft, needed * size - synchronised)
        if payload is not None:
            deviations = float((synchronised + soft @ encode(payload)) / size)
            false_alarm = trials * PAYLOADS * float(np.exp(-(deviations**2) / 2))
            return Mark(payload, key, span[0], span[1] - span[0], *change, round(deviations, 1), false_alarm)
    return None


def _synchronised(values: Floats, wanted: NDArray[np.complexfloating]) -> tuple[float, int]:
    """The best correlation of a period's `values` with a pattern of this spectrum, against their size, and its offset
    in steps."""
    correlation = fft.irfft(np.einsum("rf,rf->f", fft.rfft(values), wanted), values.shape[1])
    offset = int(np.argmax(correlation))
    return float(correlation[offset] / (np.linalg.norm(values) + 1e-9)), offset


def _folded(values: Floats, speed: float) -> Floats:
    """The sum of all periods, ``[ROWS, steps of a period]``, of `values` at that speed."""
    steps = np.arange(int(values.shape[1] * speed))
    at_speed = values[:, np.minimum((steps / speed).round().astype(int), values.shape[1] - 1)]
    periods = -(-len(steps) // _STEPS_PER_PERIOD)
    padded = np.zeros((ROWS, periods * _STEPS_PER_PERIOD), np.float32)
    padded[:, : len(steps)] = at_speed
    return np.asarray(padded.reshape(ROWS, periods, _STEPS_PER_PERIOD).sum(axis=1))


class _Levels:
    """The levels of a window's cells in any key: power spectrograms, summed over frequency."""

    def __init__(self, window: Audio) -> None:
        self.duration = window.duration
        size = 2 ** round(np.log2(_FRAME * window.rate))
        self._bins = size / window.rate  # per Hz
        bins = min(size // 2, int(HIGHEST * _PITCHES[-1] * self._bins) + 1) + 1
        self._sums = [_running(_power(sound, size, bins)) for sound in _views(window, size)]

    def chips(self, pitch: float) -> Floats:
        """A value per chip at every step of time, ``[ROWS, steps]``, of sound whose `pitch` was changed by this factor
        since it was marked. 0 where nothing can be told."""
        edges = (LOWEST + np.arange(2 * ROWS + 1) * BAND) * pitch * self._bins + 0.5
        return np.asarray(np.sum([_chips(sums, edges) for sums in self._sums], axis=0))


def _views(window: Audio, size: int) -> list[Audio]:
    """The mean of the channels, and what they differ by: a voice in the middle covers the mark in the first alone."""
    sound = window if window.frames >= size else window.read(0, size)
    middle = sound.samples.mean(axis=0, keepdims=True)
    views = [middle, sound.samples - middle]
    power = [float(np.sum(np.square(view), dtype=np.float64)) for view in views]
    return [Audio(view, window.rate) for view, one in zip(views, power, strict=True) if one >= _FAINT * sum(power)]


def _running(power: Floats) -> NDArray[np.float64]:
    """Running sums over frequency of `power` ``[bins, steps]``, each over `_USED` steps."""
    sums = np.zeros((len(power) + 1, max(0, power.shape[1] - _USED + 1)), np.float32)
    for step in range(_USED):
        sums[1:] += power[:, step : step + sums.shape[1]]
    return np.asarray(np.cumsum(sums, axis=0, dtype=np.float64))


def _chips(sums: NDArray[np.float64], edges: NDArray[np.float64]) -> Floats:
    """The values of the chips between `edges` (places in `sums`), about 0 ± 1."""
    last = len(sums) - 1
    inside = np.clip(edges, 0, last)
    below = np.minimum(inside.astype(int), last - 1)
    share = (inside - below)[:, None]
    at = sums[below]
    at += (sums[below + 1] - at) * share
    cells = np.diff(at, axis=0).astype(np.float32)
    if cells.shape[1] <= _STEPS:
        return np.zeros((ROWS, 1), np.float32)
    around = np.maximum(uniform_filter1d(cells.mean(axis=0), _NEARBY, mode="nearest"), 0.0)  # rounding errors
    level = np.float32(10 / np.log(10)) * np.log(np.maximum(cells, np.float32(_FAINT) * around + np.float32(1e-20)))
    change = level[:, :-_STEPS] - level[:, _STEPS:]
    values = change[0::2] - change[1::2]
    usual = uniform_filter1d(np.minimum(np.abs(values), 20.0), _NEARBY, axis=1, mode="nearest") + np.float32(0.3)
    return np.asarray(np.clip(values / usual, -_CLIPPED, _CLIPPED))


def _power(sound: Audio, size: int, bins: int) -> Floats:
    """The lowest `bins` of a power spectrogram, summed over channels, ``[bins, steps]``."""
    shape = np.hanning(size + 1)[:-1].astype(np.float32)
    step = SLOT / _STEPS * sound.rate
    starts = (np.arange(int((sound.frames - size) / step) + 1) * step).round().astype(int)
    frames = np.lib.stride_tricks.sliding_window_view(sound.samples, size, axis=1)
    power = np.empty((bins, len(starts)), np.float32)
    for first in range(0, len(starts), 256):
        spectrum = fft.rfft(frames[:, starts[first : first + 256]] * shape, axis=2)[..., :bins]
        power[:, first : first + 256] = np.sum(spectrum.real**2 + spectrum.imag**2, axis=0).T
    return power
