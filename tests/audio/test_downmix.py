"""Folds to mono: the mean of ordinary stereo to the bit, and never a sound that cancels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from understudy.audio.downmix import fold
from understudy.audio.samples import Audio, Samples, covariance, fold_weights
from understudy.context import Context

RATE = 44100


def voice(pitch: float) -> Samples:
    """A voice with a vibrato, ``[frames]``."""
    time = np.arange(3 * RATE) / RATE
    phase = 2 * np.pi * (pitch * time - 0.02 * pitch / 5.5 * np.cos(2 * np.pi * 5.5 * time) / (2 * np.pi))
    return np.sum([0.2 / n * np.sin(n * phase) for n in range(1, 12)], axis=0, dtype=np.float32)


def delayed(samples: Samples, seconds: float) -> Samples:
    frames = round(seconds * RATE)
    return np.concatenate([np.zeros(frames, np.float32), samples[: len(samples) - frames]])


def decibels(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64))))


def folded(context: Context, *channels: Samples) -> Samples:
    return fold(context, Audio(np.stack(channels), RATE)).read().samples[0]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path)


@pytest.mark.parametrize("share", [0.8, 1.0, 2.0])
def test_channels_that_correlate_fold_to_their_mean_to_the_bit(context, share):
    noise = np.random.default_rng(1).standard_normal((3, 2 * RATE)).astype(np.float32) * np.float32(0.1)
    stereo = np.stack([share * noise[0] + noise[1], share * noise[0] + 0.6 * noise[2]]).astype(np.float32)
    got = fold(context, Audio(stereo, RATE)).read().samples
    np.testing.assert_array_equal(got, stereo.mean(axis=0, keepdims=True, dtype=np.float32))
    np.testing.assert_array_equal(Audio(stereo, RATE).mono().samples, got)


@pytest.mark.parametrize("pitch", [90, 220, 357, 500, 714, 880])
@pytest.mark.parametrize("delay", [0.0003, 0.0007, 0.001, 0.005, 0.02])
def test_a_delayed_channel_keeps_the_voice_within_3_db(context, pitch, delay):
    dry = voice(pitch)
    assert decibels(folded(context, dry, delayed(dry, delay))) == pytest.approx(decibels(dry), abs=2.1)


@pytest.mark.parametrize("level", [0.5, 0.9, 1.0])
def test_a_channel_in_reversed_polarity_keeps_the_voice(context, level):
    dry = voice(220)
    mean = decibels(folded(context, dry, np.float32(level) * dry))
    assert decibels(folded(context, dry, np.float32(-level) * dry)) == pytest.approx(mean, abs=1)
    assert decibels(folded(context, np.float32(-level) * dry, dry)) == pytest.approx(mean, abs=1)


def test_of_two_takes_the_louder_one_is_taken(context):
    np.testing.assert_array_equal(folded(context, voice(220), np.float32(0.9) * voice(311)), voice(220))


def test_a_dead_channel_has_no_weight(context):
    dry = voice(220)
    np.testing.assert_allclose(folded(context, dry, np.zeros_like(dry)), dry, rtol=1e-6)
    np.testing.assert_allclose(folded(context, 1e-3 * dry, dry), dry, rtol=1e-2)


def test_silence_and_samples_that_are_no_numbers():
    assert fold_weights(covariance(np.zeros((2, 10), np.float32))).tolist() == [0.5, 0.5]
    broken = Audio(np.array([[1, np.nan, 1], [1, np.inf, 1]], np.float32), RATE)
    assert broken.mono().samples.tolist() == [[1, 0, 1]]


def test_eight_channels():
    weights = fold_weights(covariance(np.repeat(voice(220)[None], 8, axis=0)))
    np.testing.assert_allclose(weights, 1 / 8)


@pytest.mark.parametrize("second", ["reversed", "delayed"])
def test_the_report_finds_the_vocal_of_such_songs(context, second):
    from understudy.pipeline.report.figures import unmix

    dry = voice(714)
    other = -dry if second == "reversed" else delayed(dry, 0.0007)
    vocals = np.stack([dry, other])
    band = 0.05 * np.random.default_rng(3).standard_normal(vocals.shape).astype(np.float32)
    cover = Audio((vocals + band).astype(np.float32), RATE)
    found = unmix(cover, Audio(vocals.astype(np.float32), RATE), Audio(band, RATE), context)
    assert found.vocal_gain == pytest.approx(0, abs=0.1)
    assert found.instrumental_gain == pytest.approx(0, abs=0.1)
