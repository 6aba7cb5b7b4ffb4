"""What a Python developer starts from: a session with two voices, a short song as a file and as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import soundfile

from tests.support.signals import Note, Song, singing, song
from understudy.audio.samples import Audio
from understudy.session import Session

SECONDS = 4.0
RATE = 22050


@dataclass(frozen=True)
class Workspace:
    """A folder with ``song.wav``, ``vocals.wav``, ``instrumental.wav`` and ``recording.wav``, the voices ``nova`` and
    ``ada``, and the same song as arrays."""

    folder: Path
    sounds: Song

    @property
    def mix(self) -> Audio:
        return self.sounds.mix

    def session(self, cache: Path | None = None) -> Session:
        return Session(voices=self.folder / "voices", cache=cache or self.folder / "cache", device="cpu")


def make_workspace(folder: Path) -> Workspace:
    sounds = song(SECONDS, RATE)
    for name, sound in (("song", sounds.mix), ("vocals", sounds.vocals), ("instrumental", sounds.instrumental)):
        soundfile.write(folder / f"{name}.wav", sound.samples.T, sound.rate, subtype="FLOAT")
    steps = zip((0, 2, 4, 5, 7, 5, 4, 2), "aeioaeiu", strict=True)
    notes = [Note(45 + step, 0.8, vowel, "s") for step, vowel in steps]
    sung, _ = singing(notes, RATE, formants=0.9, seed=1)
    soundfile.write(folder / "recording.wav", sung.samples.T, sung.rate, subtype="PCM_16")
    workspace = Workspace(folder, sounds)
    voices = workspace.session().voices
    voices.add("nova", [folder / "recording.wav"], consent="self")
    voices.add("ada", [(sung.samples, round(0.8 * RATE))], consent="granted")
    return workspace
