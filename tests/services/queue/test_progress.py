"""How far a job is."""

import pytest

from understudy.pipeline.executor import StageEvent
from understudy.services.queue.progress import Progress, models_run


def notify(progress: Progress, *finished: str) -> float:
    for node in finished:
        kind, _, subject = node.partition(" ")
        progress.update(StageEvent(kind, "finished", 1.0, 1.0, "cpu", subject))
    return progress.take()[2]


def test_models_of_a_request():
    separation = {"model": "a+b", "lead": "c", "dereverb": None, "instruments": "d"}
    request = {"settings": {"separation": separation}, "inputs": {"song": "song_1"}}
    assert models_run(request) == {"separate": 2, "lead": 1, "instruments": 1}
    assert models_run({"settings": {"separation": {"model": "embedded"}}, "inputs": {"song": "song_1"}}) == {}
    assert models_run({**request, "inputs": {"song": "song_1", "vocals": "song_2"}}) == {}
    assert models_run({"sent": []}) == {}


def test_each_model_counts():
    progress = Progress("cover", {"separate": 2, "lead": 1})
    seen = [
        notify(progress, *nodes)
        for nodes in (["decode"], ["separate a"], ["separate b", "separate"], ["lead c"], ["lead", "convert", "report"])
    ]
    assert seen == sorted(seen)
    assert seen[1] - seen[0] == pytest.approx(seen[2] - seen[1], abs=0.01)
    assert seen[2] - seen[1] == pytest.approx(seen[3] - seen[2], abs=0.01)
    assert seen[3] > 0.6
    assert notify(Progress("cover"), "separate") == pytest.approx(30 / 113, abs=0.01)


def test_the_time_left_follows_the_plan_and_the_pace(monkeypatch: pytest.MonkeyPatch):
    now = [100.0]
    monkeypatch.setattr("understudy.services.queue.progress.time.monotonic", lambda: now[0])
    plan = {("separate", ""): 30.0, ("convert chorus", ""): 10.0, ("convert", ""): 60.0}
    planned, unsure = Progress("cover"), Progress("cover")
    planned.plan(plan, sure=True)
    unsure.plan(plan, sure=False)
    assert (planned.seconds_left(), unsure.seconds_left()) == (100.0, None)
    now[0] += 60  # twice as slow as planned
    assert notify(planned, "separate") == notify(unsure, "separate") == pytest.approx(0.3)
    # the plan counts as 30 (10) seconds that went as planned
    assert planned.seconds_left() == pytest.approx(70 * (60 + 30) / (30 + 30))
    assert unsure.seconds_left() == pytest.approx(70 * (60 + 10) / (30 + 10))
    planned.update(StageEvent("convert", "progress", 0.5, 1.0, "cpu"))
    notes, _, fraction = planned.take()
    assert (fraction, notes[-1].data["left"]) == (pytest.approx(0.6), pytest.approx(40 * 90 / 90))
    assert planned.so_far()["result"] == {"seconds_left": 40.0}
