"""Model files of an engine in the graph: asked for before anything runs, and part of the keys."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.rvc_voices import random_voice
from understudy.errors import UnderstudyError
from understudy.models import Weights
from understudy.pipeline import singing
from understudy.pipeline.conversion_graph import conversion_graph
from understudy.pipeline.settings import CoverSettings
from understudy.voices.voice import Voice


@pytest.fixture
def vocals(tmp_path: Path) -> Path:
    path = tmp_path / "vocals.wav"
    soundfile.write(path, np.zeros(16000, np.float32), 16000)
    return path


@pytest.fixture
def voice(tmp_path: Path) -> Voice:
    return random_voice(tmp_path / "nova", vectors=None)


def test_a_missing_model_is_said_before_anything_runs(
    tmp_path: Path, vocals: Path, voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_MODELS", str(tmp_path / "nothing"))
    with pytest.raises(UnderstudyError) as caught:
        conversion_graph(vocals, voice, CoverSettings())
    assert caught.value.code == "model-missing"
    assert "contentvec" in caught.value.message


def test_another_model_file_makes_another_conversion_and_nothing_else(
    vocals: Path, voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keys(sha256: str) -> dict[str, str]:
        monkeypatch.setattr(singing, "require", lambda _: Weights(vocals, sha256))
        graph = conversion_graph(vocals, voice, CoverSettings()).graph
        return {node.name: key for node, key in graph.keys().items()}

    one, same, other = keys("a" * 64), keys("a" * 64), keys("b" * 64)
    assert one == same
    changed = {name for name in one if one[name] != other[name]}
    assert "convert" in changed
    assert not {"decode", "pitch", "prepare", "transpose"} & changed
