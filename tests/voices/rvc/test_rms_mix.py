"""The volume envelope on sounds of known loudness."""

import numpy as np
import pytest

from understudy.audio.samples import Audio
from understudy.voices.envelope import mixing_gain, second_rms

RATE = 8000


def tone(*levels: float) -> Audio:
    """A second each of a sine with these RMS."""
    time = np.arange(RATE) / RATE
    return Audio.of(np.concatenate([level * 2**0.5 * np.sin(2 * np.pi * 400 * time) for level in levels]), RATE)


def test_rms_is_taken_over_a_second_around_every_half() -> None:
    np.testing.assert_allclose(
        second_rms(tone(0.1, 0.1, 0.3)), [0.1 / 2**0.5, 0.1, 0.1, 0.1, (0.05) ** 0.5, 0.3, 0.3 / 2**0.5], rtol=1e-4
    )


def test_a_mix_of_0_gives_the_original_s_loudness_and_one_of_1_its_own() -> None:
    original, own = second_rms(tone(0.2, 0.2, 0.2, 0.2)), second_rms(tone(0.05, 0.05, 0.05, 0.05))
    for mix, wanted in ((0.0, 4.0), (1.0, 1.0), (0.5, 2.0)):
        np.testing.assert_allclose(mixing_gain(original, own, mix, 0, 100, 32000), wanted, rtol=1e-3)


def test_the_gain_of_a_part_is_a_part_of_the_gain() -> None:
    original, own = second_rms(tone(0.2, 0.1, 0.4)), second_rms(tone(0.1, 0.1, 0.1))
    whole = mixing_gain(original, own, 0.25, 0, 24000, 24000)
    np.testing.assert_array_equal(whole[7000:9000], mixing_gain(original, own, 0.25, 7000, 9000, 24000))


def test_silence_is_not_raised() -> None:
    silent, loud = second_rms(tone(0.0, 0.0, 0.0)), second_rms(tone(0.1, 0.1, 0.1))
    assert mixing_gain(silent, loud, 0.0, 0, 24000, 24000).max() == 0
    assert np.isfinite(mixing_gain(loud, silent, 0.0, 0, 24000, 24000)).all()
    assert mixing_gain(silent, silent, 0.5, 0, 24000, 24000).max() == pytest.approx(0)
