"""The time that a batch is expected to take."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.pipeline.executor import StageEvent
from understudy.services.batch import timing
from understudy.services.batch.timing import StageTimes, Work


class _Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


def _run(times: StageTimes, clock: _Clock, covers: dict[str, dict[str, float]], length: float, wall: float) -> None:
    """Covers whose stages take those seconds, together `wall` seconds."""
    clock.now += 1000  # a watched folder, while nothing came into it
    times.begin()
    clock.now += wall
    for cover, stages in covers.items():
        for stage, seconds in stages.items():
            times.hear(cover, StageEvent(stage, "finished", 1.0, seconds, "cpu"))
    for cover, stages in covers.items():
        times.add(cover, length, {stage: f"{stage} on cpu" for stage in stages})


def test_stages_that_ran_at_once_count_by_their_share_of_the_time(tmp_path: Path, clock: _Clock) -> None:
    path = tmp_path / "times.jsonl"
    stages = {"separate": 60.0, "convert": 30.0}
    _run(StageTimes(path, 2), clock, {"one": stages, "two": stages}, 100.0, 120.0)  # 180 s of stages in 120 s
    works = [
        Work(f"{stage} {song}", f"{stage} on cpu", 200.0) for song in ("a", "b") for stage in ("separate", "convert")
    ]
    seconds, unknown = StageTimes(path, 2).estimate(works)
    assert seconds == pytest.approx(240.0)  # twice as long songs, two again
    assert unknown == ()
    shared = [*works, Work("separate a", "separate on cpu", 200.0)]  # another voice for the same song
    assert StageTimes(path, 2).estimate(shared)[0] == pytest.approx(240.0)


def test_covers_as_long_and_as_many_at_once_count_first(tmp_path: Path, clock: _Clock) -> None:
    path = tmp_path / "times.jsonl"
    for length, seconds in ((10.0, 20.0), (300.0, 60.0), (20.0, 24.0)):
        for number in range(5):
            _run(StageTimes(path, 1), clock, {str(number): {"separate": seconds}}, length, seconds)
    expected = {8.0: 16.0, 250.0: 50.0, 22.0: 26.4}
    for length, seconds in expected.items():
        assert StageTimes(path, 2).estimate([Work("", "separate on cpu", length)])[0] == pytest.approx(seconds)
    _run(StageTimes(path, 2), clock, {"one": {"separate": 90.0}}, 300.0, 90.0)
    assert StageTimes(path, 2).estimate([Work("", "separate on cpu", 8.0)])[0] == pytest.approx(2.4)
    assert StageTimes(path, 1).estimate([Work("", "separate on cpu", 8.0)])[0] == pytest.approx(16.0)


def test_what_never_ran_here_is_named_and_a_damaged_line_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / "times.jsonl"
    path.write_text('{"jobs": 1\n')
    assert StageTimes(path).estimate([Work("", "separate x on cpu", 8.0)]) == (0.0, ("separate x on cpu",))
