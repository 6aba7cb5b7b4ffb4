"""`Audio`: what it accepts, and reading by position."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.audio.samples import Audio, concatenate


def ramp(frames: int = 10, channels: int = 2) -> Audio:
    return Audio.of(np.arange(1.0, frames * channels + 1).reshape(channels, frames), 10)


def test_only_float32_channels_first():
    wrong: Any
    for wrong in (
        np.zeros((2, 5)),
        np.zeros(5, np.float32),
        np.zeros((2, 5), np.int16),
        np.zeros((1, 2, 5), np.float32),
    ):
        with pytest.raises(ValueError, match="float32"):
            Audio(wrong, 44100)
    for rate in (0, -1):
        with pytest.raises(ValueError, match="rate"):
            Audio(np.zeros((1, 1), np.float32), rate)


def test_of_takes_any_floats():
    assert Audio.of([1.0, 2.0], 10).samples.shape == (1, 2)
    assert Audio.of(np.zeros((2, 5)), 10).samples.dtype == np.float32
    assert Audio.of(np.zeros((5, 2)).T, 10).samples.flags.c_contiguous


def test_sizes():
    audio = ramp(25)
    assert (audio.channels, audio.frames, audio.duration) == (2, 25, 2.5)
    assert Audio.silence(2, 0, 10).frames == 0


@given(st.integers(-30, 30), st.integers(-30, 30))
def test_reading_past_the_ends_gives_silence(start, stop):
    audio = ramp()
    padded = np.pad(audio.samples, ((0, 0), (40, 40)))
    stop = max(start, stop)
    got = audio.read(start, stop)
    np.testing.assert_array_equal(got.samples, padded[:, 40 + start : 40 + stop])
    assert got.rate == audio.rate


def test_reading_backwards_gives_nothing():
    assert ramp().read(5, 3).frames == 0
    assert ramp().read(50).frames == 0


def test_reading_inside_copies_nothing():
    audio = ramp()
    assert np.shares_memory(audio.read(2, 5).samples, audio.samples)


def test_mono_is_the_mean():
    np.testing.assert_array_equal(ramp(3).mono().samples, [[2.5, 3.5, 4.5]])
    single = ramp(3, 1)
    assert single.mono() is single


def test_concatenate():
    parts = [ramp(3), ramp(2)]
    np.testing.assert_array_equal(concatenate(parts).samples, np.hstack([part.samples for part in parts]))
    with pytest.raises(ValueError, match="one rate"):
        concatenate([ramp(3), ramp(3, 1)])
    with pytest.raises(ValueError, match="one rate"):
        concatenate([])
