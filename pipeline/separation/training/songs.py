"""Parts of songs with known stems, as training wants them: float stereo at one rate."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from understudy.audio.files import decode, probe
from understudy.audio.resample import resample
from understudy.audio.samples import Samples
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.evaluation.dataset import BAND, Part, find_songs

RATE = 44100


@dataclass(frozen=True)
class StemSong:
    """A song's stems: `vocals`, and `rest` by name, which sum to the instrumental. `seconds`: of the mixture."""

    name: str
    vocals: Part
    rest: tuple[tuple[str, Part], ...]
    seconds: float

    def read(self, context: Context, start: float, seconds: float) -> dict[str, Samples]:
        """`seconds` from second `start` on of ``vocals`` and the others by name, ``[2, frames]`` at `RATE`, silence
        where the song has ended. Raises what `decode` raises."""
        stems = (("vocals", self.vocals), *self.rest)
        return {name: _part(context, part, start, seconds) for name, part in stems}


def songs_in(folder: Path) -> list[StemSong]:
    """The songs in `folder` that have vocals and an instrumental, or its parts; of MUSDB18's two subsets those to train
    on alone. Raises `UnderstudyError` where there are none."""
    songs = []
    for song in find_songs(folder).songs:
        truth = dict(song.truth)
        rest = ("instrumental",) if "instrumental" in truth else tuple(name for name in BAND if name in truth)
        if "vocals" in truth and rest and song.subset != "test":
            seconds = probe(song.mixture.path).duration or 0.0
            songs.append(StemSong(song.name, truth["vocals"], tuple((name, truth[name]) for name in rest), seconds))
    if not songs:
        raise UnderstudyError(
            "training-songs",
            f"{folder} holds no song with vocals and an instrumental to train on.",
            "A song is a folder with the files mixture, vocals and either instrumental or drums, bass and other.",
        )
    return songs


def _part(context: Context, part: Part, start: float, seconds: float) -> Samples:
    with tempfile.TemporaryDirectory(dir=context.folder) as scratch:
        quiet = Context(Path(scratch), cancelled=context.cancelled)
        path = Path(scratch) / "part.npy"
        sound = resample(decode(quiet, part.path, path, start=start, duration=seconds, track=part.track).read(), RATE)
    wanted = round(seconds * RATE)
    samples = np.repeat(sound.samples, 2, axis=0) if sound.channels == 1 else sound.samples
    return np.asarray(np.pad(samples, ((0, 0), (0, max(0, wanted - samples.shape[1]))))[:, :wanted], np.float32)
