"""Sound from envelopes: one window of a performance with its timbre replaced and its pitch transposed.

Voiced sound is synthesised by WORLD (Morise, Yokomori and Ozawa, IEICE E99-D, 2016), with aperiodicity from D4C.
Unvoiced sound is the original waveform, filtered by the ratio of the two envelopes (the differential filter of
Kobayashi, Toda and Nakamura, Speech Communication 99, 2018): consonants stay crisp, and pauses get no hiss. Voiced
sound that is not transposed could be filtered as well, but measured worse: the original's reverb stays in it, and with
it the original voice. So around notes only the part above the reverb's band is taken from the waveform.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from understudy.voices.instant import spectrum
from understudy.voices.instant.spectrum import Array

LIMIT = 30 / 8.686  # nats of amplitude: limit of the filter's gain
ROOM = (1200.0, 1800.0)  # Hz: below, sound after a note is its reverb at the old pitch; consonants are above
CLEARED = -60 / 8.686  # nats of amplitude: gain of that reverb
AFTER = 50  # frames around voiced ones in which it is removed; further away are breaths and whispers
WEAKEST = 3 / 4.343  # nats of power: how much weaker the first harmonic may get
SILENCE = 10 ** (-100 / 20)  # below this a frame is digital silence and stays so


def filtered(signal: NDArray[np.float64], gain: Array, rate: int, hop: float) -> NDArray[np.float64]:
    """`signal` ``[samples]`` through a zero-phase filter that changes over time: an overlap-add of windowed blocks
    whose spectra are multiplied with the interpolated gain.

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
        # the gain between two frames is interpolated linearly in nats
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
    """`signal` (mono) with the log power envelopes `new` in place of `old`, transposed by `semitones`; same length.

    `f0`: of the signal in Hz, at multiples of `hop` seconds; `old` and `new`: ``[frames, bins]`` in nats.
    """

    from scipy.ndimage import gaussian_filter1d

    result = filtered(signal, np.clip(0.5 * (new - old), -LIMIT, LIMIT) + _clearing(f0 > 0, rate), rate, hop)
    if (f0 > 0).any():
        new = _with_fundamental(f0, rate, old, new, semitones)
        made = _synthesised(signal, f0, rate, hop, new, semitones)
        made = np.pad(made, (0, max(0, len(signal) - len(made))))[: len(signal)]
        # cross-fade between synthesised (voiced) and filtered (unvoiced) sound
        weight = gaussian_filter1d((f0 > 0).astype(np.float64), 2.0)
        times = np.arange(len(signal)) / rate
        weight = np.interp(times, np.arange(len(f0)) * hop, weight)
        result = weight * made + (1 - weight) * result
    return result * _activity(signal, rate)


def _frequencies(rate: int) -> NDArray[np.float64]:
    size = spectrum.transform_size(rate)
    return np.arange(size // 2 + 1) * rate / size


def _clearing(voiced: NDArray[np.bool_], rate: int) -> Array:
    """Gain in nats of amplitude ``[frames, bins]`` that removes the reverb of notes from the waveform between them."""

    from scipy.ndimage import gaussian_filter1d, maximum_filter1d

    near = gaussian_filter1d(maximum_filter1d(voiced.astype(np.float32), 2 * AFTER + 1, mode="constant"), 2.0)
    return np.asarray(near[:, None] * np.interp(_frequencies(rate), ROOM, (CLEARED, 0.0)), np.float32)


def _with_fundamental(f0: NDArray[np.float64], rate: int, old: Array, new: Array, semitones: float) -> Array:
    """`new` with a first harmonic in voiced frames that is at most `WEAKEST` weaker than the original's.

    Recordings of speech contain little below their own pitch, and a note without its first harmonic sounds an octave
    too high. Levels are relative to the frame's; the correction is full up to 1.5 f0 and none from 2 f0 on.
    """
    result = new.copy()
    voiced = np.flatnonzero(f0 > 0)
    frequency, ratio = _frequencies(rate), 2 ** (semitones / 12)
    for rows in np.array_split(voiced, len(voiced) // 500 + 1):
        original, voice = old[rows], new[rows]
        louder = _total(voice) - _total(original) - WEAKEST
        weight = np.clip(4 - 2 * frequency / (ratio * f0[rows, None]), 0, 1)
        lack = np.maximum(0, spectrum.warped(original, ratio) + louder - voice)
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
    # D4C's default threshold would make sung frames unvoiced; here the pitch track decides
    coarse = pyworld.d4c(signal, f0[::2].copy(), times[::2].copy(), rate, threshold=0.0, fft_size=size)
    aperiodicity = np.repeat(coarse, 2, axis=0)[: len(f0)]
    higher = f0 * 2 ** (semitones / 12)
    power = np.ascontiguousarray(np.exp(new.astype(np.float64)))
    return np.asarray(pyworld.synthesize(higher, power, np.ascontiguousarray(aperiodicity), rate, hop * 1000))


def _activity(signal: NDArray[np.float64], rate: int) -> NDArray[np.float64]:
    """``[samples]``: 1 where there is sound within 10 ms, 0 in digital silence, with ramps of 5 ms between."""
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
