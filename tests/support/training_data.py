"""Data for training, made of recordings in memory: prepared as the product does it, with the built-in embedder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.support.signals import Note, singing
from understudy.audio.pitch import PitchTrack
from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.voices.rvc.embedders import Cepstral
from understudy.voices.rvc.hubert.encoder import Version
from understudy.voices.rvc.training.dataset import (
    Dataset,
    RecordingData,
    make_dataset,
    silent_clips,
    write_content,
)
from understudy.voices.rvc.training.slicing import slice_recording

Sung = tuple[Audio, PitchTrack]


def sung(seconds: float, rate: int = 16000, seed: int = 0, middle: float = 57, rests: bool = True) -> Sung:
    """A random melody of about so many seconds, in phrases of some four seconds with rests between them."""
    random = np.random.default_rng(seed)
    notes: list[Note] = []
    phrase = 0.0
    while sum(note.seconds for note in notes) < seconds:
        length = float(random.choice([0.25, 0.4, 0.6]))
        vowel = str(random.choice(list("aeiou")))
        notes.append(Note(middle + int(random.integers(-5, 6)), length, vowel, str(random.choice(["", "", "s"]))))
        phrase += length
        if rests and phrase > 4:
            notes.append(Note(None, 0.7))
            phrase = 0.0
    return singing(notes, rate, seed=seed)


def dataset_of(
    folder: Path, recordings: Sequence[Sung], sample_rate: int = 16000, version: Version = "v2", f0: bool = True
) -> Dataset:
    """The recordings ``take 0``, ``take 1`` and so on, with the pitch that they were sung at."""

    def of(name: str, sound: Audio | None, pitch: PitchTrack | None) -> RecordingData:
        place = folder / name
        place.mkdir(parents=True)
        context = Context(place)
        clips = silent_clips(context, sample_rate) if sound is None else slice_recording(context, sound, sample_rate)
        return RecordingData(name, clips, pitch if f0 else None, write_content(context, clips, Cepstral(), version))

    made = [of(f"take {number}", sound, pitch) for number, (sound, pitch) in enumerate(recordings)]
    silence = of("silence", None, PitchTrack(np.zeros(601, np.float32)))
    return make_dataset(made, silence, sample_rate)
