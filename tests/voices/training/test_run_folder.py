from __future__ import annotations

import errno
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch

from understudy.errors import UnderstudyError
from understudy.voices.training.run_folder import (
    CHOSEN,
    EVALUATIONS,
    LOSSES,
    Run,
    RunFolder,
    held,
    remove_runs,
    runs_size,
)
from understudy.voices.training.settings import TrainingSettings


@pytest.fixture
def folder(tmp_path):
    made = RunFolder(tmp_path / "run")
    made.begin(
        Run(voice="nova", recordings_hash="0" * 64, settings=TrainingSettings(), evaluate_every=10, batch_size=4)
    )
    return made


def saved(folder, *steps):
    for step in steps:
        folder.save_state(step, {"step": step, "weight": torch.full((100,), float(step))})


def test_what_was_begun_comes_back(folder):
    run = folder.run()
    assert run is not None
    assert (run.voice, run.evaluate_every, run.settings) == ("nova", 10, TrainingSettings())


def test_nothing_begun(tmp_path):
    folder = RunFolder(tmp_path / "none")
    assert folder.run() is None
    assert folder.load_state() is None
    assert folder.lines(LOSSES) == []
    assert folder.chosen() is None


def test_a_damaged_description_is_an_error(folder):
    (folder.path / "run.json").write_text("{")
    with pytest.raises(UnderstudyError) as raised:
        folder.run()
    assert raised.value.code == "training-unreadable"


def test_the_newest_two_states_stay(folder):
    saved(folder, 5, 10, 15)
    assert folder.states() == [15, 10]
    step, state = folder.load_state()
    assert step == 15
    assert torch.equal(state["weight"], torch.full((100,), 15.0))


def test_of_the_older_ones_those_to_keep_stay(folder):
    for step in (0, 5, 10, 12, 14, 20, 23):
        folder.save_state(step, {"step": step}, keep=lambda step: step % 10 == 0)
        assert len(folder.states()) <= 2
    assert folder.states() == [23, 20]
    assert folder.load_state(most=20)[0] == 20


@pytest.mark.parametrize("left", [0, 1, 100, 700])
def test_a_truncated_state_falls_back(folder, left):
    saved(folder, 5, 10)
    newest = folder.path / "state-10.pt"
    newest.write_bytes(newest.read_bytes()[:left])
    step, state = folder.load_state()
    assert (step, state["step"]) == (5, 5)


def test_no_state_that_can_be_read_is_an_error(folder):
    saved(folder, 5)
    (folder.path / "state-5.pt").write_bytes(b"PK")
    with pytest.raises(UnderstudyError) as raised:
        folder.load_state()
    assert raised.value.code == "training-unreadable"


def test_a_full_disk_leaves_the_state_before(folder, monkeypatch):
    saved(folder, 5, 10)

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UnderstudyError) as raised:
        saved(folder, 15)
    assert raised.value.code == "disk-full"
    assert folder.states() == [10, 5]
    assert not list(folder.path.glob(".*.part"))


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs limits of file sizes")
def test_a_disk_that_fills_while_torch_writes(folder):
    import resource

    saved(folder, 5)
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(UnderstudyError) as raised:
            folder.save_state(10, {"weight": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert raised.value.code == "disk-full"
    assert folder.load_state()[0] == 5


def test_rewinding_removes_what_is_newer(folder):
    saved(folder, 10, 20)
    for step in (10, 20):
        folder.append(LOSSES, {"step": step, "mel": 1 / step})
        folder.append(EVALUATIONS, {"step": step})
        with folder.placing(folder.checkpoint(step)) as part:
            part.write_bytes(b"weights")
        folder.samples(step).mkdir(parents=True)
    folder.write_json(CHOSEN, {"step": 20})
    with (folder.path / LOSSES).open("ab") as file:
        file.write(b'{"step": 3')  # a kill in the middle of a line
    folder.rewind(10)
    assert (folder.states(), folder.kept()) == ([10], [10])
    assert folder.lines(LOSSES) == [{"step": 10, "mel": 0.1}]
    assert folder.lines(EVALUATIONS) == [{"step": 10}]
    assert folder.chosen() is None
    assert folder.samples(10).exists()
    assert not folder.samples(20).exists()
    folder.append(LOSSES, {"step": 11})
    assert [line["step"] for line in folder.lines(LOSSES)] == [10, 11]


def test_a_voice_is_trained_once_at_a_time(tmp_path):
    lock = tmp_path / "locks" / "nova.lock"
    with held(lock, "nova"):
        with pytest.raises(UnderstudyError) as raised, held(lock, "nova"):
            pass
        assert raised.value.code == "training-running"
    with held(lock, "nova"):
        pass


@pytest.mark.slow
def test_a_killed_process_holds_nothing(tmp_path):
    lock = tmp_path / "nova.lock"
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_hold, args=(lock, theirs))
    process.start()
    assert ours.recv() == "held"
    with pytest.raises(UnderstudyError), held(lock, "nova"):
        pass
    process.kill()
    process.join()
    with held(lock, "nova"):
        pass


def _hold(lock, pipe):
    with held(lock, "nova"):
        pipe.send("held")
        pipe.recv()


def test_runs_are_removed_unless_they_are_being_trained(tmp_path: Path) -> None:
    trainings = tmp_path / "training"
    for name, recordings in (("a", "1" * 64), ("b", "2" * 64)):
        run = Run(voice=name, recordings_hash=recordings, settings=TrainingSettings(), evaluate_every=1, batch_size=1)
        RunFolder(trainings / name).begin(run)
        (trainings / name / "state-1.pt").write_bytes(b"x" * 1000)
    assert runs_size(trainings) > 2000
    with held(trainings / f"{'1' * 32}.lock", "a"):
        assert remove_runs(trainings) > 1000
    assert [path.name for path in trainings.iterdir() if path.is_dir()] == ["a"]
    assert remove_runs(trainings) > 1000
    assert runs_size(tmp_path / "nowhere") == remove_runs(tmp_path / "nowhere") == 0
