"""What there is to know about an RVC model and its index before it sings, and whether stored ones are intact."""

from __future__ import annotations

from understudy.errors import UnderstudyError
from understudy.voices.recordings import Finding
from understudy.voices.rvc.architecture import CONTENT_CHANNELS
from understudy.voices.rvc.checkpoint import Checkpoint, read_checkpoint
from understudy.voices.rvc.index import check_index
from understudy.voices.voice import Voice


def check_stored(voice: Voice) -> list[Finding]:
    """What is to be said of the stored model of `voice`, after its files were read again; raises `UnderstudyError` for
    files that aren't what its manifest tells."""
    model = voice.manifest.model
    assert model is not None
    checkpoint = read_checkpoint(voice.model_file)
    a = checkpoint.architecture
    if (a.version, a.f0, a.sample_rate, a.speakers) != (model.version, model.f0, model.sample_rate, model.speakers):
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
        sentence = "It is a checkpoint of training, not the finished voice; it sings, but mostly not as well."
        findings.append(Finding("training-checkpoint", "advice", "", sentence))
    if not checkpoint.architecture.f0:
        sentence = (
            "The model isn't guided by pitch: it was trained to speak, and follows no melody. For singing take one "
            "that was trained with pitch guidance (f0)."
        )
        findings.append(Finding("no-pitch-guidance", "problem", "", sentence))
    return findings


def no_index_finding() -> Finding:
    sentence = (
        "It has no index. It sings without one; with the added_….index that came along it sounds more like its owner."
    )
    return Finding("no-index", "advice", "", sentence)


def _changed(what: str) -> UnderstudyError:
    return UnderstudyError(
        "model-invalid", f"{what} isn't what the voice's manifest tells of it.", "Import the voice again."
    )
