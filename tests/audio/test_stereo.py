from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.audio.stereo import Placement, correlation, placement, spreading_response


def placed(left: float, right: float, shared: float, width: float = 1.0) -> Placement:
    return placement(np.full(50, left), np.full(50, right), np.full(50, shared), 10, width)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(-0.05, 1))
def test_energies_come_out_as_measured(share: float, level: float, common: float) -> None:
    left, right = share * 0.98 + 0.01, (1 - share) * 0.98 + 0.01
    scale = 10 ** (-6 * level)
    shared = common * np.sqrt(left * right)
    place = placed(left * scale, right * scale, shared * scale)
    to_left, to_right, side = place.left[25], place.right[25], place.side[25]
    energy = to_left**2 + to_right**2 + 2 * side**2
    assert energy == pytest.approx(1, abs=1e-6)
    if shared >= -min(left, right):  # otherwise a channel would have to turn its sign
        assert to_left**2 + side**2 == pytest.approx(left, abs=1e-6)
        assert to_right**2 + side**2 == pytest.approx(right, abs=1e-6)
        assert to_left * to_right - side**2 == pytest.approx(shared, abs=1e-6)


def test_opposite_channels_still_leave_a_voice_in_mono() -> None:
    place = placed(0.5, 0.5, -0.5)
    assert place.left[25] + place.right[25] > 0.2


def test_width_zero_has_no_side() -> None:
    assert not placed(0.5, 0.5, 0.1, width=0.0).side.any()


def test_silence_is_in_the_centre() -> None:
    place = placed(0.0, 0.0, 0.0)
    assert place.left == pytest.approx(np.sqrt(0.5))
    assert place.right == pytest.approx(np.sqrt(0.5))


def test_the_place_of_a_pause_is_that_of_the_singing_next_to_it() -> None:
    left = np.concatenate([np.full(100, 1.0), np.zeros(100), np.zeros(100)])
    right = np.concatenate([np.zeros(100), np.zeros(100), np.full(100, 1.0)])
    place = placement(left, right, np.zeros(300), 10)
    assert place.left[:100] == pytest.approx(1, abs=1e-3)
    assert place.right[200:] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("rate", [8000, 44100, 96000])
def test_spreading_is_flat_short_and_unlike_the_sound(rate: int) -> None:
    response = spreading_response(rate)
    assert len(response) / rate < 0.04
    spectrum = np.square(np.abs(np.fft.rfft(response, 1 << 16)))
    frequency = np.fft.rfftfreq(1 << 16, 1 / rate)
    for low in (300, 600, 1200, 2400):
        band = spectrum[(frequency >= low) & (frequency < low * 1.26)]
        assert abs(10 * np.log10(band.mean())) < 1
    sound = np.random.default_rng(0).standard_normal(rate)
    spread = np.convolve(sound, response)[:rate]
    assert abs(correlation(sound, spread)) < 0.05
    assert float(np.square(spread).mean()) == pytest.approx(1, rel=0.15)


def test_correlation() -> None:
    sound = np.random.default_rng(0).standard_normal(1000)
    assert correlation(sound, 3 * sound) == pytest.approx(1)
    assert correlation(sound, -sound) == pytest.approx(-1)
    assert correlation(np.zeros(10), np.zeros(10)) == 1


def test_leaking_moments_do_not_make_a_voice_wide() -> None:
    """A centred voice with a wide instrument in every other half second, as loud as the voice."""
    leaks = np.tile(np.repeat([0.0, 1.0], 50), 10)
    left = right = 1 + leaks
    place = placement(left, right, np.ones(1000), 200)
    share = 2 * float(np.mean(place.side**2))
    assert share < 0.1
    every = 2 * 0.5 * (1.5**2 - 1) / (3 + 2) / 1.5  # what the mean over all moments would say
    assert share < 0.6 * every
