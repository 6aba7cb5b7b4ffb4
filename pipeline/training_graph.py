"""The graphs that prepare the recordings of a voice for the training of a model, with nodes of each recording's own: a
further recording is all that is computed when it is added.

    recording ─► check                                  whether it is fit
    recording (─► separate) ─► clips ─┬─► pitch ────┐
                                      └─► content ──┴─► dataset

A recording with music in it is separated first, if that is requested.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from understudy.audio.pitch import PitchSettings, PitchTrack
from understudy.models import require
from understudy.pipeline.executor import Result
from understudy.pipeline.graph import External, Graph, Handle, Node, Stage
from understudy.pipeline.nodes import decode, pitch
from understudy.pipeline.separating import separating
from understudy.pipeline.separation.settings import SeparationSettings
from understudy.pipeline.settings import SongSettings
from understudy.pipeline.stages.training import (
    CheckedRecording,
    check_recording,
    content,
    silence,
    slice_file,
    slice_sound,
)
from understudy.voices.recordings import Finding
from understudy.voices.rvc.embedders import embedder_models
from understudy.voices.rvc.training.dataset import SILENCE, Dataset, RecordingData, make_dataset
from understudy.voices.rvc.training.slicing import Clips
from understudy.voices.training.settings import TrainingSettings
from understudy.voices.voice import Voice

CHECK = Stage("check recording", 2, check_recording, models=("speaker-encoder",))
SLICE = Stage("slice recording", 2, slice_file)
SLICE_SOUND = Stage("slice sound", 2, slice_sound)
SILENT = Stage("silence", 1, silence)
CONTENT = Stage("content", 1, content, uses_gpu=True)

ENOUGH = 60.0  # seconds of voice in fit recordings, above which those with noise or reverberation are left out
_SILENCE = "silence"  # what its nodes are called
_NEVER = ("music", "two-speakers")  # a model would learn to sing these


@dataclass(frozen=True)
class CheckGraph:
    """`checked`: the node of each recording, by its SHA-256."""

    graph: Graph
    checked: Mapping[str, Node[CheckedRecording]]


@dataclass(frozen=True)
class TrainingGraph:
    """`targets`: what must be made for `dataset`. `findings`: about recordings that are left out."""

    graph: Graph
    recordings: tuple[_Prepared, ...]
    silent: _Prepared
    sample_rate: int
    findings: tuple[Finding, ...]

    @property
    def targets(self) -> list[Node[Any]]:
        return [node for prepared in (*self.recordings, self.silent) for node in prepared.nodes]

    def dataset(self, result: Result) -> Dataset:
        """The data, when `result` has the targets. Raises `UnderstudyError` ``too-little-data``."""
        silent = self.silent.data(result)
        if any(prepared.pitch for prepared in self.recordings):
            silent = replace(silent, pitch=PitchTrack(np.zeros(SILENCE + 1, np.float32)))
        made = [prepared.data(result) for prepared in self.recordings]
        return make_dataset(made, silent, self.sample_rate, self.findings)


@dataclass(frozen=True)
class _Prepared:
    """The nodes of a recording."""

    name: str
    clips: Node[Clips]
    pitch: Node[PitchTrack] | None
    content: Node[Path]

    @property
    def nodes(self) -> list[Node[Any]]:
        return [self.clips, self.content, *([self.pitch] if self.pitch else [])]

    def data(self, result: Result) -> RecordingData:
        return RecordingData(
            self.name, result[self.clips], result[self.pitch] if self.pitch else None, result[self.content]
        )


def check_graph(voice: Voice) -> CheckGraph:
    """Checks which recordings of the voice are fit for training, those that it is made from as well."""
    checked = {
        file.content_hash: Node("check", CHECK, {}, {"name": name}, {"path": file}, name)
        for name, file in named_recordings(voice)
    }
    return CheckGraph(Graph.of(*checked.values()), checked)


def training_graph(
    voice: Voice,
    settings: TrainingSettings,
    pitch_settings: PitchSettings | None = None,
    checked: Mapping[str, CheckedRecording] | None = None,
    separation: SeparationSettings | None = None,
) -> TrainingGraph:
    """How the recordings of `voice`, those for training alone as well, become the data of a model.

    `checked`: what `check_graph` found, by SHA-256; recordings with music or a second speaker are left out, those with
    noise, reverberation or clipping if a minute of voice is left without them. Given `separation`, what is sung in
    recordings with music is separated from it. Raises `UnderstudyError` ``embedder-unknown``, ``model-missing`` and
    what `separating` raises, before anything runs.
    """
    rate = 16000 if settings.size == "tiny" else settings.sample_rate
    found = checked or {}
    kept, findings = fit_recordings(named_recordings(voice), found, separation is not None)
    models = {name: require(name) for name in embedder_models(settings.embedder)}
    encoder = External(models, " ".join(f"{name}:{weights.content_hash}" for name, weights in models.items()))

    def prepared(name: str, clips: Node[Clips], tracked: bool) -> _Prepared:
        plain = {"embedder": settings.embedder, "version": settings.version}
        features = Node("content", CONTENT, {"clips": clips}, plain, {"models": encoder}, name)
        track = pitch(clips["content_sound"], pitch_settings or PitchSettings(), name) if tracked else None
        return _Prepared(name, clips, track, features)

    def clips(name: str, file: External) -> Node[Clips]:
        plain = {"rate": rate}
        checks = found.get(file.content_hash)
        if separation is not None and checks is not None and any(fault.code == "music" for fault in checks.unfit):
            sound = _separated(name, file, separation)
            return Node("clips", SLICE_SOUND, {"sound": sound}, plain, subject=name)
        return Node("clips", SLICE, {}, plain, {"path": file}, name)

    made = tuple(prepared(name, clips(name, file), settings.f0) for name, file in kept)
    silent = prepared(_SILENCE, Node("clips", SILENT, {}, {"rate": rate}, subject=_SILENCE), False)
    graph = Graph.of(*(node for part in (*made, silent) for node in part.nodes))
    return TrainingGraph(graph, made, silent, rate, tuple(findings))


def named_recordings(voice: Voice) -> list[tuple[str, External]]:
    """Each recording once, by a name that no other has."""
    stored = dict(zip(voice.recording_files, voice.manifest.recordings, strict=True))
    stored |= zip(voice.training_files, voice.manifest.training_recordings, strict=True)
    once = {recording.sha256: (path, recording) for path, recording in stored.items()}
    taken: Counter[str] = Counter([_SILENCE])
    found = []
    for sha256, (path, recording) in once.items():
        taken[recording.source] += 1
        count = taken[recording.source]
        name = recording.source if count == 1 else f"{recording.source} ({count})"
        found.append((name, External(path, sha256, (voice.manifest.identity,))))
    return found


def fit_recordings(
    recordings: list[tuple[str, External]], checked: Mapping[str, CheckedRecording], separated: bool
) -> tuple[list[tuple[str, External]], list[Finding]]:
    """The recordings to train on, and findings about the others."""
    faults: dict[str, list[Finding]] = {}
    fit = 0.0  # seconds of voice
    for _, file in recordings:
        found = checked.get(file.content_hash)
        unfit = () if found is None else found.unfit
        faults[file.content_hash] = [fault for fault in unfit if not (separated and fault.code == "music")]
        if found is not None and not faults[file.content_hash]:
            fit += found.voice
    kept, findings = [], []
    for name, file in recordings:
        reasons = faults[file.content_hash]
        use = not reasons or (fit < ENOUGH and not any(fault.code in _NEVER for fault in reasons))
        if use:
            kept.append((name, file))
        findings += [
            replace(fault, sentence=fault.sentence.replace("left out, ", "used for want of better ones, ", 1))
            if use
            else fault
            for fault in reasons
        ]
    return kept, findings


def _separated(name: str, file: External, settings: SeparationSettings) -> Handle:
    """What is sung in a recording."""
    return separating(decode(file, SongSettings(), name), settings, name).lead
