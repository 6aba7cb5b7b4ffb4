"""The noise depends on the seed and on the place in the song, and on nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.voices.rvc.noise import Noise


@given(st.integers(-300, 300), st.integers(1, 300), st.integers(0, 200))
def test_a_frame_has_the_same_noise_wherever_a_piece_begins(first: int, frames: int, later: int) -> None:
    noise = Noise(7)
    whole = noise.latent(first, later + frames, 4)
    np.testing.assert_array_equal(whole[:, later:], noise.latent(first + later, frames, 4))
    breath = noise.source(first, later + frames, 5)
    np.testing.assert_array_equal(breath[later * 5 :], noise.source(first + later, frames, 5))


def test_it_is_standard_normal_and_uncorrelated() -> None:
    values = Noise(0).source(0, 3000, 40)
    assert values.dtype == np.float32
    assert abs(values.mean()) < 0.02
    assert values.std() == pytest.approx(1, abs=0.02)
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.02
    blocks = values.reshape(30, -1)
    assert np.abs(np.corrcoef(blocks) - np.eye(30)).max() < 0.1


def test_seeds_and_kinds_differ() -> None:
    assert not np.array_equal(Noise(0).source(0, 10, 4), Noise(1).source(0, 10, 4))
    assert not np.array_equal(Noise(0).source(0, 10, 4), Noise(0).latent(0, 10, 4).T.reshape(-1))


def test_without_a_seed_there_is_none() -> None:
    assert not Noise(None).latent(-5, 10, 3).any()
    assert Noise(None).source(0, 10, 3).shape == (30,)
