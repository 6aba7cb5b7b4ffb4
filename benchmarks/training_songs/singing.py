"""Singing of every kind for training songs: random melodies on random words by the demo's singer, in many voices.

A singer is a random espeak-ng voice with stretched formants, another slope, more or less breath and vibrato; the words
are syllables put together at random and read with the rules of a random language, so that no text is anybody's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from demo import singer
from demo.mixing import panned, room
from demo.score import BEAT, Line, Sung
from demo.singer import RATE, Timbre
from demo.speech import Espeak

Floats = NDArray[np.floating]

_LANGUAGES = ("en-us", "en-us", "en-us", "es", "it", "de", "pt")
_VARIANTS = (
    "m1",
    "m2",
    "m3",
    "m4",
    "m5",
    "m6",
    "m7",
    "m8",
    "f1",
    "f2",
    "f3",
    "f4",
    "f5",
    "klatt",
    "klatt2",
    "klatt3",
    "klatt4",
    "Alex",
    "Alicia",
    "Andrea",
    "Annie",
    "belinda",
    "Diogo",
    "Gene",
    "Jacky",
    "john",
    "Lee",
    "linda",
    "Marco",
    "Mario",
    "Michael",
    "miguel",
    "pablo",
    "paul",
    "rob",
    "robert",
    "steph",
    "travis",
)
_ONSETS = (
    "b",
    "d",
    "f",
    "g",
    "h",
    "k",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "t",
    "v",
    "w",
    "y",
    "st",
    "tr",
    "pl",
    "br",
    "sh",
    "",
    "",
    "l",
    "m",
    "n",
)
_NUCLEI = ("a", "e", "i", "o", "u", "ay", "ee", "oo", "ow", "ai")
_CODAS = ("", "", "", "", "n", "l", "s", "m", "r", "t", "nd", "st", "ng", "k")


@dataclass(frozen=True)
class Singer:
    """`timbre` as the demo's singer takes it; `lowest` and `highest`: MIDI numbers that it sings between."""

    timbre: Timbre
    lowest: int
    highest: int
    language: str

    @staticmethod
    def of(random: np.random.Generator) -> Singer:
        u = random.uniform
        voice = f"{(language := str(random.choice(_LANGUAGES)))}+{random.choice(_VARIANTS)}"
        high = u() < 0.5
        formants = u(1.05, 1.32) if high else u(0.85, 1.12)
        lowest = int(random.integers(54, 62)) if high else int(random.integers(42, 52))
        breathy = u() < 0.25
        timbre = Timbre(
            voice,
            formants,
            u(-3, 3.5),
            u(2, 4) if breathy else u(0.3, 1.6),
            int(random.integers(30, 70)),
            u(0, 7),
            (u(4.6, 6.6), u(0, 45) if u() < 0.8 else u(45, 90)),
        )
        return Singer(timbre, lowest, lowest + int(random.integers(10, 19)), language)


def words(random: np.random.Generator, syllables: int) -> str:
    """About that many syllables of nonsense, in words of one to three."""
    text, left = [], syllables
    while left > 0:
        size = min(left, int(random.choice([1, 1, 1, 2, 2, 3])))
        text.append(
            "".join(
                str(random.choice(_ONSETS)) + str(random.choice(_NUCLEI)) + (str(random.choice(_CODAS)) if last else "")
                for last in [False] * (size - 1) + [True]
            )
        )
        left -= size
    return " ".join(text)


def lead(
    espeak: Espeak, who: Singer, scale: Floats, beat: float, seconds: float, random: np.random.Generator
) -> list[tuple[Line, float]]:
    """Lines on the melody of a random walk through `scale` (MIDI numbers), with the second at which each begins, until
    `seconds`."""
    lines: list[tuple[Line, float]] = []
    range_ = scale[(scale >= who.lowest) & (scale <= who.highest)]
    at = float(random.choice([0, 0, 1, 2, 4])) * beat
    place = int(random.integers(len(range_)))
    slow = random.uniform(0.6, 1.6)
    while at < seconds - 2.0:
        text = words(random, int(random.integers(3, 9)))
        if random.uniform() < 0.15:
            text = " ".join(["la"] * int(random.integers(2, 6)))
        speech, _ = singer._spoken(espeak, text, who.timbre)
        count = sum(phone.vowel for phone in speech.phones)
        if count == 0:
            continue
        notes: list[Sung] = []
        start = 0.5 / BEAT  # room for what is sung before the beat
        for number in range(count):
            place = int(np.clip(place + random.choice([-3, -2, -1, -1, 0, 0, 1, 1, 2, 3]), 0, len(range_) - 1))
            length = beat * slow * float(random.choice([0.5, 0.5, 0.5, 1, 1, 1.5, 2]))
            length = max(0.16, length * (random.uniform(1.2, 3) if number == count - 1 else 1))
            notes.append(Sung(int(range_[place]), start, 0.96 * length / BEAT))
            start += length / BEAT
        lines.append((Line(text, tuple(notes), float(random.uniform(-3, 3))), at))
        rest = float(random.choice([0, 0, 1, 1, 2, 4])) * beat
        at = np.ceil((at + start * BEAT - 0.5 + rest) / beat) * beat
    return lines


def voiced_track(
    espeak: Espeak, who: Singer, lines: list[tuple[Line, float]], seconds: float, seed: int, semitones: int = 0
) -> Floats:
    """All `lines` sung, mono ``[frames]``, by `who`, moved by `semitones`."""
    track = np.zeros(round(seconds * RATE))
    for number, (line, at) in enumerate(lines):
        last = line.notes[-1]
        take = singer.sing(
            espeak, line, who.timbre, (last.start + last.beats) * BEAT + 0.4, seed + number, transpose=semitones
        )
        singer.place(track, take.samples, round((at - 0.5) * RATE))
    return track


def vocals(espeak: Espeak, scale: Floats, beat: float, seconds: float, random: np.random.Generator) -> Floats:
    """A finished vocal stem ``[2, frames]``: lead, perhaps doubles, harmonies, a choir of itself; effects."""
    u = random.uniform
    who = Singer.of(random)
    lines = lead(espeak, who, scale, beat, seconds, random)
    seed = int(random.integers(1 << 30))
    dry = voiced_track(espeak, who, lines, seconds, seed)
    dry /= np.abs(dry).max() + 1e-9
    dry = _compressed(dry, u(0.2, 0.8))
    if u() < 0.1:
        dry = np.tanh(u(2, 8) * dry)
    if u() < 0.15:
        dry = sosfilt(butter(2, [u(150, 400), u(3500, 8000)], "bandpass", fs=RATE, output="sos"), dry)
    if u() < 0.6:  # treble lifted, as most mixes do
        dry = dry + u(0.3, 2.5) * sosfilt(butter(1, u(2500, 6000), "highpass", fs=RATE, output="sos"), dry)
    wide = u() < 0.3
    pan = 0.0 if u() < 0.85 else u(-0.5, 0.5)
    stem = panned(dry, pan) * (u(0.3, 0.9) if wide else 1.0)
    if wide or u() < 0.25:  # doubles to both sides
        for side in (-1, 1):
            stem += u(0.2, 0.7) * panned(_doubled(dry, random), side * u(0.4, 1))
    if u() < 0.45:  # harmonies
        first = int(random.integers(0, max(1, len(lines) // 2)))
        for interval in random.choice([-12, -5, -4, 3, 4, 5, 7, 12], int(random.integers(1, 4)), replace=False):
            other = who if u() < 0.6 else Singer.of(random)
            if other.language != who.language:
                other = who
            second = voiced_track(
                espeak, Singer(who.timbre, 0, 0, ""), lines[first:], seconds, seed + 999, int(interval)
            )
            second /= np.abs(second).max() + 1e-9
            spot = u(0.2, 0.9)
            gain = u(0.15, 0.8)
            stem += gain * (panned(second, -spot) + panned(_doubled(second, random), spot))
    singer._spoken.cache_clear()
    if u() < 0.85:
        long = u() < 0.35
        response = room(random, u(1.8, 5) if long else u(0.4, 1.8), u(0.0, 0.08))
        wet = u(-14, -3) if long else u(-24, -8)
        middle = stem.mean(axis=0)
        stem = stem + 10 ** (wet / 20) * _convolved(middle, response)
    if u() < 0.3:
        stem = _echoed(stem, beat * float(random.choice([0.5, 0.75, 1])), u(0.1, 0.4), random)
    return np.asarray(stem)


def _compressed(sound: Floats, amount: float) -> Floats:
    """Quieter moments raised by `amount` (0..1) of what they lack, over some 50 ms."""
    width = round(0.05 * RATE)
    level = np.sqrt(np.convolve(sound**2, np.ones(width) / width, mode="same")[:: width // 4])
    gain = (level + 0.02) ** (-0.7 * amount)
    return sound * np.interp(np.arange(len(sound)), np.arange(len(gain)) * (width // 4), gain)


def _doubled(sound: Floats, random: np.random.Generator) -> Floats:
    """Another take of the same: late by 8 to 35 ms that wander, and so out of tune by some cents."""
    time = np.arange(len(sound)) / RATE
    late = random.uniform(0.008, 0.035) + random.uniform(0.001, 0.005) * singer.unsteady(time, 1.5, random)
    position = np.clip((time - late) * RATE, 0, len(sound) - 1)
    lower = np.minimum(position.astype(int), len(sound) - 2)
    part = position - lower
    return np.asarray(sound[lower] * (1 - part) + sound[lower + 1] * part)


def _convolved(middle: Floats, response: Floats) -> Floats:
    from scipy.signal import oaconvolve

    return np.array([oaconvolve(middle, side)[: len(middle)] for side in response])


def _echoed(stem: Floats, seconds: float, gain: float, random: np.random.Generator) -> Floats:
    """Three echoes, each weaker and duller, from side to side."""
    result, echo = stem.copy(), stem
    late = round(seconds * RATE)
    dull = butter(1, random.uniform(1500, 6000), fs=RATE, output="sos")
    for _ in range(3):
        echo = gain * sosfilt(dull, np.roll(np.pad(echo, ((0, 0), (late, 0)))[:, : stem.shape[1]], 1, axis=0))
        result += echo
    return result
