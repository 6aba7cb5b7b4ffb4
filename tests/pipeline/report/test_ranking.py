"""The order of covers by their figures."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.pipeline.report.limits import LIMITS
from understudy.pipeline.report.ranking import faults, rank


def _report(**values: float | None) -> dict[str, Any]:
    limits = {name: LIMITS[name] for name in values}
    return {
        "figures": [
            {"name": name, "value": values[name], "good": limit.good, "wrong": limit.wrong}
            for name, limit in limits.items()
        ]
    }


def test_a_figure_counts_by_how_far_it_is_beyond_its_good_limit() -> None:
    assert faults(_report(on_note=90.0, vocal_delay=15.0, bad_samples=0.0, voice=None)) == 0.0
    assert faults(_report(on_note=75.0, vocal_delay=27.5)) == pytest.approx(1.5)  # at the wrong limit, half way to it
    assert faults(_report(bad_samples=3.0)) == 1.0
    assert faults(_report(on_note=0.0)) == 3.0


def test_what_is_better_than_good_decides_between_covers_that_are_alike() -> None:
    best, good = _report(on_note=97.0, vocal_delay=0.0), _report(on_note=92.0, vocal_delay=0.0)
    slightly_late = _report(on_note=99.0, vocal_delay=18.0)
    assert faults(best) < faults(good) < 0 < faults(slightly_late)


def test_the_verdict_comes_first() -> None:
    covers = [("wrong", 0.5), ("good", -0.1), ("mind", 2.0), ("", None), ("good", -0.2), ("mind", 0.3)]
    assert sorted(covers, key=lambda cover: rank(*cover)) == [
        ("good", -0.2),
        ("good", -0.1),
        ("mind", 0.3),
        ("mind", 2.0),
        ("wrong", 0.5),
        ("", None),
    ]
