"""Minimal filtering against filtering."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.voices.rvc.minimal_filter import minimal_filter

POINTS = [(2, (2.0, -2.0, 0.5, -0.5)), (4, ()), (8, ()), (12, (2.0, -2.0, 0.5, -0.5)), (16, ()), (20, ()), (32, ())]


@settings(max_examples=60)
@given(st.sampled_from([1, 3, 5, 7, 11]), st.sampled_from(POINTS), st.integers(0, 2**31))
def test_it_is_the_filter(kernel: int, points: tuple[int, tuple[float, ...]], seed: int) -> None:
    circle, reals = points
    if 2 + circle + len(reals) < kernel:
        return
    algorithm = minimal_filter(kernel, circle, reals)
    random = np.random.default_rng(seed)
    taps, sound = random.normal(size=(kernel,)), random.normal(size=(algorithm.forth.shape[1],))
    made = algorithm.back @ ((algorithm.taps @ taps) * (algorithm.forth @ sound))
    np.testing.assert_allclose(made, np.convolve(sound, taps[::-1], "valid"), atol=1e-8)


def test_it_saves_products() -> None:
    for kernel, circle in ((3, 8), (7, 24), (11, 32)):
        algorithm = minimal_filter(kernel, circle)
        tile, products = algorithm.back.shape
        assert products < 0.65 * tile * kernel
    assert minimal_filter(11, 32).back.shape == (24, 49)


def test_too_few_points_are_refused() -> None:
    with pytest.raises(ValueError, match="too few for 11 taps"):
        minimal_filter(11, 8)
