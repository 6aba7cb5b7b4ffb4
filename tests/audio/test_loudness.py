"""EBU Tech 3341 and 3342 as far as their test signals can be synthesised, and a second library."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from understudy.audio.k_weighting import energies, mixed_loudness, power_response
from understudy.audio.loudness import SILENT, Loudness, measure, measure_blocks
from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.errors import UnderstudyError

RATE = 48000


def tone(levels: list[tuple[float, float]], channels: int = 2, rate: int = RATE) -> Audio:
    """1 kHz at one level in dBFS after the other, each for so many seconds, phase unbroken."""
    amplitude = np.concatenate([np.full(round(seconds * rate), 10 ** (level / 20)) for level, seconds in levels])
    sine = amplitude * np.sin(2 * np.pi * 1000 * np.arange(len(amplitude)) / rate)
    return Audio.of(np.tile(sine, (channels, 1)), rate)


def measured(audio: Audio) -> Loudness:
    return measure(audio, Context(Path()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("levels", "integrated"),
    [
        ([(-23, 20)], -23),
        ([(-33, 20)], -33),
        ([(-36, 10), (-23, 60), (-36, 10)], -23),
        ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23),
        ([(-26, 20), (-20, 20.1), (-26, 20)], -23),
    ],
    ids=["1", "2", "3", "4", "5"],
)
def test_integrated_of_tech_3341(levels: list[tuple[float, float]], integrated: float) -> None:
    assert measured(tone(levels)).integrated == pytest.approx(integrated, abs=0.1)


def test_surround_of_tech_3341_case_6() -> None:
    sine = np.sin(2 * np.pi * 1000 * np.arange(20 * RATE) / RATE)
    levels = [-28, -28, -24, -30, -30]
    audio = Audio.of(np.stack([10 ** (level / 20) * sine for level in levels]), RATE)
    assert measured(audio).integrated == pytest.approx(-23, abs=0.1)


def test_short_term_of_tech_3341_case_9() -> None:
    loudness = measured(tone([(-20, 1.34), (-30, 1.66)] * 5))
    assert loudness.short_term[30:] == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize("silence", [0.15, 0.6, 1.35, 2.85])
def test_short_term_maximum_of_tech_3341_case_10(silence: float) -> None:
    assert measured(tone([(-200, silence), (-23, 3), (-200, 1)])).short_term.max() == pytest.approx(-23, abs=0.1)


def test_momentary_of_tech_3341_case_12() -> None:
    loudness = measured(tone([(-20, 0.18), (-30, 0.22)] * 25))
    assert loudness.momentary[10:] == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize(
    ("part_of_rate", "phase", "amplitude", "peak"),
    [(4, 0, 0.5, -6), (4, 45, 0.5, -6), (6, 60, 0.5, -6), (8, 67.5, 0.5, -6), (4, 45, 1.41, 3)],
    ids=["15", "16", "17", "18", "19"],
)
def test_true_peak_of_tech_3341(part_of_rate: int, phase: float, amplitude: float, peak: float) -> None:
    time = np.arange(RATE)
    fade = np.minimum(1, np.minimum(time, time[::-1]) / 1000)
    sine = amplitude * fade * np.sin(2 * np.pi * time / part_of_rate + np.radians(phase))
    assert peak - 0.4 <= measured(Audio.of(np.stack([sine, sine]), RATE)).true_peak <= peak + 0.2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("levels", "expected"),
    [([-20, -30], 10), ([-20, -15], 5), ([-40, -20], 20), ([-50, -35, -20, -35, -50], 15)],
    ids=["1", "2", "3", "4"],
)
def test_range_of_tech_3342(levels: list[float], expected: float) -> None:
    assert measured(tone([(level, 20) for level in levels])).range == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 96000, 192000])
def test_agrees_with_pyloudnorm_at_any_rate(rate: int) -> None:
    import pyloudnorm

    random = np.random.default_rng(rate)
    swell = 0.02 + 0.2 * np.abs(np.sin(np.arange(8 * rate) / rate))
    audio = Audio.of(random.standard_normal((2, 8 * rate)) * swell, rate)
    other = pyloudnorm.Meter(rate).integrated_loudness(audio.samples.T.astype(np.float64))
    # pyloudnorm takes its filter from another formula, which is off at low rates
    assert measured(audio).integrated == pytest.approx(other, abs=0.15 if rate >= 32000 else 0.4)


@pytest.mark.parametrize("channels", [1, 2])
def test_energies_give_the_same_figure_as_the_meter(channels: int) -> None:
    random = np.random.default_rng(3)
    swell = np.abs(np.sin(np.arange(10 * 44100) / 44100))
    voice = Audio.of(random.standard_normal((channels, 441000)) * swell * 0.1, 44100)
    band = Audio.of(voice.samples * 0.3 + random.standard_normal((channels, 441000)) * 0.05, 44100)
    shared = energies([voice, band], Context(Path()))
    mix = Audio.of(voice.samples * 2 - band.samples * 0.5, 44100)
    assert mixed_loudness(shared, [2.0, -0.5]) == pytest.approx(measured(mix).integrated, abs=0.03)


def test_energies_of_silence_have_no_loudness() -> None:
    shared = energies([Audio.silence(2, 44100, 44100)], Context(Path()))
    assert mixed_loudness(shared, [1.0]) is None


def test_blocks_do_not_matter() -> None:
    audio = Audio.of(np.random.default_rng(1).standard_normal((2, 3 * RATE)) * 0.1, RATE)
    cuts = [0, 1, 777, 50000, 50001, 3 * RATE]
    pieces = [audio.read(start, stop) for start, stop in pairwise(cuts)]
    by_blocks, whole = measure_blocks(pieces, RATE, 2), measured(audio)
    assert by_blocks.summary() == whole.summary()
    assert np.array_equal(by_blocks.momentary, whole.momentary)


def test_mono_is_one_channel() -> None:
    assert measured(tone([(-20, 5)], channels=1)).integrated == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize("frames", [0, 1, 100, 48000])
def test_silence_is_finite(frames: int) -> None:
    loudness = measured(Audio.silence(2, frames, RATE))
    assert loudness.silent
    assert loudness.true_peak == SILENT
    assert "Infinity" not in json.dumps(asdict(loudness.summary()))


def test_too_short_to_measure_is_silent_but_has_a_peak() -> None:
    loudness = measured(tone([(-6, 0.2)]))
    assert loudness.silent
    assert loudness.true_peak == pytest.approx(-6, abs=0.2)


def test_soft_peaks_are_exact() -> None:
    assert measured(tone([(-66, 2)])).true_peak == pytest.approx(-66, abs=0.1)


def test_more_channels_than_defined() -> None:
    with pytest.raises(UnderstudyError, match="1 to 8 channels"):
        measured(Audio.silence(9, 100, RATE))


def test_the_k_weighting_raises_a_tone_by_what_the_standard_takes_off() -> None:
    """BS.1770-4: -0.691 LU make up for the gain at 997 Hz. Below 10 Hz next to nothing passes."""
    gain = 10 * np.log10(power_response(np.array([997.0, 5.0]), RATE))
    assert gain[0] == pytest.approx(0.691, abs=0.01)
    assert gain[1] < -25
