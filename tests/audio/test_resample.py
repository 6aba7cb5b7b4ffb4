"""Sample rates: exact lengths, time kept, no aliases, and blocks that give the same as the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.audio.resample import resample, resample_blocks, resampled_frames
from understudy.audio.samples import Audio, concatenate
from understudy.context import Context

RATES = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 192000)


def noise(frames: int, rate: int, channels: int = 2) -> Audio:
    return Audio.of(np.random.default_rng(frames).standard_normal((channels, frames)) * 0.1, rate)


def tone(frequency: float, rate: int, seconds: float = 1.0) -> Audio:
    return Audio.of(0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate), rate)


@given(st.integers(0, 5000), st.sampled_from(RATES), st.sampled_from(RATES))
@settings(max_examples=60)
def test_the_length_is_the_rounded_product(frames, old, new):
    result = resample(noise(frames, old), new)
    assert result.rate == new
    assert result.frames == resampled_frames(frames, old, new)
    assert abs(result.frames - frames * new / old) <= 0.5


@pytest.mark.parametrize(
    ("old", "new"), [(44100, 48000), (48000, 44100), (44100, 16000), (16000, 44100), (8000, 192000)]
)
def test_an_impulse_stays_at_its_time(old, new):
    samples = np.zeros((1, 3 * old), np.float32)
    samples[0, [old, 2 * old]] = 1.0  # whole seconds, so that they fall on a frame at both rates
    result = resample(Audio(samples, old), new).samples[0]
    assert np.argmax(result[: 3 * new // 2]) == new
    assert np.argmax(result[3 * new // 2 :]) + 3 * new // 2 == 2 * new


def test_there_and_back_gives_the_sound_within_the_band():
    source = concatenate([tone(1000, 44100), tone(9000, 44100), tone(18000, 44100)])
    back = resample(resample(source, 48000), 44100)
    assert back.frames == source.frames
    inside = slice(2000, 42000)  # away from the ends, where the tone itself is cut
    assert np.max(np.abs(back.samples[:, inside] - source.samples[:, inside])) < 1e-5


def test_what_does_not_fit_under_the_new_rate_is_gone_and_not_folded():
    for frequency in (8500, 10000, 15000, 20000):
        result = resample(tone(frequency, 44100), 16000)
        assert np.max(np.abs(result.samples[:, 1000:-1000])) < 1e-6  # -120 dB, the float32 floor


@pytest.mark.parametrize("frames", [0, 1, 2, 65535, 65536, 65537, 200_003])
@pytest.mark.parametrize("new", [16000, 44100, 48000])
def test_blocks_are_the_same_as_the_whole(tmp_path: Path, frames, new):
    source = noise(frames, 44100)
    seen: list[float] = []
    blocks = list(resample_blocks(source, new, Context(tmp_path, on_progress=seen.append)))
    whole = resample(source, new).samples
    assert all(block.frames > 0 and block.rate == new for block in blocks)
    got = concatenate(blocks).samples if blocks else np.zeros((2, 0), np.float32)
    np.testing.assert_array_equal(got, whole)
    assert seen == sorted(seen)


def test_agrees_with_soxr_in_one_go():
    import soxr

    source = noise(300_000, 44100)
    reference = soxr.resample(source.samples.T, 44100, 48000, quality="VHQ").T
    np.testing.assert_array_equal(resample(source, 48000).samples, reference)


def test_the_same_rate_changes_nothing():
    source = noise(1000, 44100)
    assert resample(source, 44100) is source


def test_values_beyond_full_scale_are_kept():
    assert np.max(resample(Audio(8 * tone(440, 44100).samples, 44100), 48000).samples) == pytest.approx(4, abs=0.01)


@pytest.mark.parametrize("frames", [0, 1, 999, 1000, 1001, 2000])
@pytest.mark.parametrize("rate", [8000, 11025])
def test_exactly_so_many_frames(tmp_path: Path, frames: int, rate: int) -> None:
    sound = noise(1000, 8000)
    blocks = list(resample_blocks(sound, rate, Context(tmp_path), frames))
    free = resample(sound, rate)
    made = concatenate(blocks) if blocks else Audio.silence(2, 0, rate)
    np.testing.assert_array_equal(made.samples, free.read(0, frames).samples)
