"""Sounds made of other sounds: values, lengths and what lies outside of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from understudy.audio.samples import Audio
from understudy.audio.views import MonoMix, Sum

RATE = 8000


def noise(frames: int, seed: int, channels: int = 2) -> Audio:
    return Audio.of(np.random.default_rng(seed).standard_normal((channels, frames)), RATE)


@given(st.integers(-20, 120), st.integers(0, 120), st.floats(-2, 2))
def test_a_sum_is_that_of_its_parts_wherever_it_is_read(start: int, count: int, gain: float) -> None:
    short, long = noise(60, 0), noise(100, 1)
    together = Sum((short, long), (gain, 1.0))
    wanted = short.read(start, start + count).samples * np.float32(gain) + long.read(start, start + count).samples
    assert (together.rate, together.channels, together.frames) == (RATE, 2, 100)
    np.testing.assert_allclose(together.read(start, start + count).samples, wanted, atol=1e-6)


def test_a_sum_without_gains_takes_all_as_they_are() -> None:
    a, b = noise(50, 0), noise(50, 1)
    np.testing.assert_array_equal(Sum((a, b)).read().samples, a.samples + b.samples)


def test_one_less_the_same_is_silence() -> None:
    sound = noise(50, 0)
    assert not Sum((sound, sound), (1.0, -1.0)).read().samples.any()


def test_a_spread_sound_is_its_mean_in_every_channel() -> None:
    sound = noise(50, 0)
    mean = sound.samples.mean(axis=0)
    for channels in (1, 2):
        spread = MonoMix(sound, channels)
        assert (spread.rate, spread.channels, spread.frames) == (RATE, channels, 50)
        np.testing.assert_allclose(spread.read(5, 20).samples, np.tile(mean[5:20], (channels, 1)), atol=1e-6)
