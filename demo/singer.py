"""Synthesises singing from spoken words.

espeak-ng speaks each line on one pitch. WORLD (M. Morise et al., IEICE Trans. E99-D, 2016) analyses the speech into
spectral envelope and aperiodicity every 5 ms. The time axis is then warped so that each vowel begins on its note and
lasts as long: consonants keep their speed and stand before the beat, vowels are extended in their steady middle,
diphthongs glide at their end. The f0 is computed from the score (portamento, a scoop into the phrase, vibrato that
grows on long notes, slow drift, fast jitter), and WORLD synthesises the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pyworld
import soxr
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, sosfilt, sosfiltfilt

from demo.score import BEAT, Line, Sung
from demo.speech import ALWAYS_VOICED, VOICELESS, Espeak, Phone, Speech

HISSING = frozenset({"z", "ʒ", "dʒ", "v", "ð"})
Floats = NDArray[np.floating]

RATE = 44100
HOP = 0.005
FFT = 2048
BINS = np.arange(FFT // 2 + 1) * RATE / FFT
EDGE = 0.12  # seconds of silence before and after the frames of a phrase


@dataclass(frozen=True)
class Timbre:
    """The timbre of a singer. `voice`: name of the espeak-ng voice. `formants` stretches the spectral envelope along
    frequency. `tilt`: dB per octave above 1 kHz. `air` scales the breath noise in voiced sounds. `pitch`: espeak-ng's,
    0..99. `ring`: dB of a wide peak at 3 kHz (the singer's formant). `vibrato`: rate in Hz and depth in cents."""

    voice: str
    formants: float
    tilt: float
    air: float
    pitch: int
    ring: float
    vibrato: tuple[float, float]


LEAD = Timbre("en-us+klatt2", 1.15, 1.5, 1.0, 45, 4.0, (5.6, 26.0))
TARGET = Timbre("en-us+m7", 0.95, 0.5, 0.6, 45, 2.0, (5.0, 22.0))


@dataclass(frozen=True, eq=False)
class Frames:
    """WORLD's analysis of speech, one row per `HOP`: log power envelope and aperiodicity ``[frames, FFT // 2 + 1]``,
    voicing ``[frames]``, and f0 in Hz ``[frames]`` (0 where unvoiced)."""

    envelope: Floats
    aperiodicity: Floats
    voiced: NDArray[np.bool_]
    f0: Floats


@dataclass(frozen=True, eq=False)
class Take:
    """A sung line: `samples` at `RATE` and the intended f0 in Hz per `HOP` (0 where unvoiced), both from second 0."""

    samples: Floats
    f0: Floats


def analyse(speech: Speech, timbre: Timbre) -> Frames:
    """WORLD analysis at `RATE`, with voicing taken from the phones, `timbre` applied and the spectrum above 10 kHz
    added."""
    sound = soxr.resample(speech.samples, speech.rate, RATE, "VHQ")
    f0, times = pyworld.harvest(sound, RATE, f0_floor=60, f0_ceil=500, frame_period=HOP * 1000)
    middle = float(np.median(f0[f0 > 0]))
    voiced = f0 > 0
    for phone in speech.phones:
        inside = (times >= phone.start) & (times < phone.stop)
        if phone.vowel or phone.name in ALWAYS_VOICED:
            voiced |= inside
        elif phone.name in VOICELESS:
            voiced &= ~inside
    f0 = np.where(voiced, np.where(f0 > 0, f0, middle), 0.0)
    power = pyworld.cheaptrick(sound, f0, times, RATE, fft_size=FFT)
    aperiodicity = pyworld.d4c(sound, f0, times, RATE, threshold=0.0, fft_size=FFT)
    envelope = np.log(np.maximum(power, 1e-16))
    hissing = np.zeros(len(times), bool)
    for phone in speech.phones:
        if phone.name in HISSING:
            hissing |= (times >= phone.start) & (times < phone.stop)
    envelope = _extend(envelope, voiced, hissing)
    envelope = _warp(envelope, np.full(len(envelope), timbre.formants))
    octaves = np.log2(np.maximum(BINS, 50.0) / 1000)
    shape = timbre.tilt * np.clip(octaves, 0, 3.5) + timbre.ring * np.exp(-((octaves - np.log2(3.1)) ** 2) / 0.06)
    envelope = envelope + np.where(voiced[:, None], shape * np.log(10) / 10, 0.0)
    floor = timbre.air * np.interp(BINS, [0, 800, 2000, 4000, 7000, 10000], [0.01, 0.02, 0.08, 0.2, 0.4, 0.65])
    aperiodicity = np.clip(np.maximum(aperiodicity, floor), 0.0, 1.0)
    aperiodicity[~voiced] = 1.0
    return Frames(envelope, aperiodicity, voiced, f0)


def sing(
    espeak: Espeak, line: Line, timbre: Timbre, duration: float, seed: int, *, transpose: int = 0, harmony: bool = False
) -> Take:
    """One line of the song sung with `timbre`, placed on a time line of `duration` seconds. `harmony` selects the
    second part. Another `seed` gives another take, with other drift and timing."""
    random = np.random.default_rng(seed)
    speech, frames = _spoken(espeak, line.text, timbre)
    notes = [
        replace(n, pitch=(n.harmony if harmony and n.harmony is not None else n.pitch) + transpose) for n in line.notes
    ]
    lateness = np.clip(random.normal(0.0, 0.008, len(notes)), -0.015, 0.015)
    starts = np.array([n.start * BEAT for n in notes]) + lateness
    stops = np.array([(n.start + n.beats) * BEAT for n in notes])
    syllables = syllables_of(speech.phones)
    if len(syllables) != len(notes):
        raise ValueError(f"{line.text!r} has {len(syllables)} vowels and {len(notes)} notes")
    target, source, vowels = time_map(syllables, starts, stops)
    first = int(np.floor((target[0] - EDGE) / HOP))
    grid = np.arange(first, int(np.ceil((target[-1] + EDGE) / HOP))) * HOP
    position = np.interp(grid, target, source) / HOP
    # the formants of a held vowel vary slightly
    wander = unsteady(grid, 6.0, random)
    lower = np.clip(np.floor(position).astype(int), 0, len(frames.envelope) - 2)
    part = np.clip(position - lower, 0, 1)[:, None]
    envelope = frames.envelope[lower] * (1 - part) + frames.envelope[lower + 1] * part
    aperiodicity = frames.aperiodicity[lower] * (1 - part) + frames.aperiodicity[lower + 1] * part
    nearest = np.clip(np.round(position).astype(int), 0, len(frames.voiced) - 1)
    inside = (grid >= target[0]) & (grid <= target[-1])
    voiced = frames.voiced[nearest] & inside
    aperiodicity[~voiced] = 1.0
    f0, swing = _melody(grid, notes, starts, stops, timbre, random)
    envelope = _warp(envelope, 1 + 0.006 * wander)
    gain, effort = _levels(grid, envelope, f0, voiced, notes, vowels, line.loud, random)
    gain += 0.7 * swing
    # the louder the voice, the brighter its spectrum
    octaves = np.clip(np.log2(np.maximum(BINS, 50.0) / 700), 0, 3)
    envelope = envelope + (gain[:, None] + 0.3 * np.outer(np.clip(effort, -6, 6), octaves)) * np.log(10) / 10
    fade = np.interp(grid, [target[0] - 0.01, target[0] + 0.004, target[-1] - 0.03, target[-1] + 0.012], [0, 1, 1, 0])
    envelope = envelope + 2 * np.log(np.maximum(fade, 1e-6))[:, None]
    sung = np.where(voiced, f0, 0.0)
    sound = pyworld.synthesize(
        np.ascontiguousarray(sung),
        np.ascontiguousarray(np.exp(np.maximum(envelope, -50))),
        np.ascontiguousarray(aperiodicity),
        RATE,
        HOP * 1000,
    )
    sound = sosfiltfilt(butter(2, 70, "highpass", fs=RATE, output="sos"), sound)
    out, track = np.zeros(round(duration * RATE)), np.zeros(round(duration / HOP) + 1)
    place(out, sound, round(grid[0] * RATE))
    place(track, sung[: max(0, len(track) - first)], first)
    return Take(out, track)


@cache
def _spoken(espeak: Espeak, text: str, timbre: Timbre) -> tuple[Speech, Frames]:
    speech = espeak.say(text, timbre.voice, speed=105, pitch=timbre.pitch)
    return speech, analyse(speech, timbre)


def breath(duration: float, stop: float, timbre: Timbre, random: np.random.Generator, seconds: float = 0.32) -> Floats:
    """A breath before a phrase that ends at `stop`: noise filtered by the formants of an open throat, rising and cut
    off."""
    time = np.arange(round(seconds * RATE)) / RATE / seconds
    noise = random.standard_normal(len(time))
    shaped = np.zeros(len(time))
    for neutral, gain in ((620, 0.5), (1650, 1.0), (2900, 0.7), (4400, 0.45), (7000, 0.3)):
        centre = neutral * timbre.formants
        shaped += gain * sosfilt(butter(1, [centre * 0.82, centre * 1.2], "bandpass", fs=RATE, output="sos"), noise)
    shaped *= np.sin(np.pi * np.clip(time, 0, 1) ** 1.6) ** 1.5
    out = np.zeros(round(duration * RATE))
    place(out, shaped / max(1e-9, float(np.abs(shaped).max())), round((stop - seconds) * RATE))
    return out


def place(into: Floats, sound: Floats, start: int) -> None:
    """Add `sound` to `into` at `start`; samples outside of `into` are dropped."""
    first, last = max(0, start), min(len(into), start + len(sound))
    if last > first:
        into[first:last] += sound[first - start : last - start]


def syllables_of(phones: Sequence[Phone]) -> list[tuple[list[Phone], Phone, list[Phone]]]:
    """Onset, vowel and coda of each syllable; consonants inside a word belong to the vowel that they lead to."""
    nuclei = [index for index, phone in enumerate(phones) if phone.vowel]
    result: list[tuple[list[Phone], Phone, list[Phone]]] = []
    begin = 0
    for number, index in enumerate(nuclei):
        following = nuclei[number + 1] if number + 1 < len(nuclei) else len(phones)
        cut = index + 1
        while (
            cut < following
            and (phones[cut].word == phones[index].word)
            and (following == len(phones) or phones[following].word != phones[index].word)
        ):
            cut += 1
        result.append((list(phones[begin:index]), phones[index], list(phones[index + 1 : cut])))
        begin = cut
    return result


def time_map(
    syllables: Sequence[tuple[list[Phone], Phone, list[Phone]]], starts: Floats, stops: Floats
) -> tuple[Floats, Floats, list[tuple[float, float]]]:
    """Knots (song time, speech time) that lay the syllables on their notes, and each vowel's span in song time."""

    def length(phones: Sequence[Phone]) -> float:
        return sum(min(p.stop - p.start, 0.13) for p in phones)

    knots: list[tuple[float, float]] = []
    vowels: list[tuple[float, float]] = []
    for number, (onset, vowel, coda) in enumerate(syllables):
        room = starts[number] - (vowels[-1][0] + 0.07 if vowels else -np.inf)
        before = min(length(onset) + (length(syllables[number - 1][2]) if number else 0.0), max(0.02, room))
        share = before / max(1e-9, length(onset) + (length(syllables[number - 1][2]) if number else 0.0))
        at = starts[number] - share * length(onset)
        for phone in onset:
            knots.append((at, phone.start))
            at += share * min(phone.stop - phone.start, 0.13)
        begin = float(starts[number])
        if number + 1 < len(syllables) and starts[number + 1] - stops[number] < 0.1:
            rest = length(coda) + length(syllables[number + 1][0])
            end = max(begin + 0.07, float(starts[number + 1]) - rest)
        else:
            end = max(begin + 0.07, float(stops[number]))
        spoken, sung = vowel.stop - vowel.start, end - begin
        edge = min(0.045, 0.3 * spoken, 0.3 * sung)
        knots.append((begin, vowel.start))
        if len(vowel.name) > 1:  # hold the first sound, glide at the end
            late = min(0.16, 0.4 * sung)
            knots += [(begin + edge, vowel.start + edge), (end - late, vowel.start + max(edge, 0.42 * spoken))]
        else:
            knots += [(begin + edge, vowel.start + edge), (end - edge, vowel.stop - edge)]
        vowels.append((begin, end))
        if number + 1 < len(syllables) and starts[number + 1] - stops[number] < 0.1:
            scale = (float(starts[number + 1]) - end) / max(1e-9, length(coda) + length(syllables[number + 1][0]))
        else:
            scale = 1.0
        at = end
        for phone in coda:
            knots.append((at, phone.start))
            at += scale * min(phone.stop - phone.start, 0.13)
        if number + 1 == len(syllables):
            knots.append((at, coda[-1].stop if coda else vowel.stop))
    target = np.maximum.accumulate(np.array([knot[0] for knot in knots]) + 1e-7 * np.arange(len(knots)))
    return target, np.array([knot[1] for knot in knots]), vowels


def _melody(
    grid: Floats, notes: Sequence[Sung], starts: Floats, stops: Floats, timbre: Timbre, random: np.random.Generator
) -> tuple[Floats, Floats]:
    """f0 in Hz on `grid`, and the vibrato's swing -1..1."""
    pitch = np.full(len(grid), float(notes[0].pitch))
    for note, start in zip(notes, starts, strict=True):
        pitch[grid >= start - 0.05] = note.pitch
    # a second-order system follows the steps: glides of some 80 ms with a little overshoot
    natural, damping, value, speed = 2 * np.pi * 7.5, 0.78, pitch[0], 0.0
    glided = np.empty(len(grid))
    for index, goal in enumerate(pitch):
        for _ in range(5):
            speed += (natural**2 * (goal - value) - 2 * damping * natural * speed) * HOP / 5
            value += speed * HOP / 5
        glided[index] = value
    swing, cents = np.zeros(len(grid)), np.zeros(len(grid))
    for start, stop in zip(starts, stops, strict=True):
        length = stop - start
        if length >= 0.45:
            since = grid - start
            depth = np.clip((since - 0.22) / 0.3, 0, 1) * np.clip((stop - grid) / 0.06, 0, 1)
            rate = timbre.vibrato[0] * (1 + 0.04 * random.standard_normal())
            phase = 2 * np.pi * (rate * since + 0.15 * np.clip(since, 0, 9) ** 2)
            swing += depth * np.sin(phase)
    cents += timbre.vibrato[1] * swing
    cents += 5 * unsteady(grid, 1.2, random) + 2.5 * unsteady(grid, 30.0, random)
    cents -= 110 * np.exp(-np.clip(grid - starts[0] + 0.02, 0, None) / 0.045)  # the scoop into a phrase
    cents -= 35 * np.clip((grid - stops[-1] + 0.1) / 0.1, 0, 1)  # and the fall out of it
    return 440 * 2 ** ((glided - 69) / 12 + cents / 1200), swing


def _levels(
    grid: Floats,
    envelope: Floats,
    f0: Floats,
    voiced: NDArray[np.bool_],
    notes: Sequence[Sung],
    vowels: Sequence[tuple[float, float]],
    loud: float,
    random: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Two curves in dB per frame: the gain that brings every vowel to its intended level, independent of espeak-ng's
    stress and of how formants and harmonics coincide; and the intended dynamics, where 0 is the middle."""
    bins = np.clip(np.round(np.outer(f0, np.arange(1, 25)) * FFT / RATE).astype(int), 0, FFT // 2)
    power = np.mean(np.exp(np.take_along_axis(envelope, bins, axis=1)), axis=1) + 1e-12
    centres, gains, efforts = [], [], []
    for number, (note, (begin, end)) in enumerate(zip(notes, vowels, strict=True)):
        inside = (grid >= begin) & (grid < end) & voiced
        along = number / max(1, len(notes) - 1)
        intended = (
            loud + 1.2 * np.sin(np.pi * along) + 0.12 * (note.pitch - 64) + (0.8 if note.start % 1 == 0 else -0.8)
        )
        level = float(10 * np.log10(np.mean(power[inside]))) if inside.any() else 0.0
        centres += [begin, end]
        gains += [0.85 * (intended - level)] * 2
        efforts += [intended] * 2
    gain = np.interp(grid, centres, gains)
    # the gain is computed for vowels: consonants keep most of the level that espeak-ng gave them
    hiss = float(np.mean(gains)) - 2.0
    gain = gaussian_filter1d(gain, 6)
    share = gaussian_filter1d(np.where(voiced, 1.0, 0.35), 1.5)
    gain = share * gain + (1 - share) * hiss
    effort = gaussian_filter1d(np.interp(grid, centres, efforts), 6)
    for begin, end in vowels:
        if end - begin > 0.5:  # crescendo and decrescendo on long notes
            along = np.clip((grid - begin) / (end - begin), 0, 1)
            swell = np.where((grid >= begin) & (grid < end), 1.6 * np.sin(np.pi * along) ** 1.5, 0)
            gain, effort = gain + swell, effort + swell
    return gain + 0.5 * unsteady(grid, 5.0, random), effort


def _extend(envelope: Floats, voiced: NDArray[np.bool_], hissing: NDArray[np.bool_]) -> Floats:
    """Adds high frequencies. espeak-ng's sound ends at 11 kHz, and its vowels have only two narrow bands above 5 kHz.
    From there (fricatives: from 9 kHz) the envelope falls with a smooth slope, with weak peaks for the higher
    formants."""
    result = envelope.copy()
    decibels = float(np.log(10) / 10)
    for rows, low, high, slope in (
        (voiced & ~hissing, 2800.0, 4300.0, 14.0),
        (~voiced | hissing, 7600.0, 9000.0, 15.0),
    ):
        top = (low < BINS) & (high > BINS)
        level = np.log(np.exp(envelope[rows][:, top]).mean(axis=1, keepdims=True) + 1e-16) - 3 * decibels
        bumps = 2.5 * np.cos(2 * np.pi * (BINS - 4200) / 1150) * np.exp(-np.maximum(BINS - 4200, 0) / 5000)
        made = level + (bumps - slope * np.log2(np.maximum(BINS, low) / low)) * decibels
        keep = np.clip((high + 400 - BINS) / 800, 1e-6, 1)
        begin = np.clip((BINS - low) / (high - low), 1e-6, 1)
        result[rows] = np.logaddexp(envelope[rows] + np.log(keep), made + np.log(begin))
    return result


def _warp(envelope: Floats, factors: Floats) -> Floats:
    """Each row stretched along frequency by its factor."""
    position = np.clip(np.arange(envelope.shape[1]) / factors[:, None], 0, envelope.shape[1] - 1.001)
    lower = position.astype(int)
    part = position - lower
    low = np.take_along_axis(envelope, lower, axis=1)
    return np.asarray(low + part * (np.take_along_axis(envelope, lower + 1, axis=1) - low))


def unsteady(grid: Floats, rate: float, random: np.random.Generator) -> Floats:
    """A random curve on `grid` (seconds) with `rate` new values per second, joined by lines; about unit variance."""
    times = np.arange(grid[0], grid[-1] + 2 / rate, 1 / rate)
    return np.asarray(np.interp(grid, times, random.standard_normal(len(times))))
