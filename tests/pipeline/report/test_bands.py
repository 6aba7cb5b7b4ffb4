from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.signals import song
from understudy.audio import loudness
from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.pipeline.report.bands import BANDS, HIGHEST, LOWEST, analyse


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path)


def noise(seconds: float, rate: int, channels: int = 2) -> Audio:
    return Audio.of(0.1 * np.random.default_rng(1).standard_normal((channels, round(seconds * rate))), rate)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 96000])
def test_the_weighted_level_is_that_of_the_loudness_meter(rate: int, context: Context) -> None:
    sound = noise(6, rate)
    level = analyse(sound, context).weighted[:-1].mean()
    assert -0.691 + 10 * np.log10(level) == pytest.approx(loudness.measure(sound, context).integrated, abs=0.25)


@pytest.mark.parametrize("frequency", [110.0, 440.0, 2500.0])
def test_a_tone_stands_in_its_band(frequency: float, context: Context) -> None:
    time = np.arange(3 * 44100) / 44100
    heard = analyse(Audio.of(0.5 * np.sin(2 * np.pi * frequency * time), 44100), context)
    centres = np.geomspace(LOWEST, HIGHEST, BANDS + 2)[1:-1]
    found = centres[heard.bands.mean(axis=0).argmax()]
    assert abs(np.log2(found / frequency)) < 0.15


def test_windows_leave_no_seam(context: Context) -> None:
    """A sound longer than one window: the columns are those of the same sound shifted by whole columns."""
    rate, sound = 8000, noise(47, 8000, 1)
    heard = analyse(sound, context)
    shift = 10
    columns = round(shift * heard.step * rate)
    later = analyse(sound.read(columns), context)
    np.testing.assert_allclose(heard.bands[shift + 1 : -2], later.bands[1 : len(heard.bands) - shift - 2], rtol=1e-3)
    assert heard.columns == -(-sound.frames // round(heard.step * rate))


def test_cut_crests_are_found_at_any_level(context: Context) -> None:
    clean = 0.1 * song(6.0, 44100).vocals.samples
    top = 0.4 * np.abs(clean).max()
    found = [analyse(Audio.of(one, 44100), context, clicks=True) for one in (clean, np.clip(clean, -top, top))]
    assert found[0].crests == 0
    assert (found[1].crests or 0) > 100
    assert found[0].clipped == found[1].clipped == 0  # neither is at full scale


def test_clicks_are_found_where_they_are_and_drums_are_not_clicks(context: Context) -> None:
    clean = song(6.0, 44100)
    assert analyse(clean.mix, context, clicks=True).clicks == ()
    assert analyse(clean.vocals, context, clicks=True).clicks == ()
    torn = clean.vocals.samples.copy()
    places = [1.5, 2.75, 4.0]
    for place in places:
        torn[:, round(place * 44100)] += 0.4
    found: Any = analyse(Audio(torn, 44100), context, clicks=True).clicks
    assert len(found) == 3
    np.testing.assert_allclose(found, places, atol=0.001)


def test_clipping_is_counted_but_one_loud_sample_is_not(context: Context) -> None:
    sound = noise(1, 8000, 1).samples.copy()
    sound[0, 100] = 1.0
    assert analyse(Audio(sound, 8000), context).clipped == 0
    sound[0, 200:205], sound[0, 300:307] = 1.0, -1.0
    assert analyse(Audio(sound, 8000), context).clipped == 12


def test_bad_samples_are_counted_once_and_heard_as_silence(context: Context) -> None:
    sound = noise(45, 8000, 2).samples.copy()
    for place in (0, 159990, 160000, 200000):  # near where the windows meet, too
        sound[1, place : place + 5] = np.nan
    sound[0, 5] = np.inf
    heard = analyse(Audio(sound, 8000), context)
    assert heard.bad_samples == 21
    assert np.isfinite(heard.bands).all()
    assert np.isfinite(heard.weighted).all()


@pytest.mark.parametrize("frames", [0, 1, 100, 5000])
def test_short_and_empty_sound_is_heard(frames: int, context: Context) -> None:
    heard = analyse(Audio.silence(2, frames, 44100), context, clicks=True)
    assert heard.columns >= 1
    assert float(heard.level.max()) <= -120
    assert (heard.peak, heard.clipped, heard.bad_samples, heard.clicks) == (0.0, 0, 0, ())
