from __future__ import annotations

import os
from itertools import count
from threading import Event
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.training_work import SCORING, LineWork, line_run
from understudy.errors import Cancelled, UnderstudyError
from understudy.voices.training.loop import RETRIES, train
from understudy.voices.training.run_folder import EVALUATIONS, LOSSES, RunFolder


def begun(path, run):
    folder = RunFolder(path)
    folder.begin(run)
    return folder


def go(folder, work=None, cancelled=None, clock=lambda: 0.0, enough=None):
    events: list[Any] = []
    outcome = train(folder, work or LineWork(), SCORING, events.append, cancelled or Event(), enough, clock=clock)
    return outcome, events


def contents(folder):
    """All files of a run but the states, which depend on when they were saved."""
    files = (path for path in folder.path.rglob("*") if path.is_file() and path.suffix != ".pt")
    return {str(path.relative_to(folder.path)): path.read_bytes() for path in files}


def test_a_run_ends_and_chooses(tmp_path):
    folder = begun(tmp_path / "run", line_run())
    outcome, events = go(folder)
    assert outcome.step in folder.kept()
    assert folder.chosen()["step"] == outcome.step
    assert folder.chosen()["ended"] == outcome.why == events[-1].sentence
    assert [entry["step"] for entry in folder.lines(EVALUATIONS)] == list(range(10, outcome.steps + 1, 10))
    assert len(folder.states()) <= 2
    assert [event.kind for event in events if event.kind != "steps"][-3:] == ["saved", "evaluation", "finished"]
    assert events[-1].best == outcome.step
    assert len(events) > outcome.steps


def test_the_last_step_is_evaluated_too(tmp_path):
    folder = begun(tmp_path / "run", line_run(most_steps=25))
    outcome, _ = go(folder)
    assert (outcome.steps, [entry["step"] for entry in folder.lines(EVALUATIONS)]) == (25, [10, 20, 25])


def test_the_same_call_does_nothing_once_it_has_ended(tmp_path):
    folder = begun(tmp_path / "run", line_run(most_steps=20))
    first, _ = go(folder)
    before = contents(folder)
    work = LineWork()
    again, _ = go(folder, work)
    assert again == first
    assert (work.steps, work.evaluated, contents(folder)) == (0, [], before)


def test_more_steps_go_on_from_the_end(tmp_path):
    folder = begun(tmp_path / "run", line_run(most_steps=20))
    go(folder)
    folder.begin(line_run(most_steps=40))
    work = LineWork()
    outcome, _ = go(folder, work)
    assert (work.steps, outcome.steps) == (20, 40)
    whole = begun(tmp_path / "whole", line_run(most_steps=40))
    go(whole)
    assert contents(folder) == contents(whole)


def ticking(seconds):
    """A clock that goes on by so many seconds with every look."""
    ticks = count()
    return lambda: float(seconds * next(ticks))


class Killed(BaseException):
    pass


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 60), min_size=1, max_size=4))
def test_a_killed_run_ends_with_the_same_files(tmp_path_factory, monkeypatch, kills):
    tmp_path = tmp_path_factory.mktemp("kills")
    whole = begun(tmp_path / "whole", line_run(most_steps=45, keep=2))
    go(whole)
    folder = begun(tmp_path / "run", line_run(most_steps=45, keep=2))
    for moment in kills:
        moments = count(1)

        def dying(call, moments=moments, moment=moment):
            def wrapped(*given, **named):
                if next(moments) == moment:
                    raise Killed
                return call(*given, **named)

            return wrapped

        work: Any = LineWork()
        work.step, work.evaluate, work.write = dying(work.step), dying(work.evaluate), dying(work.write)
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", dying(lambda handle: None))
            patched.setattr(RunFolder, "drop", dying(RunFolder.drop))
            try:
                # states between evaluations: the clock goes on by a minute per look
                go(folder, work, clock=ticking(60))
            except Killed:
                continue
    go(folder)
    assert contents(folder) == contents(whole)


def test_a_run_goes_on_from_the_state_before_a_damaged_one(tmp_path):
    whole = begun(tmp_path / "whole", line_run(most_steps=45))
    go(whole)
    folder = begun(tmp_path / "run", line_run(most_steps=45))
    cancelled = Event()
    with pytest.raises(Cancelled):
        go(folder, LineWork(error=lambda step, size: cancelled.set() if step == 33 else None), cancelled)
    newest = folder.states()[0]
    assert newest == 34
    path = folder.path / f"state-{newest}.pt"
    path.write_bytes(path.read_bytes()[:500])
    go(folder)
    assert contents(folder) == contents(whole)


def test_cancelling_keeps_everything(tmp_path):
    folder, cancelled = begun(tmp_path / "run", line_run(most_steps=45)), Event()
    work = LineWork(error=lambda step, size: cancelled.set() if step == 16 else None)
    with pytest.raises(Cancelled):
        go(folder, work, cancelled)
    assert folder.states() == [17, 10]
    work = LineWork()
    go(folder, work)
    assert work.steps == 45 - 17


@pytest.mark.parametrize(("moment", "chosen"), [(4, 5), (16, 10)])
def test_ending_early_takes_the_best_so_far(tmp_path, moment, chosen):
    folder, enough = begun(tmp_path / "run", line_run(most_steps=45)), Event()
    work = LineWork(error=lambda step, size: enough.set() if step == moment else None)
    outcome, _ = go(folder, work, enough=enough)
    assert (outcome.step, outcome.steps, outcome.why) == (chosen, moment + 1, "It was ended early.")
    outcome, _ = go(folder)
    assert outcome.steps == 45


def test_nan_goes_back_and_halves_the_rate(tmp_path):
    folder = begun(tmp_path / "run", line_run(most_steps=40))
    work = LineWork(broken=lambda step, attempt: step == 27 and attempt == 1)
    _, events = go(folder, work)
    (warning,) = [event for event in events if event.kind == "warning"]
    assert "step 28" in warning.sentence
    assert "step 20" in warning.sentence
    assert "0.5 times" in warning.sentence
    assert work.steps == 40 + 8
    assert all(map(torch.isfinite, torch.tensor([line["mel"] for line in folder.lines(LOSSES)])))
    _, state = folder.load_state()
    assert state["position"]["rate"] == 0.5
    assert [line["step"] for line in folder.lines(LOSSES)] == list(range(1, 41))


def test_nan_before_the_first_evaluation(tmp_path):
    folder = begun(tmp_path / "run", line_run(most_steps=20))
    work = LineWork(broken=lambda step, attempt: step == 3 and attempt <= 2)
    go(folder, work)
    assert folder.load_state()[1]["position"]["rate"] == 0.25


def test_lasting_nan_is_explained_and_the_best_checkpoint_stays(tmp_path):
    folder = begun(tmp_path / "run", line_run(most_steps=40))
    work = LineWork(broken=lambda step, attempt: step == 27)
    with pytest.raises(UnderstudyError) as raised:
        go(folder, work)
    assert raised.value.code == "training-diverged"
    assert work.attempts[27] == RETRIES + 1
    assert str(folder.checkpoint(20)) in raised.value.message
    assert folder.checkpoint(20).exists()
    with pytest.raises(UnderstudyError):  # the same command neither hangs nor begins anew
        go(folder, work)


def test_clipped_gradients_are_told_once_per_evaluation(tmp_path):
    work: Any = LineWork()
    real = work.step
    work.step = lambda batch, step, epoch, rate: {
        **real(batch, step, epoch, rate),
        "clipped": float(step in (3, 5, 14)),
    }
    _, events = go(begun(tmp_path / "run", line_run(most_steps=30)), work)
    warnings = [(event.step, event.sentence) for event in events if event.kind == "warning"]
    assert [step for step, _ in warnings] == [10, 20]
    assert "2 of the last 10 steps" in warnings[0][1]


def test_a_rolled_back_run_survives_a_kill(tmp_path):
    def broken(step, attempt):
        return step == 27 and attempt == 1

    whole = begun(tmp_path / "whole", line_run(most_steps=40))
    go(whole, LineWork(broken))
    folder = begun(tmp_path / "run", line_run(most_steps=40))
    work: Any = LineWork(broken)
    real = work.step

    def dying(batch, step, epoch, rate):
        if step == 24 and work.attempts.get(27):
            raise Killed
        return real(batch, step, epoch, rate)

    work.step = dying
    with pytest.raises(Killed):
        go(folder, work)
    go(folder)
    assert contents(folder) == contents(whole)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("can't allocate memory: 9")]
)
def test_out_of_memory_halves_the_batch(tmp_path, error):
    folder = begun(tmp_path / "run", line_run(most_steps=20))
    _, events = go(folder, LineWork(error=lambda step, size: error if size == 4 and step >= 5 else None))
    (warning,) = [event for event in events if event.kind == "warning"]
    assert "batches of 2" in warning.sentence
    assert folder.load_state()[1]["position"]["batch_size"] == 2


def test_not_even_one_clip_fits(tmp_path):
    folder = begun(tmp_path / "run", line_run(most_steps=20))
    with pytest.raises(UnderstudyError) as raised:
        go(folder, LineWork(error=lambda step, size: MemoryError()))
    assert raised.value.code == "out-of-memory"


def test_a_lost_gpu_is_explained(tmp_path):
    folder = begun(tmp_path / "run", line_run(most_steps=20))
    error = RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be ...")
    with pytest.raises(UnderstudyError) as raised:
        go(folder, LineWork(error=lambda step, size: error if step == 15 else None))
    assert raised.value.code == "gpu-lost"
    assert "Step 10 is saved" in raised.value.message
    work = LineWork()
    go(folder, work)
    assert work.steps == 10


def test_other_errors_pass_through(tmp_path):
    folder = begun(tmp_path / "run", line_run(most_steps=20))
    with pytest.raises(RuntimeError, match="shapes"):
        go(folder, LineWork(error=lambda step, size: RuntimeError("shapes differ")))


def test_a_full_disk_at_a_checkpoint(tmp_path, monkeypatch):
    folder = begun(tmp_path / "run", line_run(most_steps=30))
    real = torch.save

    def full(state, file):
        if state["position"]["step"] == 20:
            raise OSError(28, "No space left on device")
        real(state, file)

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        with pytest.raises(UnderstudyError) as raised:
            go(folder)
    assert raised.value.code == "disk-full"
    assert folder.states() == [10]
    whole = begun(tmp_path / "whole", line_run(most_steps=30))
    go(whole)
    go(folder)
    assert contents(folder) == contents(whole)


def test_checkpoints_are_bounded_and_the_best_stay(tmp_path):
    errors = {10: 5.0, 20: 1.0, 30: 4.0, 40: 2.0, 50: 3.0, 60: 6.0}
    work: Any = LineWork()
    work.evaluate = lambda step, samples, cancelled: {"error": errors[step]}
    folder = begun(tmp_path / "run", line_run(most_steps=60, keep=2))
    outcome, events = go(folder, work)
    assert folder.kept() == [60, 40, 20]
    assert outcome.step == 20
    assert [event.best for event in events if event.kind == "evaluation"] == [10, 20, 20, 20, 20, 20]


def test_states_are_saved_between_evaluations(tmp_path):
    folder = begun(tmp_path / "run", line_run(most_steps=10, every=1000, save_minutes=3))
    _, events = go(folder, clock=ticking(30))
    assert len([event for event in events if event.kind == "saved"]) > 1


def test_the_time_left_is_estimated_from_the_steps(tmp_path):
    folder = begun(tmp_path / "run", line_run(most_steps=20))
    work: Any = LineWork()
    now = [0.0]
    real = work.step

    def slow(*given):
        now[0] += 2.0
        return real(*given)

    work.step = slow
    _, events = go(folder, work, clock=lambda: now[0])
    left = {event.step: event.seconds_left for event in events if event.kind == "steps"}
    assert left[1] is None
    assert left[15] == pytest.approx(10.0)
