"""ESTOI: known values of the reference implementation, bounds, and what it doesn't depend on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from understudy.voices.rvc.training.intelligibility import estoi

RATE = 10000


def modulated(seed: int = 0, seconds: float = 2.0) -> np.ndarray:
    """Noise that comes and goes in two bands, so that there is something to recognise."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    low = lfilter([1], [1, -0.9], random.standard_normal(len(time)))
    high = lfilter([1, -0.9], [1], random.standard_normal(len(time)))
    return low * (1 + np.sin(2 * np.pi * 3 * time)) + high * (1 + np.sin(2 * np.pi * 4.3 * time + 1))


# pystoi 0.4.1, stoi(x, y, 10000, extended=True)
@pytest.mark.parametrize(("noise", "known"), [(0.1, 0.99856721), (0.5, 0.96315737), (2.0, 0.66771296)])
def test_it_agrees_with_the_reference_implementation(noise, known):
    sound = modulated()
    result = sound + noise * np.random.default_rng(1).standard_normal(len(sound))
    assert estoi(sound, result, RATE) == pytest.approx(known, abs=1e-7)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 10), st.floats(0, 2))
def test_it_is_at_most_one_and_independent_of_the_level(seed, gain, noise):
    sound = modulated(seed, 1.0)
    result = sound + noise * np.random.default_rng(seed + 1).standard_normal(len(sound))
    value = estoi(sound, result, RATE)
    assert -1 <= value <= 1 + 1e-9
    assert estoi(sound, gain * result, RATE) == pytest.approx(value, abs=1e-6)


def test_the_same_sound_is_perfectly_intelligible_at_any_rate():
    sound = np.repeat(modulated(), 2)
    assert estoi(sound, sound, 20000) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("original", [np.zeros(20000), np.zeros(100), np.zeros(0), modulated(seconds=0.2)])
def test_too_little_sound_gives_zero(original):
    assert estoi(original, original, RATE) == 0


def test_silence_is_not_intelligible():
    assert estoi(modulated(), np.zeros(20000), RATE) == pytest.approx(0, abs=1e-9)


def test_another_length_is_an_error():
    with pytest.raises(ValueError, match="one length"):
        estoi(np.zeros(10), np.zeros(11), RATE)
