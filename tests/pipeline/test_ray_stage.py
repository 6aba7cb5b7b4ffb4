"""What is sent to another machine with a stage, and that it comes out there as the same."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.support.library_voices import recorded_voice
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.models import Weights
from understudy.models.installed import give, usable
from understudy.pipeline.executor import Ready
from understudy.pipeline.graph import Graph, Node, Stage
from understudy.pipeline.shared_store import SharedStore, StoreAddress
from understudy.pipeline.store import Artifact
from understudy.voices.voice import Voice, file_hash

pytest.importorskip("ray")

from ray import cloudpickle

from understudy.pipeline.ray_stage import Order, _Unpacker


def anything(context: Context, **arguments: Any) -> None:
    """Takes whatever there is."""


def sing(context: Context, voice: Voice, song: Path, net: Weights, parts: Any, gain: float, level: Any) -> None:
    """Only its arguments matter."""


def test_arguments_come_out_on_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    here = SharedStore(StoreAddress(str(tmp_path / "shared")), tmp_path / "here")
    there = SharedStore(here.address, tmp_path / "there")
    (tmp_path / "stage_of_stems.py").write_text("def split(context):\n    return {}\n")
    monkeypatch.syspath_prepend(tmp_path)
    first = Node("stems", Stage("stems", 1, import_module("stage_of_stems").split))
    key = Graph.of(first).keys()[first]
    with here.making(key, Event()):
        here.seal(key, Artifact("stems", "cpu", 1.0, (), (), {"vocals": "la", "bass": "bum"}))
    song, weights, config = tmp_path / "a song.mp3", tmp_path / "net.pth", tmp_path / "net.yaml"
    for file in (song, weights, config):
        file.write_text(file.name)
    voice = recorded_voice(tmp_path / "voices")
    net = Weights(weights, file_hash(weights), (Weights(config, file_hash(config)),))
    given: dict[str, Any] = {"voice": voice, "song": song, "net": net, "gain": 1.5}
    node = Node("sing", Stage("sing", 1, sing), {"parts": (first, first["bass"]), "level": first["vocals"]}, given)
    ready = Ready(node, "key", ("nova",), node.inputs, given, {first: key})

    order = Order.of(ready, here, 2)
    assert str(tmp_path / "voices") not in repr(order.arguments)
    del sys.modules["stage_of_stems"]
    unpacker = _Unpacker(order.arguments, there)
    arguments, models = unpacker.load()
    assert models == {}
    assert "stage_of_stems" in sys.modules, "where the classes of its values are"
    assert (arguments["parts"], arguments["level"]) == (({"vocals": "la", "bass": "bum"}, "bum"), "la")
    assert (arguments["song"].name, arguments["song"].read_text()) == ("a song.mp3", "a song.mp3")
    assert unpacker.names == {str(arguments["song"]): str(song)}
    assert arguments["net"].sha256 == net.sha256
    assert arguments["net"].path.read_text() == "net.pth"
    assert arguments["net"].companions[0].path.name == "net.yaml"
    sent: Voice = arguments["voice"]
    assert sent.manifest == voice.manifest
    assert [path.read_bytes() for path in sent.recording_files] == [path.read_bytes() for path in voice.recording_files]
    for path in (arguments["song"], arguments["net"].path, sent.folder):
        assert path.is_relative_to(tmp_path / "there")
    assert {sent.folder, arguments["song"].parent} <= unpacker.used


def test_a_machine_with_other_versions_says_so(tmp_path: Path):
    store = SharedStore(StoreAddress(str(tmp_path / "shared")), tmp_path / "here")
    node = Node("any", Stage("any", 1, anything, packages=("numpy", "not-installed")))
    order = Order.of(Ready(node, "key", (), {}, {}, {}), store, 1)
    assert Order.unpacked(cloudpickle.dumps(order)) == order
    for other, wrong in {
        "understudy": replace(order, version="0.1"),
        "numpy": replace(order, packages={**order.packages, "numpy": "1.0"}),
        "not-installed": replace(order, packages={**order.packages, "not-installed": "1.0"}),
    }.items():
        with pytest.raises(UnderstudyError, match=other) as raised:
            wrong.check()
        assert raised.value.code == "cluster-version"
    with pytest.raises(UnderstudyError, match="doesn't know the stage: No module named 'elsewhere'") as raised:
        Order.unpacked(b"celsewhere\nstage\n.")  # the pickle of elsewhere.stage
    assert raised.value.code == "cluster-version"


def test_models_by_name_are_the_sender_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(give.__globals__, "_given", {})
    sent = Weights(tmp_path / "net", "ab" * 32)
    give({"speaker-encoder": sent, "basic-pitch": None})
    assert usable("speaker-encoder") == sent
    assert usable("basic-pitch") is None
