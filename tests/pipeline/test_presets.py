"""The presets that come with the program."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.cover import cover_graph
from pipeline.settings import load_settings, presets
from voices.voice import Manifest, Voice


def test_there_are_three():
    assert {"embedded", "balanced", "studio"} <= set(presets())


@pytest.mark.parametrize("name", presets())
def test_none_needs_a_model_that_an_instant_voice_does_not(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
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
    graph = cover_graph(tmp_path / "song.wav", Voice(tmp_path, manifest), load_settings(name, environment={}))
    assert "convert" in {node.name for node in graph.nodes}


@pytest.mark.parametrize("name", presets())
def test_a_preset_says_what_it_is_for(name: str):
    assert presets()[name].read_text("utf-8").startswith("# ")
