"""Takes of a synthetic voice, and the ways in which takes go wrong, for the tests of the library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import butter, fftconvolve, sosfilt

from tests.support.signals import PHRASE, Note, band, singing
from understudy.audio.samples import Audio


def take(
    seconds: float = 8.0, rate: int = 24000, *, formants: float = 1.0, semitones: float = 0, seed: int = 0
) -> Audio:
    """`PHRASE` sung again and again, each time a little higher."""
    notes = []
    for turn in range(int(np.ceil(seconds / 4))):
        for note in PHRASE:
            pitch = None if note.pitch is None else note.pitch + semitones + turn % 3
            notes.append(Note(pitch, note.seconds, note.vowel, note.onset))
    sound, _ = singing(notes, rate, formants=formants, seed=seed)
    return sound.read(0, round(seconds * rate))


def write(path: Path, sound: Audio, subtype: str = "PCM_24") -> Path:
    soundfile.write(path, sound.samples.T, sound.rate, subtype=subtype)
    return path


def with_noise(sound: Audio, snr: float) -> Audio:
    noise = np.random.default_rng(1).standard_normal(sound.frames)
    return Audio.of(sound.samples[0] + noise * _rms(sound) * 10 ** (-snr / 20), sound.rate)


def clipped(sound: Audio, decibels: float) -> Audio:
    peak = np.abs(sound.samples).max()
    return Audio(np.clip(sound.samples / peak * np.float32(10 ** (decibels / 20)), -0.9, 0.9), sound.rate)


def in_a_room(sound: Audio, seconds: float) -> Audio:
    """Reverberation time `seconds`, as strong as the direct sound."""
    count = int(seconds * sound.rate)
    tail = np.random.default_rng(2).standard_normal(count) * 10 ** (-3 * np.arange(count) / count)
    tail[: int(0.01 * sound.rate)] = 0
    tail /= np.sqrt(np.sum(tail**2))
    wet = fftconvolve(sound.samples[0], tail)[: sound.frames]
    return Audio.of(0.7 * (sound.samples[0] + wet), sound.rate)


def over_music(sound: Audio, snr: float) -> Audio:
    music = band(sound.duration, sound.rate).mono()
    music = music.read(0, sound.frames)
    return Audio.of(sound.samples + music.samples * (_rms(sound) / _rms(music) * 10 ** (-snr / 20)), sound.rate)


def by_telephone(sound: Audio) -> Audio:
    return Audio.of(sosfilt(butter(8, 3400, fs=sound.rate, output="sos"), sound.samples), sound.rate)


def _rms(sound: Audio) -> float:
    return float(np.sqrt(np.mean(sound.samples**2)))
