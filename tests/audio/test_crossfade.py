"""Splices: what was one stays one, levels stay steady whatever meets, and nothing clicks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.audio.crossfade import FADE, Segment, correlation, fade_gains, spliced
from understudy.audio.samples import Audio, concatenate
from understudy.context import Context

RATE = 16000


def noise(seed: int, seconds: float = 8.0, channels: int = 1) -> Audio:
    random = np.random.default_rng(seed)
    return Audio.of(0.1 * random.standard_normal((channels, round(seconds * RATE))), RATE)


def tone(hertz: float, phase: float, seconds: float = 8.0) -> Audio:
    times = np.arange(round(seconds * RATE)) / RATE
    return Audio.of(0.3 * np.sin(2 * np.pi * hertz * times + phase), RATE)


def splice(*sources: Audio) -> Audio:
    """The sources in turns of equal length."""
    edges = np.linspace(0, sources[0].frames, len(sources) + 1).astype(int)
    segments = [Segment(one, int(a), int(b)) for one, a, b in zip(sources, edges[:-1], edges[1:], strict=True)]
    return concatenate(list(spliced(segments, Context(Path()))))


def around(audio: Audio, frame: int, seconds: float = FADE) -> np.ndarray:
    half = round(seconds * RATE / 2)
    return audio.samples[:, frame - half : frame + half]


def decibels(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2)))


def test_the_same_sound_goes_on_as_if_nothing_had_been():
    sound = noise(1, channels=2)
    assert np.abs(splice(sound, sound, sound).samples - sound.samples).max() < 1e-6


def test_away_from_the_seams_every_sample_is_as_it_was():
    one, two = noise(1), noise(2)
    joined = splice(one, two)
    seam, half = one.frames // 2, round(FADE * RATE / 2)
    assert joined.frames == one.frames
    assert np.array_equal(joined.samples[:, : seam - half], one.samples[:, : seam - half])
    assert np.array_equal(joined.samples[:, seam + half :], two.samples[:, seam + half :])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.95, 1.0])
def test_the_level_is_steady_however_much_the_two_have_in_common(share: float):
    """Of many seams the mean: a single one holds too few samples of noise to tell tenths of a decibel."""
    levels = []
    for seed in range(60):
        common, one, two = (noise(3 * seed + part, 0.6).samples for part in range(3))
        mixed = [share**0.5 * common + (1 - share) ** 0.5 * other for other in (one, two)]
        joined = splice(*(Audio(samples.astype(np.float32), RATE) for samples in mixed))
        levels.append(decibels(around(joined, joined.frames // 2)))
    assert abs(np.mean(levels) + 20) < 0.2


@pytest.mark.parametrize("phase", np.linspace(0, 0.6 * np.pi, 5))
def test_two_tones_of_any_phase_meet_without_a_click_or_a_hole(phase: float):
    one, two = tone(220, 0), tone(220, phase)
    joined = splice(one, two)
    steps = np.abs(np.diff(around(joined, joined.frames // 2, 2 * FADE)[0]))
    assert steps.max() < 1.6 * np.abs(np.diff(one.samples[0])).max()
    assert abs(decibels(around(joined, joined.frames // 2)) - decibels(one.samples)) < 1.0


def test_silence_meets_sound_without_a_click():
    sound = tone(220, 0)
    joined = splice(Audio.silence(1, sound.frames, RATE), sound)
    assert np.abs(np.diff(joined.samples[0])).max() <= 1.05 * np.abs(np.diff(sound.samples[0])).max()


@given(st.integers(2, 4000), st.floats(-1, 1))
def test_the_gains_keep_the_power_of_what_correlates_so(frames: int, likeness: float):
    falling, rising = fade_gains(frames, likeness)
    assert falling.shape == rising.shape == (frames,)
    power = falling.astype(float) ** 2 + rising.astype(float) ** 2 + 2 * max(likeness, -0.5) * falling * rising
    assert np.allclose(power, 1, atol=1e-4)
    assert np.all(np.diff(falling) <= 1e-6) or likeness < 0
    assert np.allclose(falling, rising[::-1], atol=1e-6)


def test_correlation_of_what_is_known():
    one, two = noise(1).samples, noise(2).samples
    assert correlation(one, one) == pytest.approx(1)
    assert correlation(one, -one) == pytest.approx(-1)
    assert abs(correlation(one, two)) < 0.03
    assert correlation(one, np.zeros_like(one)) == 0.0


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch):
    one, two = noise(1), noise(2)
    whole = splice(one, two, one)
    monkeypatch.setattr("understudy.audio.crossfade._BLOCK", 0.11)
    assert np.array_equal(splice(one, two, one).samples, whole.samples)


def test_segments_that_do_not_fit_are_a_bug():
    one = noise(1)
    with pytest.raises(ValueError, match="follow one another"):
        list(spliced([Segment(one, 0, 10), Segment(one, 20, 30)], Context(Path())))
