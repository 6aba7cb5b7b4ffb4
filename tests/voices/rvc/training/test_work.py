"""The tiny network on a synthetic voice, as `loop` trains it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event
from typing import Any, Literal

import numpy as np
import pytest

from tests.support.training_data import dataset_of, sung
from understudy.audio.pitch import PitchTrack
from understudy.audio.samples import Audio
from understudy.errors import Cancelled, UnderstudyError
from understudy.voices.engine import Performance
from understudy.voices.rvc.checkpoint import read_checkpoint
from understudy.voices.rvc.training.evaluation import Clip
from understudy.voices.rvc.training.materials import (
    Materials,
    evaluation_clips,
    held_out_sounds,
    read_materials,
    write_materials,
)
from understudy.voices.training.run_folder import EVALUATIONS, LOSSES, STOP, Run, RunFolder
from understudy.voices.training.settings import TrainingSettings

pytestmark = pytest.mark.slow

SETTINGS = TrainingSettings(size="tiny", embedder="cepstral", most_steps=6)


KINDS: tuple[tuple[str, Literal["held-out", "phrase"]], ...] = (("take", "held-out"), ("phrase", "phrase"))


@pytest.fixture(scope="module")
def materials(tmp_path_factory):
    dataset = dataset_of(tmp_path_factory.mktemp("data"), [sung(12), sung(8, seed=1)])
    sound, pitch = sung(2, seed=2, rests=False)
    clips = tuple(
        Clip(name, kind, Performance(Audio(sound.samples[:, :24000], 16000), PitchTrack(pitch.f0[:300]), 0.0))
        for name, kind in KINDS
    )
    return Materials(dataset, clips)


def begun(path: Path, materials: Materials, **settings: Any) -> RunFolder:
    folder = RunFolder(path)
    chosen = SETTINGS.model_copy(update=settings)
    folder.begin(
        Run(voice="nova", recordings_hash="0" * 64, settings=chosen, evaluate_every=3, batch_size=2, threads=1)
    )
    write_materials(folder, materials)
    return folder


def go(folder, cancelled=None):
    from understudy.voices.rvc.training.work import go_on

    events: list[Any] = []
    outcome = go_on(folder, "cpu", events.append, cancelled or Event())
    return outcome, events


def contents(folder):
    files = (path for path in folder.path.rglob("*") if path.is_file() and path.suffix != ".pt")
    named = {str(path.relative_to(folder.path)): path.read_bytes() for path in files}
    return {name: data.replace(str(folder.path).encode(), b"RUN") for name, data in named.items()}


def test_materials_come_back_as_they_were(tmp_path, materials):
    again = read_materials(begun(tmp_path / "run", materials))
    dataset = materials.dataset
    assert again.dataset.clips == dataset.clips
    assert (again.dataset.training, again.dataset.held_out) == (dataset.training, dataset.held_out)
    for index in (*dataset.training, *dataset.held_out):
        assert np.array_equal(again.dataset.sound(index), dataset.sound(index))
        assert np.array_equal(again.dataset.content(index), dataset.content(index))
        assert np.array_equal(again.dataset.f0(index), dataset.f0(index))
    for clip, before in zip(again.clips, materials.clips, strict=True):
        assert (clip.name, clip.kind) == (before.name, before.kind)
        assert np.array_equal(clip.performance.pitch.f0, before.performance.pitch.f0)
        assert np.array_equal(clip.performance.vocals.read().samples, before.performance.vocals.read().samples)


def test_a_run_keeps_its_data_when_the_cache_is_pruned(tmp_path):
    data = dataset_of(tmp_path / "cache", [sung(12, seed=1)])
    before = [data.sound(index) for index in data.training]
    folder = begun(tmp_path / "run", Materials(data, ()))
    shutil.rmtree(tmp_path / "cache")
    kept = read_materials(folder).dataset
    assert all(np.array_equal(kept.sound(i), sound) for i, sound in zip(data.training, before, strict=True))
    assert all(len(kept.content(index)) for index in kept.held_out)


def test_what_is_held_out_is_sung_and_nothing_of_it_is_trained_on(materials):
    from understudy.context import scratch_context

    dataset = materials.dataset
    sounds = held_out_sounds(dataset)
    assert sum(sound.frames for sound in sounds.values()) / 16000 >= dataset.held_out_seconds
    for number, sound in sounds.items():
        held = [dataset.clips[index] for index in dataset.held_out if dataset.clips[index].recording == number]
        whole = dataset.recordings[number].clips.sound
        first = held[0].piece.start * 80
        assert np.array_equal(sound.read(0, 1000).samples, whole.read(first, first + 1000).samples)
        trained = [dataset.clips[index] for index in dataset.training if dataset.clips[index].recording == number]
        assert all(clip.stop < held[0].piece.start for clip in trained)
    with scratch_context() as context:
        kinds = [clip.kind for clip in evaluation_clips(context, dataset)]
    assert kinds == ["held-out", "phrase", "phrase", "phrase"]


def test_lost_data_is_an_error(tmp_path, materials):
    folder = begun(tmp_path / "run", materials)
    (folder.path / "materials" / "clip-0.npy").unlink()
    with pytest.raises(UnderstudyError) as raised:
        go(folder)
    assert raised.value.code == "training-data-missing"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, materials):
    folder = begun(tmp_path_factory.mktemp("whole") / "run", materials)
    go(folder)
    return folder


def test_a_run_makes_checkpoints_that_sing(undisturbed):
    checkpoint = read_checkpoint(undisturbed.checkpoint(6))
    assert checkpoint.architecture.sample_rate == 16000
    assert checkpoint.info["embedder_model"] == "cepstral"
    (first, last) = undisturbed.lines(EVALUATIONS)
    assert (first["step"], last["step"]) == (3, 6)
    assert [clip["kind"] for clip in last["clips"]] == ["held-out", "phrase"]
    assert {path.name for path in undisturbed.samples(6).iterdir()} == {"held-0.flac", "phrase-0.flac"}


def test_a_run_that_goes_on_equals_an_undisturbed_one_bit_for_bit(tmp_path, materials, undisturbed):
    folder, cancelled = begun(tmp_path / "run", materials), Event()

    def stop_at_1(event):
        if event.kind == "steps" and event.step == 1:  # heard after the step that follows
            cancelled.set()

    from understudy.voices.rvc.training.work import go_on

    with pytest.raises(Cancelled):
        go_on(folder, "cpu", stop_at_1, cancelled)
    assert folder.states() == [2]
    go(folder)
    assert contents(folder) == contents(undisturbed)


def test_a_run_from_a_base_begins_with_its_weights(tmp_path, materials, undisturbed):
    import torch

    from understudy.voices.rvc.training.networks import weights
    from understudy.voices.rvc.training.pretrained import write_pair
    from understudy.voices.rvc.training.step import new_state
    from understudy.voices.rvc.training.work import architecture_of

    state = new_state(architecture_of(SETTINGS), SETTINGS)
    state.load(undisturbed.load_state()[1]["work"])
    files = tmp_path / "G_6.pth", tmp_path / "D_6.pth"
    write_pair(state, *files, 1, 1e-4)
    folder = begun(tmp_path / "run", materials, most_steps=1, learning_rate=1e-12)
    run = folder.run()
    assert run is not None
    folder.begin(run.model_copy(update={"base": (str(files[0]), str(files[1]))}))
    go(folder)
    made, base = read_checkpoint(folder.checkpoint(1)).weights, weights(state.generator)
    for name, weight in made.items():
        torch.testing.assert_close(weight.float(), base[name], atol=1e-4, rtol=1e-3)  # float16
    files[1].write_bytes(b"no")
    with pytest.raises(UnderstudyError):
        go(folder)


def test_another_seed_gives_another_model(tmp_path, materials, undisturbed):
    folder = begun(tmp_path / "run", materials, seed=7, most_steps=1)
    go(folder)
    assert folder.lines(LOSSES)[0] != undisturbed.lines(LOSSES)[0]


def test_processes_that_train_together(tmp_path, materials):
    folder = begun(tmp_path / "run", materials, most_steps=4)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "understudy.voices.rvc.training", str(folder.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [line["event"]["step"] for line in lines[:-1] if line["event"]["kind"] == "steps"] == [1, 2, 3, 4]
    assert lines[-1]["outcome"]["steps"] == 4
    alone = begun(tmp_path / "alone", materials, most_steps=2)
    go(alone)
    assert folder.lines(LOSSES)[1] != alone.lines(LOSSES)[1], "both processes' gradients count"


@pytest.fixture
def main(monkeypatch, capsys):
    """Runs the module as a process that is alone; returns its exit code and the lines that it printed."""
    from understudy.voices.rvc.training import __main__ as module

    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def run(folder):
        code = module.main(str(folder.path))
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def test_a_process_ends_on_request_and_goes_on(tmp_path, materials, main):
    folder = begun(tmp_path / "run", materials, most_steps=4)
    (folder.path / STOP).write_text("cancel")
    code, lines = main(folder)
    assert (code, lines[-1]["error"]["code"], folder.states()) == (130, "cancelled", [1])
    (folder.path / STOP).write_text("enough")
    code, lines = main(folder)
    assert (code, lines[-1]["outcome"]["steps"], folder.kept()) == (0, 2, [2])


def test_an_error_of_a_process_is_told(tmp_path, materials, main):
    folder = begun(tmp_path / "run", materials)
    (folder.path / "materials" / "clip-0.npy").unlink()
    code, lines = main(folder)
    assert (code, lines[-1]["error"]["code"]) == (1, "training-data-missing")
