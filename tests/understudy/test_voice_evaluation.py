"""`understudy voices evaluate`, with the instant voice, which needs no weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.python_user import Workspace
from understudy import training_comparison, voice_evaluation
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.services.cli.voice_evaluation import _table
from understudy.voice_evaluation import evaluate_voice
from understudy.voices import library
from understudy.voices.engine import ConversionSettings
from understudy.voices.instant import InstantEngine
from understudy.voices.rvc.training.evaluation import Evaluation, phrase_clips
from understudy.voices.voice import Voice


def test_an_engine_is_measured_on_what_its_voice_has_not_heard(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made_of: list[float] = []
    prepare = InstantEngine.prepare

    def noted(self: InstantEngine, context: Context, voice: Voice) -> Path:
        made_of.append(sum(recording.duration for recording in voice.manifest.recordings))
        return prepare(self, context, voice)

    monkeypatch.setattr(InstantEngine, "prepare", noted)
    monkeypatch.setattr(voice_evaluation, "phrase_clips", lambda reach: phrase_clips(reach)[:1])
    monkeypatch.setattr(training_comparison, "LEAST", 3)
    monkeypatch.setattr(voice_evaluation, "usable", lambda name: None)
    voice = library.load(workspace.folder / "voices", "nova")
    (found,) = evaluate_voice(voice, (), ConversionSettings(), Context(tmp_path))
    whole = sum(recording.duration for recording in voice.manifest.recordings)
    held_out, phrase = found.evaluation.clips
    assert made_of[0] == pytest.approx(0.75 * whole - 0.5, abs=0.05)  # of little, a quarter is held out
    assert (found.engine, found.content, found.heard) == ("instant", None, False)
    assert (held_out.kind, phrase.kind) == ("held-out", "phrase")
    assert held_out.cents is not None
    assert held_out.cents < 15
    assert held_out.intelligibility > 0.4
    means = found.to_dict()["means"]
    assert means["cents"] == pytest.approx((held_out.cents + (phrase.cents or 0)) / 2)
    assert f"{means['cents']:.1f}" in _table([found]).splitlines()[1]
    assert Evaluation.of(found.evaluation.to_dict()) == found.evaluation


def test_an_engine_without_weights_is_refused_by_what_is_missing(workspace: Workspace, tmp_path: Path):
    voice = library.load(workspace.folder / "voices", "nova")
    with pytest.raises(UnderstudyError, match="zero-shot") as caught:
        evaluate_voice(voice, ("zero-shot",), ConversionSettings(), Context(tmp_path))
    assert caught.value.code == "model-missing"
