"""`--engine`: a voice with recordings and a model sings with either, as requested or as it does by default."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import understudy as us
from tests.support.command import Workspace
from tests.support.library_voices import TRAINED
from tests.support.rvc_files import random_weights, small
from understudy.pipeline.cast import parse_voices
from understudy.voices import library
from understudy.voices.rvc.checkpoint import Checkpoint


@pytest.fixture(scope="module")
def trained(shared_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace whose voice nova has a model, too, and ada has none."""
    folder = tmp_path_factory.mktemp("trained")
    vocals, rate = soundfile.read(shared_workspace.folder / "vocals.wav", frames=88200)
    soundfile.write(folder / "vocals.wav", vocals, rate)
    shutil.copytree(shared_workspace.folder / "voices", folder / "voices")
    shutil.copytree(folder / "voices" / "nova", folder / "voices" / "ada")
    root = folder / "voices"
    hashed = library.load(root, "nova").manifest.recordings_hash
    model = Checkpoint(small("v2", True, 1), random_weights(small("v2", True, 1)), {"embedder_model": "cepstral"})
    library.publish_model(root, "nova", hashed, model, None, TRAINED, default=False)
    return Workspace(folder)


def stages(workspace: Workspace, *arguments: str) -> set[str]:
    """The names of what the engines do."""
    drawn = workspace.json("graph", "vocals.wav", "--job", "convert", *arguments)
    return {node["stage"] for node in drawn["nodes"] if node["stage"].startswith("convert")}


def test_the_default_and_the_other_engine(trained: Workspace) -> None:
    assert stages(trained, "--voice", "nova") == {"convert instant"}
    assert stages(trained, "--voice", "nova", "--engine", "rvc") == {"convert rvc"}
    library.sing_with(trained.folder / "voices", "nova", "rvc")
    assert stages(trained, "--voice", "nova") == {"convert rvc"}
    assert stages(trained, "--voice", "nova", "--engine", "instant") == {"convert instant"}
    assert stages(trained, "--voice", "0:00-0:01=nova,0:01-=ada", "--engine", "instant") == {"convert instant"}
    assert stages(trained, "--voice", "0:00-0:01=nova,0:01-=ada") == {"convert rvc", "convert instant"}
    library.sing_with(trained.folder / "voices", "nova", "instant")


def test_a_voice_without_that_engine(trained: Workspace) -> None:
    for voice in ("ada", "0:00-0:01=nova,0:01-=ada"):
        refused = trained.run("convert", "vocals.wav", "--voice", voice, "--engine", "rvc")
        assert refused.returncode == 1
        assert "'ada' has nothing for the engine 'rvc'" in refused.stderr
        assert "understudy voices train 'ada' --engine rvc" in refused.stderr
    assert trained.run("batch", "vocals.wav", "--voice", "ada", "--engine", "rvc").returncode == 1


def test_a_cast_sings_with_one_engine(trained: Workspace) -> None:
    voices = us.VoiceLibrary(trained.folder / "voices")
    cast = parse_voices(["lead=nova", "backing=nova"]).cast(voices.get)
    sung = cast.sung_by("rvc")
    assert {voice.manifest.engine for voice in (*sung.singers, *sung.voices)} == {"rvc"}
    assert sung.content_hash != cast.content_hash
    assert sung.sung_by("instant") == cast == cast.sung_by(None)
    assert sung == parse_voices(["lead=nova", "backing=nova"]).cast(lambda name: voices.get(name, "rvc"))


@pytest.mark.slow
def test_both_engines_sing(trained: Workspace) -> None:
    made: dict[str, Any] = {}
    for engine in ("instant", "rvc"):
        made[engine] = trained.json("convert", "vocals.wav", "--voice", "nova", "--engine", engine)
    sounds = {engine: soundfile.read(trained.folder / one["output"])[0] for engine, one in made.items()}
    assert made["instant"]["output"] != made["rvc"]["output"]  # neither overwrites the other
    assert np.abs(sounds["instant"] - sounds["rvc"]).max() > 0.01
    session = us.Session(voices=trained.folder / "voices", cache=trained.folder / "cache")
    again = session.convert(trained.folder / "vocals.wav", voice="nova", engine="rvc", output=trained.folder / "a.flac")
    assert [stage.name for stage in again.stages if not stage.cached] == []
    voice = session.voices.get("nova")
    by_object = session.convert(
        trained.folder / "vocals.wav", voice=voice, engine="rvc", output=Path(trained.folder / "b.flac")
    )
    assert np.array_equal(np.asarray(by_object.audio), np.asarray(again.audio))
    with pytest.raises(us.UnderstudyError) as missing:
        session.convert(trained.folder / "vocals.wav", voice="ada", engine="rvc")
    assert missing.value.code == "engine-missing"


@pytest.mark.slow
def test_a_cover_with_a_trained_model_is_compared_with_the_recordings(trained: Workspace) -> None:
    made = trained.json(
        "cover", "--vocals", "vocals.wav", "--instrumental", "vocals.wav", "--voice", "nova", "--engine", "rvc"
    )
    assert {stage["name"] for stage in made["stages"]} >= {"convert", "assess"}


@pytest.mark.slow
def test_a_batch_with_an_engine(trained: Workspace) -> None:
    arguments = ("batch", "vocals.wav", "--voice", "nova", "--dry-run")
    first = trained.json(*arguments)
    second = trained.json(*arguments, "--engine", "rvc")
    assert first["to_make"] == second["to_make"] == 1
