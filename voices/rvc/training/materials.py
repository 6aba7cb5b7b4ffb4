"""`Materials`: what a run trains on and is evaluated with, described in the run's folder so that each of its processes,
also a later one, opens the same.

    materials.json      the dataset: paths of sounds and features, and which clips there are
    materials/          sound, features and pitch of each recording, and the clips of the evaluations
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from understudy.audio.pitch import PitchSettings, PitchTrack
from understudy.audio.samples import Audio, AudioSource, View
from understudy.audio.stored import AudioFile, write_blocks
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.voices.engine import Performance
from understudy.voices.rvc.training import evaluation
from understudy.voices.rvc.training.dataset import Clip, Dataset, RecordingData
from understudy.voices.rvc.training.slicing import CONTENT_RATE, TICKS, Clips, Piece
from understudy.voices.training.run_folder import RunFolder
from understudy.voices.voice import PitchRange

FILE = "materials.json"


@dataclass(frozen=True, eq=False)
class Materials:
    """`clips`: those that are sung for an evaluation."""

    dataset: Dataset
    clips: tuple[evaluation.Clip, ...]


def pitch_range(dataset: Dataset) -> PitchRange | None:
    """The range of what is trained on; None where nothing is voiced or the data has no pitch."""
    tracks = [dataset.f0(index) for index in dataset.training] if dataset.recordings[0].pitch is not None else []
    voiced = np.concatenate([f0[f0 > 0] for f0 in tracks]) if tracks else np.zeros(0)
    if not len(voiced):
        return None
    low, median, high = (float(value) for value in np.percentile(voiced, [5, 50, 95]))
    return PitchRange(low=low, median=median, high=high)


def evaluation_clips(context: Context, dataset: Dataset) -> tuple[evaluation.Clip, ...]:
    """What was held out of `dataset`, and phrases of other singers."""
    sounds = [(dataset.recordings[number].name, held) for number, held in held_out_sounds(dataset).items()]
    held_out = evaluation.held_out_clips(context, sounds, PitchSettings())
    return (*held_out, *evaluation.phrase_clips(pitch_range(dataset)))


def held_out_sounds(dataset: Dataset) -> dict[int, Excerpt]:
    """What is held out of each recording, by its number: from the first held-out clip to the end of the last."""
    found: dict[int, Excerpt] = {}
    for number, group in groupby((dataset.clips[index] for index in dataset.held_out), lambda clip: clip.recording):
        clips, sound = list(group), dataset.recordings[number].clips.sound
        tick = sound.rate // TICKS
        found[number] = Excerpt(sound, clips[0].piece.start * tick, max(clip.stop for clip in clips) * tick)
    return found


@dataclass(frozen=True)
class Excerpt(View):
    """The frames `first` to `last` of `source`."""

    source: AudioSource
    first: int
    last: int

    @property
    def frames(self) -> int:
        return self.last - self.first

    def read(self, start: int = 0, stop: int | None = None) -> Audio:
        stop = self.frames if stop is None else stop
        return self.source.read(self.first + start, self.first + stop)


def write_materials(folder: RunFolder, materials: Materials) -> None:
    """Describe `materials` in `folder`. Clips and pitch are written there, sounds and features linked, so
    that they stay when the cache is pruned."""
    dataset, beside = materials.dataset, folder.path / "materials"
    data: dict[str, Any] = {
        "sample_rate": dataset.sample_rate,
        "recordings": [
            {
                "name": recording.name,
                **{
                    name: _linked(folder, beside / f"recording-{number}-{name}.npy", path)
                    for name, path in (
                        ("sound", recording.clips.sound.path),
                        ("content_sound", recording.clips.content_sound.path),
                        ("content", recording.content),
                    )
                },
                "pieces": [_piece(piece) for piece in recording.clips.pieces],
                "pitch": _written(folder, beside / f"recording-{number}.npy", recording.pitch),
                "hop": None if recording.pitch is None else recording.pitch.hop,
            }
            for number, recording in enumerate(dataset.recordings)
        ],
        "clips": [[clip.recording, _piece(clip.piece), clip.frames, clip.row] for clip in dataset.clips],
        "training": list(dataset.training),
        "held_out": list(dataset.held_out),
        "evaluation": [],
    }
    for number, clip in enumerate(materials.clips):
        given, path = clip.performance, beside / f"clip-{number}.npy"
        with folder.placing(path) as part:
            write_blocks(part, given.vocals.rate, given.vocals.channels, [given.vocals.read()])
        data["evaluation"].append(
            {
                "name": clip.name,
                "kind": clip.kind,
                "vocals": str(path),
                "rate": given.vocals.rate,
                "pitch": _written(folder, beside / f"clip-{number}-pitch.npy", given.pitch),
                "hop": given.pitch.hop,
                "transpose": given.transpose,
            }
        )
    folder.write_json(FILE, data)


def read_materials(folder: RunFolder) -> Materials:
    """What `write_materials` described. Raises ``training-data-missing`` where a file of it is gone."""
    try:
        data = json.loads((folder.path / FILE).read_bytes())
        recordings = tuple(_recording(entry, data["sample_rate"]) for entry in data["recordings"])
        for recording in recordings:
            recording.content.stat()
        clips = tuple(Clip(number, Piece(*piece), frames, row) for number, piece, frames, row in data["clips"])
        dataset = Dataset(recordings, clips, tuple(data["training"]), tuple(data["held_out"]), data["sample_rate"])
        return Materials(dataset, tuple(_sung(entry) for entry in data["evaluation"]))
    except (OSError, ValueError, KeyError, TypeError, UnderstudyError) as error:
        raise UnderstudyError(
            "training-data-missing",
            f"The data of the training in {folder.path} can't be read ({error}).",
            "Run 'understudy voices train' again: it makes what is missing.",
        ) from error


def _piece(piece: Piece) -> list[float]:
    return [piece.start, piece.stop, piece.gain]


def _recording(entry: Mapping[str, Any], rate: int) -> RecordingData:
    sounds = AudioFile.open(Path(entry["sound"]), rate), AudioFile.open(Path(entry["content_sound"]), CONTENT_RATE)
    clips = Clips(*sounds, tuple(Piece(*piece) for piece in entry["pieces"]))
    return RecordingData(entry["name"], clips, _pitch(entry), Path(entry["content"]))


def _sung(entry: Mapping[str, Any]) -> evaluation.Clip:
    vocals, pitch = AudioFile.open(Path(entry["vocals"]), entry["rate"]).read(), _pitch(entry)
    if pitch is None:
        raise ValueError(f"{entry['name']} has no pitch")
    return evaluation.Clip(entry["name"], entry["kind"], Performance(vocals, pitch, entry["transpose"]))


def _pitch(entry: Mapping[str, Any]) -> PitchTrack | None:
    return None if entry["pitch"] is None else PitchTrack(np.load(entry["pitch"], allow_pickle=False), entry["hop"])


def _linked(folder: RunFolder, path: Path, source: Path) -> str:
    """`source` under the name `path` as well: a hard link, or a copy where the file system has none."""
    with folder.placing(path) as part:
        part.unlink(missing_ok=True)
        try:
            os.link(source, part)
        except OSError:
            shutil.copyfile(source, part)
    return str(path)


def _written(folder: RunFolder, path: Path, pitch: PitchTrack | None) -> str | None:
    if pitch is None:
        return None
    with folder.placing(path) as part, part.open("wb") as file:
        np.save(file, pitch.f0, allow_pickle=False)
    return str(path)
