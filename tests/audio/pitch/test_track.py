from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from understudy.audio.pitch import PitchTrack
from understudy.audio.pitch.postprocess import median, repair_octaves
from understudy.audio.pitch.track import regrid

F0 = arrays(np.float32, st.integers(1, 60), elements=st.one_of(st.just(0.0), st.floats(60, 1200, width=32)))


def line(*parts: tuple[float, float]) -> PitchTrack:
    """A track of (seconds, Hz) parts."""
    return PitchTrack(np.concatenate([np.full(round(length / 0.005), hz) for length, hz in parts]).astype(np.float32))


@pytest.mark.parametrize("wrong", [110.0, 440.0, 431.0])
def test_short_octave_jumps_are_mended(wrong: float) -> None:
    mended = repair_octaves(line((0.3, 220), (0.1, wrong), (0.3, 220)))
    assert np.abs(np.log2(mended.f0 / 220)).max() < 0.05


def test_an_octave_error_at_the_edge_of_a_phrase_is_mended() -> None:
    mended = repair_octaves(line((0.2, 0), (0.05, 440), (0.4, 220), (0.04, 110), (0.2, 0)))
    np.testing.assert_allclose(mended.f0[mended.voiced], 220)


def test_flicker_between_octaves_settles() -> None:
    flicker = [(0.03, 880.0), (0.07, 440.0)] * 3
    mended = repair_octaves(line((0.4, 440), *flicker, (0.3, 440)))
    np.testing.assert_allclose(mended.f0, 440)


@pytest.mark.parametrize(
    "melody",
    [
        line((0.4, 220), (0.3, 440), (0.4, 220)),  # a sung leap that lasts
        line((0.4, 220), (0.2, 440)),
        line((0.3, 220), (0.1, 330), (0.3, 220)),  # a short note, but a fifth
        line((0.3, 220), (0.1, 262), (0.3, 220)),
        line((0.3, 220), (0.4, 0), (0.05, 440), (0.4, 0), (0.3, 220)),  # a call on its own
        line((0.3, 0)),
        line((0.005, 200)),
    ],
)
def test_what_is_sung_stays(melody: PitchTrack) -> None:
    np.testing.assert_array_equal(repair_octaves(melody).f0, melody.f0)


@given(F0)
def test_repair_moves_by_octaves_only_and_never_the_voicing(f0: NDArray[np.float32]) -> None:
    mended = repair_octaves(PitchTrack(f0))
    np.testing.assert_array_equal(mended.voiced, f0 > 0)
    moved = np.log2(mended.f0[f0 > 0] / f0[f0 > 0])
    np.testing.assert_allclose(moved, np.round(moved), atol=1e-6)


def test_median_takes_the_middle_and_the_majority() -> None:
    tracks = np.array([[100, 100, 0, 0, 100, 200], [101, 0, 0, 90, 210, 0], [220, 0, 0, 80, 50, 100]], np.float32)
    np.testing.assert_array_equal(median(list(tracks)), np.array([101, 0, 0, 90, 100, 200], np.float32))


@given(st.lists(st.floats(60, 900, width=32), min_size=3, max_size=3), st.permutations(range(3)))
def test_median_of_three_voiced_is_the_median(hz: list[float], order: list[int]) -> None:
    tracks = [np.array([hz[at]], np.float32) for at in order]
    assert median(tracks)[0] == np.float32(np.median(np.array(hz, np.float32)))


def test_regrid_follows_a_vibrato_between_its_frames() -> None:
    step, seconds = 0.016, 2.0
    coarse, fine = np.arange(0, seconds, step), np.arange(0, seconds - step, 0.005)
    pitch = lambda t: 220 * 2 ** (0.1 * np.sin(2 * np.pi * 6 * t))  # noqa: E731
    f0 = regrid(pitch(coarse), np.ones(len(coarse)), 0.5, 0.5, 0.005 / step, len(fine))
    assert np.abs(1200 * np.log2(f0 / pitch(fine)))[5:-5].max() < 5


def test_regrid_keeps_leaps_and_edges() -> None:
    certainty = np.array([0, 0, 1, 1, 1, 1, 0, 0, 0.4, 0])
    f0 = regrid(np.array([9, 9, 200, 200, 400, 400, 9, 9, 300, 9.0]), certainty, 0.9, 0.25, 0.25, 40)
    assert set(f0[f0 > 0]) == {np.float32(200), np.float32(400)}  # nothing in between, and the unsure note is left out
    # certainty crosses 0.25 a quarter of the way up: from frame 1.25 to frame 5.75
    np.testing.assert_array_equal(np.flatnonzero(f0), np.arange(5, 24))


@given(F0)
def test_resampling_to_the_same_hop_changes_nothing(f0: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(PitchTrack(f0).resampled(0.005).f0, f0, rtol=1e-6)


@given(F0, st.sampled_from([0.0025, 0.01, 0.0125, 512 / 44100]))
def test_resampling_covers_the_same_time_in_the_same_range(f0: NDArray[np.float32], hop: float) -> None:
    other = PitchTrack(f0).resampled(hop)
    assert other.hop == hop
    assert -1e-9 <= (len(f0) - 1) * 0.005 - other.times[-1] < hop
    if other.voiced.any():
        heard = other.f0[other.voiced]
        # a cubic may overshoot a turning point a little, never a leap's size
        assert heard.min() > f0[f0 > 0].min() * 0.9
        assert heard.max() < f0.max() * 1.1


def test_transposing() -> None:
    moved = PitchTrack(np.array([0, 110], np.float32)).transposed(12)
    np.testing.assert_allclose(moved.f0, [0, 220])
