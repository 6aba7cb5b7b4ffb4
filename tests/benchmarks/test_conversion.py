"""The pitch figures of the conversion benchmark count what they say."""

from __future__ import annotations

import numpy as np

from benchmarks.conversion import pitch_errors, table


def test_pitch_is_judged_where_it_is_sure() -> None:
    expected = np.full(10, 200.0)
    found = np.array([200.0, 204.0, 210.0, 100.0, 0.0, 100.0, 100.0, 200.0, 200.0, 200.0])
    sure = np.arange(10) < 5  # frames 5 and 6 are an octave off where the trackers disagree about the source
    loud = np.arange(12) != 7
    accuracy, octave, voicing = pitch_errors(expected, found, loud, sure)
    assert accuracy == 2 / 5  # 84 cents, an octave and an unvoiced frame are misses
    assert octave == 1 / 4
    assert voicing == 1 / 9


def test_silence_has_no_pitch_right() -> None:
    everywhere = np.ones(4, np.bool_)
    assert pitch_errors(np.full(4, 200.0), np.zeros(4), everywhere, everywhere) == (0.0, 0.0, 1.0)


def test_means_come_with_their_standard_error() -> None:
    rows = [{"method": "instant", "target": value} for value in (0.6, 0.8)]
    assert "| instant | 2 | 0.700 ± 0.100 |" in table(rows)
    assert "| instant | 1 | 0.600 |" in table(rows[:1])
