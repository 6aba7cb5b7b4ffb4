"""A small cover whose quality is known, and what can be done to it."""

from __future__ import annotations

from dataclasses import fields
from functools import lru_cache
from pathlib import Path

import numpy as np

from tests.support.signals import PHRASE, Note, Song, singing, song
from understudy.audio.loudness import measure
from understudy.audio.samples import Audio
from understudy.audio.stored import AudioFile, write_blocks
from understudy.context import Context
from understudy.pipeline.report import AssessInputs, ReportInputs, assess
from understudy.pipeline.separation.quality import assess_separation
from understudy.pipeline.stages.remix import CoverLoudness
from understudy.voices.transpose import Transposition

RATE = 22050
SECONDS = 9.0


LEVEL = np.float32(0.5)  # so that the mix stays below the ceiling


@lru_cache
def original() -> Song:
    whole = song(SECONDS, RATE)
    mix, vocals, instrumental = (
        Audio(LEVEL * part.samples, RATE) for part in (whole.mix, whole.vocals, whole.instrumental)
    )
    return Song(mix, vocals, instrumental, whole.pitch)


@lru_cache
def sung_by_another(transpose: float = 0.0) -> Audio:
    """The melody of `song` from another throat, mono."""
    notes, left = [Note(None, 1.0)], SECONDS - 1.0
    while left > 1e-9:
        note = PHRASE[(len(notes) - 1) % len(PHRASE)]
        pitch = None if note.pitch is None else note.pitch + transpose
        notes.append(Note(pitch, min(left, note.seconds), note.vowel, note.onset))
        left -= note.seconds
    sound = singing(notes, RATE, formants=1.2)[0].read(0, original().mix.frames)
    return Audio(LEVEL * sound.samples, RATE)


def store(folder: Path, name: str, samples: np.ndarray) -> AudioFile:
    audio = Audio.of(samples, RATE)
    return write_blocks(folder / f"{name}.npy", RATE, audio.channels, [audio])


def good_cover(folder: Path, **changes: object) -> ReportInputs:
    """A cover with nothing wrong, some dB below full scale. `changes`: arrays ``[channels, frames]`` for parts
    (the cover is mixed from what `vocals` and `instrumental` then are, unless given), anything else as in
    `ReportInputs` and `AssessInputs`."""
    cover = changes.pop("cover", None)
    assessing = {field.name for field in fields(AssessInputs)}
    before = unassessed(folder, **{name: changes.pop(name) for name in list(changes) if name in assessing})
    if cover is None:
        cover = before.vocals.read().samples + before.instrumental.read().samples
    mixed = store(folder, "cover", cover)  # type: ignore[arg-type]
    context = Context(folder, workers=2)
    original, found = (measure(part, context).summary() for part in (before.song, mixed))
    values: dict[str, object] = {
        "transposition": Transposition(0, 0, "The voice reaches all of it."),
        "key": 0,
        "title": "Known Song",
        "artist": "Nobody",
        "voice": "nova",
        "settings": {"separate": {"model": "embedded"}, "remix": {"vocal_gain": 0.0, "target_lufs": None}},
        "warnings": (("decode", "The song is short."),),
        "loudness": CoverLoudness(original, found, found.true_peak, original.integrated, 0.0, 0.0, 0.0),
    }
    if "quality" not in changes:
        values["quality"] = assess_separation(context, before.song, before.original_vocals, before.instrumental)
    parts = {"cover": mixed, "vocals": before.vocals, "instrumental": before.instrumental}
    return ReportInputs(**{"assessment": assess(context, before), **parts, **values, **changes})  # type: ignore[arg-type]


def unassessed(folder: Path, **changes: object) -> AssessInputs:
    """What `good_cover` is made from."""
    converted = sung_by_another().samples
    parts = {
        "song": original().mix.samples,
        "original_vocals": original().vocals.samples,
        "instrumental": original().instrumental.samples,
        "converted": converted,
        "vocals": np.repeat(converted, 2, axis=0),
    }
    parts.update({name: changes.pop(name) for name in list(parts) if name in changes})  # type: ignore[misc]
    files = {name: store(folder, name, samples) for name, samples in parts.items()}
    values: dict[str, object] = {"pitch": original().pitch, "transpose": 0.0}
    return AssessInputs(**{**files, **values, **changes})  # type: ignore[arg-type]
