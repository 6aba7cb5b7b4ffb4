"""What a stranger may ask of a separation."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.separators import tiny_roformer
from understudy.errors import UnderstudyError
from understudy.pipeline.separation.settings import SeparationSettings
from understudy.pipeline.settings import load_settings
from understudy.services.api.job_requests import check_separation


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models folder."""
    monkeypatch.setenv("UNDERSTUDY_MODELS", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def refused(settings: SeparationSettings, used: bool = True) -> UnderstudyError:
    with pytest.raises(UnderstudyError) as raised:
        check_separation(settings, used)
    return raised.value


def test_a_file_of_the_models_folder_goes_by_its_name(folder: Path):
    tiny_roformer(folder / "mine.ckpt", ("vocals", "other"), 1)
    for name in ("mine", "mine.ckpt", "embedded+mine"):
        check_separation(SeparationSettings(model=name), True)
    for name in (str(folder / "mine.ckpt"), "../models/mine.ckpt", "./mine.ckpt"):
        assert refused(SeparationSettings(model=name)).code == "separator-unknown"


def test_what_the_server_lacks_is_said_without_its_folders(folder: Path):
    studio = load_settings("studio", environment={}).separation
    error = refused(studio)
    assert error.code == "models-missing"
    assert "mel-roformer-kim" in error.message
    assert str(folder) not in f"{error.message} {error.hint}"
    check_separation(studio, used=False)
    error = refused(SeparationSettings(model="mel-roformer-kim"))
    assert error.code == "model-missing"
    assert str(folder) not in f"{error.message} {error.hint}"


def test_a_broken_file_is_not_described_to_strangers(folder: Path):
    (folder / "broken.ckpt").write_bytes(b"weights")
    error = refused(SeparationSettings(lead="broken"))
    assert error.code.startswith("model-")
    assert str(folder) not in f"{error.message} {error.hint}"
