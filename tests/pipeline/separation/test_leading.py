"""The layout for networks that hear a window's ends worse than its middle."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from understudy.pipeline.separation.layout import leading


@given(st.integers(1, 5000), st.integers(10, 400), st.integers(0, 100), st.integers(1, 100))
def test_every_frame_is_heard_within_the_ends_of_a_window(frames: int, window: int, ends: int, steps: int) -> None:
    lead = min(window // 2 - 1, ends)
    step = max(1, (window - 2 * lead) * steps // 100)
    places = list(leading(lead)(frames, window, step))
    heard = [False] * frames
    for place in places:
        assert 0 <= place.first < frames
        assert place.first == place.start + place.skip
        assert place.first + place.frames <= frames
        for frame in range(place.first, place.first + place.frames):
            heard[frame] |= lead <= frame - place.start < window - lead
    assert all(heard)
    assert [place.first for place in places] == sorted(place.first for place in places)
