"""Singing that separators and pitch trackers aren't made for, as small songs with a band and a rest of silence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from tests.support.signals import PHRASE, VOWELS, Floats, Note, band, singing
from understudy.audio.samples import Audio

SILENCE = (2.0, 3.0)
"""Seconds at which the whole song pauses."""


def song(kind: str, seconds: float, rate: int = 22050) -> tuple[Audio, Audio]:
    """The mix and its vocal, ``[2, frames]``. `kind`: one of `KINDS`."""
    frames = round(seconds * rate)
    vocal = np.zeros(frames)
    sung = KINDS[kind](seconds, rate)[:frames]
    vocal[: len(sung)] = 0.1 * sung / np.sqrt(np.mean(sung**2))
    heard = np.ones(frames)
    heard[round(SILENCE[0] * rate) : round(SILENCE[1] * rate)] = 0
    # 10 ms of fade, so that the song itself doesn't click
    size = round(0.01 * rate)
    window = np.hanning(size) / np.hanning(size).sum()
    heard = np.minimum(heard, np.convolve(np.pad(heard, size, "edge"), window, "same")[size:-size])
    vocals = Audio.of(np.tile(vocal * heard, (2, 1)), rate)
    return Audio(vocals.samples + band(seconds, rate).samples[:, :frames] * heard.astype(np.float32), rate), vocals


def _melody(seconds: float, move: float = 0.0, length: float = 1.0) -> list[Note]:
    """`PHRASE` again and again, moved by semitones."""
    notes = [
        replace(note, pitch=None if note.pitch is None else note.pitch + move, seconds=length * note.seconds)
        for note in PHRASE
    ]
    return notes * int(np.ceil(seconds / sum(note.seconds for note in notes)))


def _sum(parts: Sequence[Floats]) -> Floats:
    size = min(len(one) for one in parts)
    return np.asarray(np.sum([one[:size] for one in parts], axis=0))


def _voice(notes: Sequence[Note], rate: int, **kind: float) -> Floats:
    seed = int(kind.pop("seed", 0))
    return np.asarray(singing(notes, rate, seed=seed, **kind)[0].samples[0], np.float64)


def _solo(seconds: float, rate: int) -> Floats:
    """One singer, nothing unusual."""
    return _voice(_melody(seconds), rate)


def _duet(seconds: float, rate: int) -> Floats:
    """Two singers in thirds."""
    return _sum([_voice(_melody(seconds), rate), _voice(_melody(seconds, 4), rate, formants=1.2, seed=1)])


def _choir(seconds: float, rate: int) -> Floats:
    """Eight singers in two octaves, none exactly in tune or in time."""
    random = np.random.default_rng(0)
    voices = []
    for number in range(8):
        notes = _melody(seconds, 12 * (number % 2) + random.normal(0, 0.12))
        sound = _voice(notes, rate, formants=1 + 0.03 * number, seed=number)
        voices.append(np.roll(sound, round(random.uniform(0, 0.03) * rate)))
    return _sum(voices)


def _rap(seconds: float, rate: int) -> Floats:
    """Seven syllables a second, falling, every third one with a sibilant."""
    random = np.random.default_rng(1)
    vowels = sorted(VOWELS)
    notes = [
        Note(None, 0.2) if number % 13 == 12
        else Note(48 - 0.4 * (number % 13) + random.normal(), 0.14, vowels[number % 5], "" if number % 3 else "s")
        for number in range(int(seconds / 0.14))
    ]  # fmt: skip
    return _voice(notes, rate, vibrato=0)


def _growl(seconds: float, rate: int) -> Floats:
    """Every other period is softer, and the throat is noisy."""
    notes = _melody(seconds, -5)
    sound, pitch = singing(notes, rate, breath=0.2)
    f0 = np.interp(np.arange(sound.frames) / rate, np.arange(pitch.frames) * pitch.hop, pitch.f0)
    return sound.samples[0] * (1 + 0.7 * np.sin(np.pi * np.cumsum(f0) / rate))


def _whistle(seconds: float, rate: int) -> Floats:
    """Tones of the whistle register: 1.8 to 2.6 kHz, hardly any overtones."""
    _, pitch = singing(_melody(seconds, 36), rate)
    frames = round(seconds * rate)
    f0 = np.interp(np.arange(frames) / rate, np.arange(pitch.frames) * pitch.hop, pitch.f0)
    gate = np.convolve(f0 > 0, np.ones(rate // 50) / (rate // 50), "same")
    phase = 2 * np.pi * np.cumsum(f0) / rate
    return np.asarray(gate * (np.sin(phase) + 0.05 * np.sin(2 * phase)))


def _vocoder(seconds: float, rate: int) -> Floats:
    """The vowels of the melody on a chord that stands still."""
    chord = (45, 52, 57, 61)
    return _sum(
        [
            _voice(
                [note if note.pitch is None else replace(note, pitch=pitch) for note in _melody(seconds)],
                rate,
                vibrato=0,
            )
            for pitch in chord
        ]
    )


KINDS: dict[str, Callable[[float, int], Floats]] = {
    "solo": _solo,
    "duet": _duet,
    "choir": _choir,
    "rap": _rap,
    "growl": _growl,
    "whistle": _whistle,
    "vocoder": _vocoder,
}
