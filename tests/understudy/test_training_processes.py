"""What the processes of a training print, and how they are asked to end; a script stands in for torchrun."""

from __future__ import annotations

import json
import sys
from threading import Event
from typing import Any

import pytest

from tests.support.training_work import line_run
from understudy.errors import Cancelled, UnderstudyError
from understudy.training_processes import train_on_several
from understudy.voices.training.events import TrainingEvent
from understudy.voices.training.loop import Outcome
from understudy.voices.training.run_folder import STOP, RunFolder

EVENT = {"event": TrainingEvent("steps", 1, 20, {"mel": 2.0}).to_dict()}
OUTCOME = {"outcome": {"step": 10, "steps": 20, "why": "It is good enough."}}


def error(code):
    return {"error": {"code": code, "message": "It went wrong.", "hint": "Do something."}}


@pytest.fixture
def several(tmp_path, monkeypatch):
    """Runs `train_on_several` with a script in place of Python; its text comes after the lines that it prints."""
    folder = RunFolder(tmp_path / "run")
    folder.begin(line_run(batch_size=4))

    def run(*lines: Any, more: str = "", cancelled: Event | None = None, enough: Event | None = None):
        script = tmp_path / "python"
        prints = "\n".join(f"print({json.dumps(line)!r}, flush=True)" for line in lines)
        script.write_text(f"#!{sys.executable}\nfolder = {str(folder.path)!r}\n{prints}\n{more}\n")
        script.chmod(0o755)
        events: list[TrainingEvent] = []
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", str(script))
            outcome = train_on_several(2, folder, events.append, cancelled or Event(), enough)
        return outcome, events, folder

    return run


def test_events_and_outcome_come_through(several):
    outcome, events, _ = several(EVENT, OUTCOME, more="print('W1130 torchrun says something')")
    assert outcome == Outcome(10, 20, "It is good enough.")
    assert events == [TrainingEvent(**EVENT["event"])]


def test_an_error_of_any_process_is_raised(several):
    with pytest.raises(UnderstudyError) as raised:
        several(EVENT, error("disk-full"), more="raise SystemExit(1)")
    assert raised.value.code == "disk-full"


def test_a_process_that_dies_is_an_error(several):
    with pytest.raises(UnderstudyError) as raised:
        several(EVENT, more="import os, signal; print('bus error', flush=True); os.kill(os.getpid(), signal.SIGKILL)")
    assert raised.value.code == "training-process-ended"
    assert "bus error" in raised.value.message


WAIT = """
import json, os, time
while not os.path.exists(folder + '/.stop'): time.sleep(0.01)
word = open(folder + '/.stop').read()
print(json.dumps({'cancel': %s, 'enough': %s}[word]))
"""


@pytest.mark.slow
def test_requests_reach_the_processes(several):
    text = WAIT % (error("cancelled"), OUTCOME)
    event = Event()
    event.set()
    with pytest.raises(Cancelled):
        several(more=text, cancelled=event)
    outcome, _, folder = several(more=text, enough=event)
    assert outcome.step == 10
    assert not (folder.path / STOP).exists()


def test_out_of_memory_halves_the_batch(several):
    text = f"""
import json
run = json.load(open(folder + '/run.json'))
print(json.dumps({OUTCOME!r} if run['batch_size'] == 1 else {error("out-of-memory")!r}))
"""
    outcome, events, folder = several(more=text)
    assert outcome.step == 10
    assert folder.run().batch_size == 1
    assert [event.kind for event in events] == ["warning", "warning"]
    with pytest.raises(UnderstudyError) as raised:
        several(error("out-of-memory"))
    assert raised.value.code == "out-of-memory"
