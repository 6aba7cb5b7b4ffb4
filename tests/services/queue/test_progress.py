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
