"""Sound from envelopes: one window of a performance with its timbre replaced and its pitch moved.

Voiced sound is made anew by WORLD (Morise, Yokomori and Ozawa, IEICE E99-D, 2016), with aperiodicity from D4C. What has
no pitch is the singer's own waveform, filtered by the ratio of the two envelopes (the differential filter of Kobayashi,
Toda and Nakamura, Speech Communication 99, 2018): consonants stay crisp and pauses free of hiss. Voiced sound that is
not transposed could be filtered as well, and measured worse: it keeps the singer's room, and with it the singer. For
the same reason the waveform around the notes gives only what lies above the singer's room.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from understudy.voices.instant import spectrum
from understudy.voices.instant.spectrum import Array

LIMIT = 30 / 8.686  # nats of amplitude: what the filter may add or take
ROOM = (1200.0, 1800.0)  # Hz: below, what sounds after a note is its echo, at the old pitch; consonants are above
CLEARED = -60 / 8.686  # nats of amplitude: what is left of it
AFTER = 50  # frames around voiced ones in which it is cleared; further away are breaths and whispers
WEAKEST = 3 / 4.343  # nats of power: how much weaker the first harmonic may get
SILENCE = 10 ** (-100 / 20)  # below this a frame is digital silence and stays so


def filtered(signal: NDArray[np.float64], gain: Array, rate: int, hop: float) -> NDArray[np.float64]:
    """`signal` through a zero-phase filter that changes over time.

    `gain` ``[frames, bins]``: nats of amplitude at multiples of ``hop`` seconds, on `transform_size(rate)`'s bins.
    """
    size = spectrum.transform_size(rate)
    step = size // 8
    window = np.hanning(size + 1)[:-1]
    padded = np.pad(signal, (size // 2, size + step))
    count = (len(signal) + size) // step + 1
    starts = np.arange(count) * step
    starts = starts[starts + size <= len(padded)]
    output = np.zeros(len(padded))
    position = np.minimum(starts / rate / hop, len(gain) - 1)  # the middle of block k lies at sample k * step
    low = np.minimum(position.astype(int), max(0, len(gain) - 2))
    part = (position - low)[:, None].astype(np.float32)
    high = np.minimum(low + 1, len(gain) - 1)
    for first in range(0, len(starts), 256):
        rows = slice(first, first + 256)
        blocks = np.lib.stride_tricks.sliding_window_view(padded, size)[starts[rows]] * window
        factor = np.exp(gain[low[rows]] * (1 - part[rows]) + gain[high[rows]] * part[rows])
        changed = np.fft.irfft(np.fft.rfft(blocks, axis=1) * factor, n=size, axis=1) * window
        for start, block in zip(starts[rows], changed, strict=True):
            output[start : start + size] += block
    total = float((window**2).sum()) / step
    return output[size // 2 : size // 2 + len(signal)] / total


def sung(
    signal: NDArray[np.float64],
    f0: NDArray[np.float64],
    rate: int,
    hop: float,
    old: Array,
    new: Array,
    semitones: float,
) -> NDArray[np.float64]:
    """`signal` (mono) with log power envelopes `new` in place of `old`, `semitones` higher; as many samples.

    `f0` as it is in the signal, at multiples of `hop` seconds; the envelopes ``[frames, bins]``.
    """
    result = filtered(signal, np.clip(0.5 * (new - old), -LIMIT, LIMIT) + _clearing(f0 > 0, rate), rate, hop)
    if (f0 > 0).any():
        new = _with_fundamental(f0, rate, old, new, semitones)
        made = _synthesised(signal, f0, rate, hop, new, semitones)
        made = np.pad(made, (0, max(0, len(signal) - len(made))))[: len(signal)]
        weight = gaussian_filter1d((f0 > 0).astype(np.float64), 2.0)
        times = np.arange(len(signal)) / rate
        weight = np.interp(times, np.arange(len(f0)) * hop, weight)
        result = weight * made + (1 - weight) * result
    return result * _sounding(signal, rate)


def _frequencies(rate: int) -> NDArray[np.float64]:
    size = spectrum.transform_size(rate)
    return np.arange(size // 2 + 1) * rate / size


def _clearing(voiced: NDArray[np.bool_], rate: int) -> Array:
    """Nats of amplitude ``[frames, bins]`` that take the echo of notes out of the waveform between them."""
    near = gaussian_filter1d(maximum_filter1d(voiced.astype(np.float32), 2 * AFTER + 1, mode="constant"), 2.0)
    return np.asarray(near[:, None] * np.interp(_frequencies(rate), ROOM, (CLEARED, 0.0)), np.float32)


def _with_fundamental(f0: NDArray[np.float64], rate: int, old: Array, new: Array, semitones: float) -> Array:
    """`new` with a first harmonic in voiced frames that is no weaker than the singer's by more than `WEAKEST`.

    Recordings of speech say little about what lies below their own pitch, and a note whose first harmonic is missing
    is heard an octave higher. Levels are against the whole frame's; whole up to 1.5 f0, nothing from 2 f0.
    """
    result = new.copy()
    voiced = np.flatnonzero(f0 > 0)
    frequency, ratio = _frequencies(rate), 2 ** (semitones / 12)
    for rows in np.array_split(voiced, len(voiced) // 500 + 1):
        singer, voice = old[rows], new[rows]
        louder = _total(voice) - _total(singer) - WEAKEST
        weight = np.clip(4 - 2 * frequency / (ratio * f0[rows, None]), 0, 1)
        lack = np.maximum(0, spectrum.warped(singer, ratio) + louder - voice)
        result[rows] = voice + np.asarray(weight * lack, np.float32)
    return result


def _total(envelope: Array) -> Array:
    """Log power of every frame, ``[frames, 1]``."""
    return np.asarray(np.log(np.exp(envelope.astype(np.float64)).sum(axis=1, keepdims=True)), np.float32)


def _synthesised(
    signal: NDArray[np.float64], f0: NDArray[np.float64], rate: int, hop: float, new: Array, semitones: float
) -> NDArray[np.float64]:
    import pyworld

    times = np.arange(len(f0)) * hop
    size = spectrum.transform_size(rate)
    # the default threshold of D4C makes sung frames unvoiced: the pitch track decides what is voiced
    coarse = pyworld.d4c(signal, f0[::2].copy(), times[::2].copy(), rate, threshold=0.0, fft_size=size)
    aperiodicity = np.repeat(coarse, 2, axis=0)[: len(f0)]
    higher = f0 * 2 ** (semitones / 12)
    power = np.ascontiguousarray(np.exp(new.astype(np.float64)))
    return np.asarray(pyworld.synthesize(higher, power, np.ascontiguousarray(aperiodicity), rate, hop * 1000))


def _sounding(signal: NDArray[np.float64], rate: int) -> NDArray[np.float64]:
    """1 where there is sound within 10 ms, 0 in digital silence, with 5 ms between."""
    reach = max(1, rate // 100)
    loud = (np.abs(signal) > SILENCE).astype(np.float64)
    if loud.all():
        return loud
    counted = np.concatenate([[0.0], np.cumsum(loud)])
    index = np.arange(len(loud))
    near = counted[np.minimum(index + reach + 1, len(loud))] - counted[np.maximum(index - reach, 0)]
    fade = max(1, rate // 200)
    ramp = np.convolve((near > 0).astype(np.float64), np.full(2 * fade + 1, 1 / (2 * fade + 1)), "same")
    return np.asarray(np.clip(ramp * 2 - 1, 0, 1))
