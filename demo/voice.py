"""Recordings of the voice to clone: a male voice that speaks two sentences and sings a scale and a phrase."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyworld
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from demo import files
from demo.score import BEAT, SCALE_LINES, SENTENCES
from demo.singer import HOP, RATE, TARGET, analyse, sing, unsteady
from demo.speech import Espeak
from understudy.audio.encode import OutputFormat
from understudy.audio.tags import Tags

Floats = NDArray[np.floating]


def spoken(espeak: Espeak, sentence: str, random: np.random.Generator, middle: float = 142.0) -> Floats:
    """A sentence with espeak-ng's own intonation, its pitch moved to around `middle` Hz, with slight random
    variation."""
    speech = espeak.say(sentence, TARGET.voice, speed=150, pitch=TARGET.pitch, intonation=65)
    frames = analyse(speech, TARGET)
    grid = np.arange(len(frames.f0)) * HOP
    original = np.where(frames.f0 > 0, frames.f0, 1.0)
    centre = np.exp(np.median(np.log(original[frames.f0 > 0])))
    falling = np.interp(grid, [0, grid[-1]], [1.5, -2.0]) / 12  # declination over the sentence, octaves
    wander = (12 * unsteady(grid, 3, random) + 6 * unsteady(grid, 40, random)) / 1200
    f0 = np.where(frames.voiced, np.maximum(88.0, middle * (original / centre) ** 1.1 * 2 ** (falling + wander)), 0.0)
    envelope = frames.envelope + 0.1 * unsteady(grid, 8, random)[:, None]
    end = np.flatnonzero(frames.voiced)[-1] * HOP  # fade out, so that no single pulse is left after the last word
    envelope = envelope - np.clip((grid - end + 0.07) / 0.07, 0, 1)[:, None] * 9.0
    sound = pyworld.synthesize(
        np.ascontiguousarray(f0), np.exp(envelope), np.ascontiguousarray(frames.aperiodicity), RATE, HOP * 1000
    )
    return np.asarray(sosfiltfilt(butter(2, 60, "highpass", fs=RATE, output="sos"), sound))


def recordings(espeak: Espeak, seed: int) -> dict[str, Floats]:
    """Sound by file name, mono ``[frames]``, peaks at -3 dBFS, with a noise floor of -72 dBFS like that of a
    microphone."""
    random = np.random.default_rng(seed)
    made: dict[str, Floats] = {}
    talk: list[Floats] = [np.zeros(RATE // 4)]
    for sentence in SENTENCES:
        talk += [spoken(espeak, sentence, random), np.zeros(round(0.35 * RATE))]
    made["speaking"] = np.concatenate(talk)
    song: list[Floats] = []
    for line in SCALE_LINES:
        last = line.notes[-1]
        song.append(sing(espeak, line, TARGET, (last.start + last.beats) * BEAT + 0.4, seed + len(song)).samples)
    made["singing"] = np.concatenate(song)
    floor = 10 ** (-72 / 20)
    for name, sound in made.items():
        sound = sound * 10 ** (-3 / 20) / np.abs(sound).max()
        made[name] = sound + floor * random.standard_normal(len(sound))
    return made


def write(folder: Path, espeak: Espeak, seed: int) -> None:
    for name, sound in recordings(espeak, seed).items():
        files.write(folder / f"{name}.flac", sound, OutputFormat(name="flac16"), Tags(title=f"A voice, {name}"))
