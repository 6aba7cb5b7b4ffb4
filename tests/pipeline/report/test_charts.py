from __future__ import annotations

import math
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from understudy.pipeline.report.charts import HEIGHT, WIDTH, Line, chart, ticks


def path(drawing: str, kind: str) -> str:
    found = re.search(rf'<path class="{kind}" d="([^"]*)"', drawing)
    assert found, drawing
    return found[1]


def test_a_line_goes_from_corner_to_corner() -> None:
    drawn = chart([Line("loss", [(100, 0.0), (200, 1.0)])], "a line that rises")
    assert path(drawn.drawing, "curve loss") == f"M0.0 {HEIGHT}.0L{WIDTH}.0 0.0"
    assert 'aria-label="a line that rises"' in drawn.drawing
    assert re.findall(r">([^<]+)</text>", drawn.values) == ["0.0", "0.5", "1.0"]
    assert re.findall(r">([^<]+)</text>", drawn.steps) == ["100", "120", "140", "160", "180", "200"]


def test_a_gap_lifts_the_pen() -> None:
    line = path(chart([Line("loss", [(0, 1.0), (1, math.nan), (2, 1.0), (3, 2.0)])], "a gap").drawing, "curve loss")
    assert (line.count("M"), line.count("L")) == (2, 1)


def test_the_chosen_step_and_its_uncertainty_are_marked() -> None:
    line = Line("score", [(0, 0.0), (100, 1.0)], dots=True, bar=(50, 0.25, 0.75))
    drawn = chart([line], "a score", chosen=50).drawing
    assert path(drawn, "chosen-step") == f"M{WIDTH / 2:.1f} 0V{HEIGHT}"
    assert path(drawn, "bar score") == f"M{WIDTH / 2:.1f} {0.75 * HEIGHT:.1f}V{0.25 * HEIGHT:.1f}"
    assert path(drawn, "dots score").count("h0") == 2


def test_a_step_outside_of_the_chart_is_not_marked() -> None:
    assert "chosen-step" not in chart([Line("score", [(10, 0.0), (20, 1.0)])], "a score", chosen=5).drawing


@pytest.mark.parametrize("points", [[], [(5, 2.0)], [(0, math.nan)], [(1, 3.0), (2, 3.0)]])
def test_little_or_nothing_is_drawn_as_well(points: list[tuple[float, float]]) -> None:
    drawn = chart([Line("loss", points)], "little")
    assert "nan" not in drawn.drawing + drawn.values + drawn.steps


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.integers(2, 10))
def test_ticks_are_few_and_cover_all(one: float, other: float, most: int) -> None:
    low, high = sorted((one, other))
    assume(high - low > 1e-6 * max(1.0, abs(low), abs(high)))
    found = ticks(low, high, most)
    step = found[1] - found[0]
    assert 2 <= len(found) <= most + 2
    assert found[0] <= low + 0.01 * step
    assert found[-1] >= high - 0.01 * step
