"""Recordings become a dataset, each through nodes of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from tests.support.contentvec_files import SMALL, write_random_contentvec
from tests.support.recording_takes import over_music, take, write
from understudy.context import scratch_context
from understudy.errors import Cancelled, UnderstudyError
from understudy.models.hashes import file_hash, models_folder, stored
from understudy.models.installed import Record, write_record
from understudy.pipeline.executor import LocalExecutor, StageEvent
from understudy.pipeline.separation.settings import SeparationSettings
from understudy.pipeline.stages.training import CheckedRecording
from understudy.pipeline.store import Store
from understudy.pipeline.training_graph import TrainingGraph, check_graph, training_graph
from understudy.voices import library
from understudy.voices.recordings import Finding
from understudy.voices.rvc.training.dataset import Dataset
from understudy.voices.training.settings import TrainingSettings
from understudy.voices.voice import Voice

TINY = TrainingSettings(size="tiny", embedder="cepstral")


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("takes")
    return [
        write(folder / f"take {number}.wav", take(seconds, semitones=number, seed=number))
        for number, seconds in enumerate((12.0, 9.0, 8.0, 8.0))
    ]


@pytest.fixture(scope="module")
def voice(takes: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Voice:
    with scratch_context() as context:
        return library.add(tmp_path_factory.mktemp("voices"), "nova", takes[:3], "self", context)[0]


def made(
    graph: TrainingGraph, folder: Path, listen: Callable[[StageEvent], None] = lambda _: None, stop: Event | None = None
) -> Dataset:
    result = LocalExecutor(Store(folder)).run(graph.graph, graph.targets, listen, stop or Event())
    return graph.dataset(result)


@pytest.fixture(scope="module")
def cache(voice: Voice, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the data of the voice."""
    folder = tmp_path_factory.mktemp("cache")
    made(training_graph(voice, TINY), folder)
    return folder


def finished(graph: TrainingGraph, folder: Path) -> tuple[Dataset, set[str]]:
    """The data, and which nodes had to run."""
    events: list[StageEvent] = []
    data = made(graph, folder, events.append)
    return data, {event.node for event in events if event.state == "finished"}


def test_each_recording_has_nodes_of_its_own(voice: Voice, cache: Path) -> None:
    graph = training_graph(voice, TINY)
    names = {node.name for node in graph.graph.nodes}
    for name in ("take 0.wav", "take 1.wav", "take 2.wav"):
        assert {f"clips {name}", f"pitch {name}", f"content {name}"} <= names
    data, ran = finished(graph, cache)
    assert not ran
    assert data.sample_rate == 16000
    assert [recording.name for recording in data.recordings] == ["take 0.wav", "take 1.wav", "take 2.wav", "silence"]
    assert data.training_seconds + data.held_out_seconds == pytest.approx(29, abs=2)
    voiced = np.concatenate([data.f0(index) for index in data.training]) > 0
    assert 0.5 < voiced.mean() < 0.95


@pytest.mark.slow
def test_a_further_recording_is_all_that_is_computed(
    voice: Voice, cache: Path, takes: list[Path], tmp_path: Path
) -> None:
    shutil.copytree(cache, tmp_path / "cache")
    shutil.copytree(voice.folder.parent, tmp_path / "voices")
    with scratch_context() as context:
        more, _ = library.add_training_recordings(tmp_path / "voices", "nova", takes[3:], "self", context)
    data, ran = finished(training_graph(more, TINY), tmp_path / "cache")
    assert ran == {f"{kind} take 3.wav" for kind in ("clips", "pitch", "content")}
    assert len(data.recordings) == 5


def test_another_embedder_computes_content_alone(
    voice: Voice, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_MODELS", str(tmp_path))
    path = models_folder() / "contentvec.safetensors"
    write_random_contentvec(path, "safetensors", sizes=SMALL)
    write_record(Record(model="contentvec", format=None, weights=stored(path, file_hash(path), "here", trusted=True)))
    old = training_graph(voice, TINY).graph.keys()
    new = training_graph(voice, TINY.model_copy(update={"embedder": "contentvec"})).graph.keys()
    before, after = ({node.name: key for node, key in keys.items()} for keys in (old, new))
    assert {name for name in before if before[name] != after[name]} == {
        "content silence", *(f"content take {number}.wav" for number in range(3))
    }  # fmt: skip


def test_the_settings_that_change_no_data_change_no_key(voice: Voice) -> None:
    def keys(settings: TrainingSettings) -> list[str]:
        return list(training_graph(voice, settings).graph.keys().values())

    other = TINY.model_copy(update={"batch_size": 3, "learning_rate": 1e-3, "seed": 5, "most_steps": 10})
    assert keys(other) == keys(TINY)
    full = TINY.model_copy(update={"size": "full"})
    assert not set(keys(full)) & set(keys(TINY))
    assert len(keys(TINY.model_copy(update={"f0": False}))) == len(keys(TINY)) - 3  # without the pitch


def test_a_missing_embedder_is_said_before_anything_runs(
    voice: Voice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_MODELS", str(tmp_path))
    for name, code in (("contentvec", "model-missing"), ("spin", "embedder-unknown")):
        with pytest.raises(UnderstudyError) as caught:
            training_graph(voice, TINY.model_copy(update={"embedder": name}))
        assert caught.value.code == code


@pytest.mark.slow
def test_stopped_between_nodes_it_goes_on_with_the_next(voice: Voice, cache: Path, tmp_path: Path) -> None:
    graph = training_graph(voice, TINY)
    done: list[str] = []
    for _ in range(20):  # each time it is stopped after one more node
        stop = Event()

        def listen(event: StageEvent, stop: Event = stop) -> None:
            if event.state == "finished":
                done.append(event.node)
                stop.set()

        try:
            data = made(graph, tmp_path, listen, stop)
        except Cancelled:
            continue
        break
    assert len(done) == len(set(done)) == len(graph.graph.nodes), "no node ran twice"
    whole, _ = finished(graph, cache)
    for index in (*whole.training, *whole.held_out):
        assert np.array_equal(whole.sound(index), data.sound(index))
        assert np.array_equal(whole.content(index), data.content(index))
        assert np.array_equal(whole.f0(index), data.f0(index))


def unfit(code: str, name: str = "take 0.wav", voice: float = 10.0) -> CheckedRecording:
    return CheckedRecording(voice, (Finding(code, "problem", name, f"{name}: left out, there is {code}."),))


def test_unfit_recordings_are_left_out_and_said(voice: Voice) -> None:
    hashes = [recording.sha256 for recording in voice.manifest.recordings]
    fine = CheckedRecording(100.0, ())
    for code in ("noisy", "music", "two-speakers"):
        graph = training_graph(voice, TINY, checked={hashes[0]: unfit(code), hashes[1]: fine, hashes[2]: fine})
        assert [prepared.name for prepared in graph.recordings] == ["take 1.wav", "take 2.wav"]
        assert [finding.sentence for finding in graph.findings] == [f"take 0.wav: left out, there is {code}."]


def test_with_little_else_noisy_recordings_are_used_and_those_with_music_are_not(voice: Voice) -> None:
    hashes = [recording.sha256 for recording in voice.manifest.recordings]
    found = {hashes[0]: unfit("noisy"), hashes[1]: unfit("music", "take 1.wav"), hashes[2]: CheckedRecording(8.0, ())}
    graph = training_graph(voice, TINY, checked=found)
    assert [prepared.name for prepared in graph.recordings] == ["take 0.wav", "take 2.wav"]
    assert [finding.sentence for finding in graph.findings] == [
        "take 0.wav: used for want of better ones, there is noisy.",
        "take 1.wav: left out, there is music.",
    ]


def test_all_left_out_is_too_little_and_says_why(voice: Voice, cache: Path) -> None:
    found = {recording.sha256: unfit("music") for recording in voice.manifest.recordings}
    graph = training_graph(voice, TINY, checked=found)
    with pytest.raises(UnderstudyError) as caught:
        made(graph, cache)
    assert caught.value.code == "too-little-data"
    assert "there is music" in caught.value.message


@pytest.mark.slow
def test_music_is_separated_first_where_that_is_requested(takes: list[Path], tmp_path: Path) -> None:
    files = [takes[0], write(tmp_path / "with band.wav", over_music(take(8.0, seed=9), 12))]
    with scratch_context() as context:
        voice, _ = library.add(tmp_path / "voices", "nova", files, "self", context)
    store = Store(tmp_path / "cache")
    checks = check_graph(voice)
    result = LocalExecutor(store).run(checks.graph, list(checks.checked.values()), lambda _: None, Event())
    checked = {sha256: result[node] for sha256, node in checks.checked.items()}
    assert [sorted(finding.code for finding in one.unfit) for one in checked.values()] == [[], ["music"]]
    graph = training_graph(voice, TINY, checked=checked, separation=SeparationSettings())
    names = {node.name for node in graph.graph.nodes}
    assert {"decode with band.wav", "separate with band.wav", "clips with band.wav"} <= names
    assert "separate take 0.wav" not in names
    data = made(graph, tmp_path / "cache")
    assert [recording.name for recording in data.recordings] == ["take 0.wav", "with band.wav", "silence"]
    assert not graph.findings


def test_recordings_of_one_name_are_told_apart(voice: Voice) -> None:
    alike = tuple(one.model_copy(update={"source": "take.wav"}) for one in voice.manifest.recordings)
    same = replace(voice, manifest=voice.manifest.model_copy(update={"recordings": alike}))
    names = [prepared.name for prepared in training_graph(same, TINY).recordings]
    assert names == ["take.wav", "take.wav (2)", "take.wav (3)"]
