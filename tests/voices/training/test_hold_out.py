"""What is held out: enough, not too much, and whole recordings where that can be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.voices.training.hold_out import hold_out

DURATIONS = st.lists(st.floats(0, 20_000) | st.just(0.0), min_size=1, max_size=60)


def wanted(durations: list[float]) -> float:
    return min(max(0.1 * sum(durations), 30.0), 0.25 * sum(durations))


@given(DURATIONS)
def test_enough_is_held_out_and_most_is_left(durations: list[float]) -> None:
    held = hold_out(durations)
    total = sum(durations)
    assert len(held) == len(durations)
    assert all(0 <= part <= duration for part, duration in zip(held, durations, strict=True))
    assert wanted(durations) - 1e-6 <= sum(held) <= 2 * wanted(durations) + 1e-6
    assert sum(held) <= 0.5 * total + 1e-6


@given(DURATIONS)
def test_at_most_one_recording_is_on_both_sides(durations: list[float]) -> None:
    parts = [(part, whole) for part, whole in zip(hold_out(durations), durations, strict=True) if 0 < part < whole]
    assert len(parts) <= 1
    if parts:  # it is the longest, and there was no other way
        ((part, whole),) = parts
        assert whole == max(durations)
        assert part <= whole / 2 + 1e-6


@given(st.lists(st.floats(1, 20), min_size=12, max_size=60))
def test_many_recordings_are_held_out_whole(durations: list[float]) -> None:
    held = hold_out(durations)
    assert all(part in (0.0, duration) for part, duration in zip(held, durations, strict=True))


@given(DURATIONS)
def test_the_order_of_the_recordings_changes_nothing(durations: list[float]) -> None:
    assert sorted(hold_out(durations)) == pytest.approx(sorted(hold_out(durations[::-1])))


@pytest.mark.parametrize(
    ("durations", "expected"),
    [
        ([60.0], [15.0]),
        ([1200.0], [120.0]),
        ([100.0, 12.0], [28.0, 0.0]),  # of two, no whole one
        ([20.0, 20.0, 20.0], [20.0, 0.0, 0.0]),
        ([100.0, 100.0, 100.0], [30.0, 0.0, 0.0]),  # a third would be too much
        ([400.0, 45.0, 50.0, 44.0], [0.0, 45.0, 50.0, 0.0]),
        ([300.0, 60.0, 100.0], [0.0, 60.0, 0.0]),
        ([0.0, 0.0], [0.0, 0.0]),
        ([], []),
    ],
)
def test_examples(durations: list[float], expected: list[float]) -> None:
    assert hold_out(durations) == pytest.approx(tuple(expected))
