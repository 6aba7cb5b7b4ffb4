"""Separators of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from tests.support.signals import song
from understudy.audio.samples import Samples
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.jobs import Runner, SeparationJob, separate_song
from understudy.pipeline.executor import LocalExecutor
from understudy.pipeline.separation.custom import register_separator
from understudy.pipeline.separation.models import find_separator, registered
from understudy.pipeline.separation.separator import separate_with
from understudy.pipeline.separation.settings import InferenceSettings
from understudy.pipeline.settings import load_settings
from understudy.pipeline.store import Store
from understudy.results import SeparationResult

RATE = 16000


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.pipeline.separation.models.registered", registered_ := dict(registered))
    monkeypatch.setattr("understudy.pipeline.separation.custom.registered", registered_)


def half(samples: Samples, rate: int) -> Mapping[str, Samples]:
    assert samples.dtype == np.float32
    assert rate == RATE
    return {"vocals": np.float32(0.5) * samples}


def separate(tmp_path: Path, **options: object) -> SeparationResult:
    import soundfile

    path = tmp_path / "song.wav"
    if not path.exists():
        sound = song(2.0, RATE).mix
        soundfile.write(path, sound.samples.T, RATE, subtype="FLOAT")
    runner = Runner(LocalExecutor(Store(tmp_path / "cache")), lambda event: None, Event())
    settings = load_settings("embedded", {"separation.model": "mine", **options}, {})
    return separate_song(SeparationJob(path, settings, write=False), runner)


def test_it_separates_and_the_rest_is_the_instrumental(tmp_path: Path):
    register_separator("mine", half)
    result = separate(tmp_path)
    vocals, instrumental = np.asarray(result.stems["vocals"]), np.asarray(result.stems["instrumental"])
    assert np.abs(vocals - instrumental).max() < 1e-6
    assert result.sum_to_song


def test_its_version_is_a_part_of_the_cache_key(tmp_path: Path):
    calls = []

    def counted(samples: Samples, rate: int) -> Mapping[str, Samples]:
        calls.append(rate)
        return half(samples, rate)

    register_separator("mine", counted)
    separate(tmp_path)
    separate(tmp_path)
    assert len(calls) == 1
    register_separator("mine", counted, version="2")
    separate(tmp_path)
    assert len(calls) == 2
    register_separator("mine", lambda samples, rate: {"instrumental": samples}, stems=["accompaniment"])
    assert not np.asarray(separate(tmp_path).stems["vocals"]).any()


def test_in_an_ensemble(tmp_path: Path):
    register_separator("mine", half)
    register_separator("silence", lambda samples, rate: {"vocals": 0 * samples})
    result = separate(tmp_path, **{"separation.model": "mine+silence"})
    assert np.asarray(result.stems["vocals"]) == pytest.approx(np.asarray(result.stems["instrumental"]) / 3, abs=1e-6)


@pytest.mark.parametrize(
    ("function", "code"),
    [
        (lambda samples, rate: {"vocals": samples[:, 1:]}, "separator-output-invalid"),
        (lambda samples, rate: {"vocals": samples.astype(np.int16)}, "separator-output-invalid"),
        (lambda samples, rate: {"vocals": samples * np.nan}, "separator-output-invalid"),
        (lambda samples, rate: {"drums": samples}, "separator-output-invalid"),
        (lambda samples, rate: 1 / 0, "separator-failed"),
        (lambda samples, rate: None, "separator-failed"),
    ],
)
def test_what_it_gives_is_checked(tmp_path: Path, function: object, code: str):
    register_separator("mine", function)  # type: ignore[arg-type]
    with pytest.raises(UnderstudyError, match="mine") as caught:
        separate_with(Context(tmp_path), song(1.0, RATE).mix, find_separator("mine"), InferenceSettings())
    assert caught.value.code == code


def test_the_song_is_not_changed_by_it(tmp_path: Path):
    def spoil(samples: Samples, rate: int) -> Mapping[str, Samples]:
        samples *= 0
        return {"vocals": samples}

    register_separator("mine", spoil)
    sound = song(1.0, RATE).mix
    separate_with(Context(tmp_path), sound, find_separator("mine"), InferenceSettings())
    assert sound.samples.any()


@pytest.mark.parametrize("name", ["", "embedded", "htdemucs", "a+b", "a/b", "a b"])
def test_names_that_are_taken_or_mean_something_else(name: str):
    with pytest.raises(UnderstudyError) as caught:
        register_separator(name, half)
    assert caught.value.code == "separator-invalid"


@pytest.mark.parametrize("stems", [[], ["vocals", "vocal"]])
def test_stems_are_named_once(stems: list[str]):
    with pytest.raises(UnderstudyError) as caught:
        register_separator("mine", half, stems=stems)
    assert caught.value.code == "separator-invalid"
    with pytest.raises(UnderstudyError):
        find_separator("mine")
