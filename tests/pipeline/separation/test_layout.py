"""Where windows lie: together they cover the song, in order, and nothing outside of it counts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.pipeline.separation.layout import (
    Layout,
    Place,
    aligned,
    centred,
    edges_faded,
    leading,
    shifted,
)

FRAMES = st.integers(1, 500)
WINDOWS = st.integers(2, 120)


def whole(frames: int, window: int, step: int) -> Iterator[Place]:
    """All of each window counts."""
    return centred(window)(frames, window, step)


LAYOUTS = (aligned, whole)


def counted(places: list[Place], frames: int, window: int) -> np.ndarray:
    """How often each frame of the song counts; what counts lies within the song and within its window."""
    times = np.zeros(frames, int)
    for place in places:
        assert place.frames > 0
        assert place.first >= 0
        assert place.first + place.frames <= frames
        assert place.skip >= 0
        assert place.skip + place.frames <= window
        assert place.faded >= 0
        assert place.faded + place.frames <= window
        times[place.first : place.first + place.frames] += 1
    return times


@pytest.mark.parametrize("layout", LAYOUTS)
@given(frames=FRAMES, window=WINDOWS, data=st.data())
def test_windows_cover_the_song_in_order(layout: Layout, frames: int, window: int, data: st.DataObject) -> None:
    step = data.draw(st.integers(1, window))
    places = list(layout(frames, window, step))
    assert counted(places, frames, window).min() > 0
    firsts = [place.first for place in places]
    assert firsts == sorted(firsts)


@pytest.mark.parametrize("layout", LAYOUTS)
@given(frames=FRAMES, window=WINDOWS, offset=st.integers(0, 200), data=st.data())
def test_shifted_windows_still_cover_it(
    layout: Layout, frames: int, window: int, offset: int, data: st.DataObject
) -> None:
    step = data.draw(st.integers(1, window))
    places = list(shifted(layout(frames + offset, window, step), offset, frames))
    assert counted(places, frames, window).min() > 0


def test_the_last_window_ends_where_the_song_does() -> None:
    assert list(aligned(25, 10, 8)) == [Place(0, 10), Place(8, 10), Place(15, 10)]
    assert list(aligned(18, 10, 8)) == [Place(0, 10), Place(8, 10)]
    assert list(aligned(4, 10, 8)) == [Place(0, 4)]


def test_what_is_left_at_the_end_stands_in_the_middle() -> None:
    assert list(centred(10)(14, 10, 8)) == [Place(0, 10), Place(6, 6, 2)]


@given(window=st.integers(2, 5000), overlap=st.floats(0.0, 0.5))
def test_fades_come_from_almost_nothing_and_rise(window: int, overlap: float) -> None:
    fade = edges_faded(window, overlap).numpy()
    assert fade.shape == (window,)
    assert fade.min() > 0
    assert fade.max() <= 1
    assert np.array_equal(fade, fade[::-1])
    assert (np.diff(fade[: window // 2]) >= 0).all()
    if round(window * overlap) > 10:
        assert fade[0] < 0.01


@given(st.integers(1, 5000), st.integers(10, 400), st.integers(0, 100), st.integers(1, 100))
def test_every_frame_lies_within_the_ends_of_a_window(frames: int, window: int, ends: int, steps: int) -> None:
    lead = min(window // 2 - 1, ends)
    step = max(1, (window - 2 * lead) * steps // 100)
    places = list(leading(lead)(frames, window, step))
    used = [False] * frames
    for place in places:
        assert 0 <= place.first < frames
        assert place.first == place.start + place.skip
        assert place.first + place.frames <= frames
        for frame in range(place.first, place.first + place.frames):
            used[frame] |= lead <= frame - place.start < window - lead
    assert all(used)
    assert [place.first for place in places] == sorted(place.first for place in places)
