"""Numbers in messages: what is one is not named in the plural, and two lengths that differ are not written alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.wording import clock, counted, exact_clock, length, lengths, parse_clock


def test_counts():
    assert [counted(count, "song") for count in (0, 1, 2, 3000)] == ["0 songs", "1 song", "2 songs", "3,000 songs"]
    assert counted(2, "axis", "axes") == "2 axes"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (72.4, "1:12"), (3599.7, "1:00:00"), (3605, "1:00:05")]
)
def test_clocks_are_rounded(seconds: float, text: str):
    assert clock(seconds) == text


def test_clocks_with_decimals():
    assert clock(72.5, 2) == "1:12.50"
    assert [exact_clock(seconds) for seconds in (72, 72.5, 59.9996, 600, 3600.25)] == [
        "1:12", "1:12.5", "1:00", "10:00", "1:00:00.25",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pair", "texts"),
    [
        ((12.0, 14.0), ("0:12", "0:14")),
        ((12.0, 12.3), ("0:12.0", "0:12.3")),
        ((12.01, 12.04), ("0:12.01", "0:12.04")),
        ((4.2, 12.4), ("4.20 s", "0:12")),
        ((9.996, 9.999), ("0:09.996", "0:09.999")),
        ((7200.2, 7200), ("2:00:00.2", "2:00:00.0")),
        ((12.0, 12.0), ("0:12", "0:12")),
    ],
)
def test_two_lengths_that_differ_are_written_differently(pair: tuple[float, float], texts: tuple[str, str]):
    assert lengths(*pair) == texts


@given(st.floats(0, 1e5), st.floats(-20, 20))
def test_no_difference_is_rounded_away(seconds: float, more: float):
    other = max(0.0, seconds + more)
    first, second = lengths(seconds, other)
    assert (first != second) or abs(seconds - other) <= 0.002
    assert length(seconds)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1:05", 65), ("0:07.25", 7.25), ("1:02:30", 3750), ("72", 72), ("72.5", 72.5), (" 90:00 ", 5400)],
)
def test_times_as_people_write_them(text: str, seconds: float):
    assert parse_clock(text) == seconds


@pytest.mark.parametrize("text", ["", "1:75", "1:60:00", "1:2:3:4", "-5", "1.5:20", "a", "1e3", "nan", "1:", ":30"])
def test_what_is_no_time(text: str):
    assert parse_clock(text) is None


@given(st.integers(0, 10**7))
def test_an_exact_clock_can_be_read_again(milliseconds: int):
    assert parse_clock(exact_clock(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)
