"""Coarse pitch on frequencies whose step is known."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from understudy.voices.rvc.pitch import coarse_pitch


def test_the_ends_of_the_scale_are_its_first_and_last_step() -> None:
    assert coarse_pitch(np.array([50.0, 1100.0])).tolist() == [1, 255]


def test_what_lies_beyond_the_scale_takes_the_nearest_step_and_unvoiced_the_first() -> None:
    assert coarse_pitch(np.array([0.0, 30.0, 1101.0, 2000.0])).tolist() == [1, 1, 255, 255]


def test_known_frequencies() -> None:
    # mel(440) = 549.6 lies 471.9 above mel(50), of the 986.7 to mel(1100): 1 + 254 * 471.9 / 986.7 = 122.5; and so on
    assert coarse_pitch(np.array([110.0, 220.0, 440.0, 880.0])).tolist() == [23, 60, 122, 217]


def test_shape_and_type_are_what_the_table_wants() -> None:
    steps = coarse_pitch(np.full((2, 3), 220, np.float32))
    assert steps.shape == (2, 3)
    assert steps.dtype == np.int64


@given(st.lists(st.floats(0, 3000), min_size=2, max_size=50))
def test_higher_pitches_never_have_lower_steps(pitches: list[float]) -> None:
    steps = coarse_pitch(np.sort(np.array(pitches)))
    assert (np.diff(steps) >= 0).all()
    assert steps.min() >= 1
    assert steps.max() <= 255
