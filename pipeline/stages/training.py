"""The stages that prepare recordings for training: check, slice, and content features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from understudy.audio.stored import AudioFile
from understudy.context import Context
from understudy.models import Weights
from understudy.pipeline.values import stored
from understudy.voices import recording_files, recordings
from understudy.voices.recordings import Finding
from understudy.voices.rvc.embedders import load_embedder
from understudy.voices.rvc.hubert.encoder import Version
from understudy.voices.rvc.training.dataset import silent_clips, write_content
from understudy.voices.rvc.training.slicing import Clips, Piece, slice_recording

for below in (Finding, Piece, Clips):  # of packages that know nothing of the store
    stored(below)


@stored
@dataclass(frozen=True)
class CheckedRecording:
    """`voice`: seconds of voice in it. `unfit`: why no model should be trained on it; empty for most."""

    voice: float
    unfit: tuple[Finding, ...]


def check_recording(context: Context, path: Path, name: str) -> CheckedRecording:
    """Whether the recording at `path` is fit for training; the findings call it `name`."""
    decoded = context.folder / "decoded.npy"
    report = recordings.check(context, recording_files.decode(context.part(0, 0.2), path, decoded), name)
    decoded.unlink()
    return CheckedRecording(report.voice, tuple(recordings.unfit(report)))


def slice_file(context: Context, path: Path, rate: int) -> Clips:
    """The recording at `path` cut into pieces for a model of `rate` Hz."""
    decoded = context.folder / "decoded.npy"
    clips = slice_recording(context.part(0.3, 1), recording_files.decode(context.part(0, 0.3), path, decoded), rate)
    decoded.unlink()
    return clips


def slice_sound(context: Context, sound: AudioFile, rate: int) -> Clips:
    """A separated vocal cut into pieces for a model of `rate` Hz."""
    return slice_recording(context, sound, rate)


def silence(context: Context, rate: int) -> Clips:
    """The silence that belongs to the data of a model of `rate` Hz."""
    return silent_clips(context, rate)


def content(context: Context, clips: Clips, embedder: str, version: Version, models: Mapping[str, Weights]) -> Path:
    """The content features of all pieces. `models`: the files that the embedder needs."""
    return write_content(context, clips, load_embedder(embedder, models, context.device), version)
