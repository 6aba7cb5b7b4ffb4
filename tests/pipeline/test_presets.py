"""The presets that come with the program."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from understudy.models import catalogue
from understudy.pipeline.cover_graph import cover_graph
from understudy.pipeline.presets import presets
from understudy.pipeline.separating import models_of
from understudy.pipeline.settings import load_settings
from understudy.voices.voice import Manifest, Voice


def test_there_are_four():
    assert set(presets()) == {"embedded", "fast", "balanced", "studio"}


def test_the_default_needs_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("UNDERSTUDY_MODELS", str(tmp_path / "none"))
    soundfile.write(tmp_path / "song.wav", np.zeros(8000), 8000)
    manifest = Manifest(
        name="nova",
        engine="instant",
        sample_rate=16000,
        pitch_range=None,
        recordings=(),
        consent="self",
        created=datetime(2026, 1, 1, tzinfo=UTC),
        content_hash="0" * 64,
    )
    graph = cover_graph(tmp_path / "song.wav", Voice(tmp_path, manifest), load_settings(environment={}))
    assert "convert" in {node.kind for node in graph.graph.nodes}


@pytest.mark.parametrize("name", presets())
def test_its_models_are_in_the_catalogue_and_do_what_they_are_named_for(name: str):
    separation = load_settings(name, environment={}).separation
    groups = {"lead": "karaoke", "dereverb": "dereverb", "denoise": "denoise"}
    for model in models_of(separation):
        assert catalogue()[model].stems
    for step, group in groups.items():
        model = getattr(separation, step)
        assert model is None or catalogue()[model].group == group
    assert (models_of(separation) == ()) == (name == "embedded")


@pytest.mark.parametrize("name", presets())
def test_a_preset_says_whether_stems_sum_to_the_song(name: str):
    written = yaml.safe_load(presets()[name].read_text("utf-8"))
    assert written["separation"]["consistency"] == "residual"


@pytest.mark.parametrize("name", presets())
def test_a_preset_says_what_it_is_for(name: str):
    assert presets()[name].read_text("utf-8").startswith("# ")
