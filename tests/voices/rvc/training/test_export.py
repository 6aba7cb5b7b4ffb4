from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from tests.support.library_voices import recorded_voice
from understudy.errors import UnderstudyError
from understudy.voices.rvc.architecture import tiny
from understudy.voices.rvc.training.export import export_training, runs_of
from understudy.voices.rvc.training.pretrained import read_base
from understudy.voices.rvc.training.step import new_state
from understudy.voices.training.loop import Position
from understudy.voices.training.run_folder import Run, RunFolder
from understudy.voices.training.settings import TrainingSettings
from understudy.voices.voice import Voice

SETTINGS = TrainingSettings(size="tiny", embedder="cepstral")


@pytest.fixture
def voice(tmp_path: Path) -> Voice:
    return recorded_voice(tmp_path / "voices")


def begun(voice: Voice, path: Path, seed: int, *, epoch: int = 3) -> None:
    """A run of `voice` whose state has random weights."""
    folder = RunFolder(path)
    settings = SETTINGS.model_copy(update={"seed": seed})
    recordings = voice.manifest.recordings_hash
    folder.begin(Run(voice=voice.name, recordings_hash=recordings, settings=settings, evaluate_every=5, batch_size=2))
    state = new_state(tiny("v2"), settings)
    folder.save_state(20, {"position": asdict(Position(2, step=20, epoch=epoch)), "work": state.to_dict()})


@pytest.mark.slow
def test_the_newest_state_of_the_voice_is_written_as_a_pair(voice: Voice, tmp_path: Path) -> None:
    trainings = tmp_path / "training"
    begun(recorded_voice(tmp_path / "voices", "other", takes=1), trainings / "c", 3)
    begun(voice, trainings / "a", 1)
    begun(voice, trainings / "b", 2)
    files = export_training(voice, trainings, tmp_path / "out")
    assert [file.name for file in files] == ["G_20.pth", "D_20.pth"]
    base = read_base(files[0], files[1], tiny("v2"))
    wanted = new_state(tiny("v2"), SETTINGS.model_copy(update={"seed": 2})).to_dict()["generator"]
    assert all(torch.equal(base.generator[name], tensor) for name, tensor in wanted.items())
    assert torch.load(files[0], weights_only=True)["iteration"] == 3
    with pytest.raises(UnderstudyError, match="exists already"):
        export_training(voice, trainings, tmp_path / "out")
    assert export_training(voice, trainings, tmp_path / "out", tool="applio", replace_files=True) == files


def test_a_voice_that_was_not_trained_here_has_nothing_to_export(voice: Voice, tmp_path: Path) -> None:
    (tmp_path / "training" / "x").mkdir(parents=True)
    (tmp_path / "training" / "x" / "run.json").write_text("{")
    assert list(runs_of(voice, tmp_path / "training")) == []
    with pytest.raises(UnderstudyError) as told:
        export_training(voice, tmp_path / "training", tmp_path / "out")
    assert told.value.code == "training-missing"
    assert not (tmp_path / "out").exists()
