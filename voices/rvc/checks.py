"""Findings about an RVC model and its index, and the check of a stored voice."""

from __future__ import annotations

from understudy.errors import UnderstudyError
from understudy.voices.recordings import Finding
from understudy.voices.rvc.architecture import CONTENT_CHANNELS
from understudy.voices.rvc.checkpoint import Checkpoint, read_checkpoint
from understudy.voices.rvc.embedders import embedder_models
from understudy.voices.rvc.index import check_index
from understudy.voices.voice import Voice


def check_stored(voice: Voice) -> list[Finding]:
    """Read the stored model and index of `voice` again; returns findings. Raises where they contradict its manifest."""
    model = voice.manifest.model
    assert model is not None
    checkpoint = read_checkpoint(voice.model_file)
    a = checkpoint.architecture
    described = (model.version, model.f0, model.sample_rate, model.speakers, model.embedder)
    if (a.version, a.f0, a.sample_rate, a.speakers, checkpoint.embedder) != described:
        raise _changed(f"the model {voice.model_file}")
    findings = model_findings(checkpoint)
    if voice.index_file is None or model.index is None:
        return [*findings, no_index_finding()]
    found = check_index(voice.index_file)
    if (found.dimension, found.vectors) != (CONTENT_CHANNELS[model.version], model.index.vectors):
        raise _changed(f"the index {voice.index_file}")
    return findings


def model_findings(checkpoint: Checkpoint) -> list[Finding]:
    findings = []
    if checkpoint.training:
        sentence = "It is a training checkpoint, not the finished voice; it works, but usually not as well."
        findings.append(Finding("training-checkpoint", "advice", "", sentence))
    if not checkpoint.architecture.f0:
        sentence = (
            "The model has no pitch guidance (f0): it was trained for speech and does not follow a melody. For singing "
            "use one that was trained with pitch guidance."
        )
        findings.append(Finding("no-pitch-guidance", "problem", "", sentence))
    try:
        embedder_models(checkpoint.embedder)
    except UnderstudyError as error:
        findings.append(Finding("embedder-missing", "problem", "", f"{error.message} {error.hint}"))
    return findings


def no_index_finding() -> Finding:
    sentence = "It has no index. It works without one, but with its added_….index it sounds more like its owner."
    return Finding("no-index", "advice", "", sentence)


def _changed(what: str) -> UnderstudyError:
    return UnderstudyError("model-invalid", f"{what} does not match the voice's manifest.", "Import the voice again.")
