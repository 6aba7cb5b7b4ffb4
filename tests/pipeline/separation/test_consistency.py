"""Stems that sum to their song, and what each policy leaves as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from understudy.audio.samples import Audio, Samples
from understudy.context import Context
from understudy.pipeline.separation import blockwise
from understudy.pipeline.separation.consistency import Policy, consistent

RATE = 44100


def decibels(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-20))


def noise(frames: int, seed: int, channels: int = 2) -> Samples:
    return (0.1 * np.random.default_rng(seed).standard_normal((channels, frames))).astype(np.float32)


def tone(frequency: float, frames: int, rate: int = RATE) -> Samples:
    return np.tile(0.2 * np.sin(2 * np.pi * frequency * np.arange(frames) / rate), (2, 1)).astype(np.float32)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blockwise, "BLOCK", 1 << 15)


@pytest.mark.parametrize("policy", ["residual", "wiener"])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_stems_sum_to_the_song(tmp_path: Path, policy: Policy, channels: int) -> None:
    song, vocals, other = (Audio(noise(100_003, seed, channels), RATE) for seed in range(3))
    found = consistent(Context(tmp_path), song, {"vocals": vocals, "instrumental": other}, policy, "instrumental")
    total = sum(stem.read().samples for stem in found.values())
    assert list(found) == ["vocals", "instrumental"]
    assert decibels(total - song.samples) < decibels(song.samples) - 120


def test_the_residual_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    song, vocals = Audio(noise(50_000, 0), RATE), Audio(noise(50_000, 1), RATE)
    found = consistent(Context(tmp_path), song, {"vocals": vocals}, "residual", "instrumental")
    np.testing.assert_array_equal(found["vocals"].read().samples, vocals.samples)
    np.testing.assert_array_equal(found["instrumental"].read().samples, song.samples - vocals.samples)


def test_the_models_own_stems_stay_and_what_is_missing_is_the_residual(tmp_path: Path) -> None:
    song, vocals, other = (Audio(noise(50_000, seed), RATE) for seed in range(3))
    own = consistent(Context(tmp_path), song, {"vocals": vocals, "instrumental": other}, "model", "instrumental")
    np.testing.assert_array_equal(own["instrumental"].read().samples, other.samples)
    alone = consistent(Context(tmp_path), song, {"vocals": vocals}, "model", "instrumental")
    np.testing.assert_array_equal(alone["instrumental"].read().samples, song.samples - vocals.samples)


@pytest.mark.parametrize("policy", ["residual", "model", "wiener"])
def test_what_lies_above_the_networks_band_stays_in_the_instrumental(tmp_path: Path, policy: Policy) -> None:
    rate, frames = 96000, 150_000
    high, voice, band = tone(30_000, frames, rate), tone(400, frames, rate), tone(1000, frames, rate)
    song = Audio(high + voice + band, rate)
    stems = {"vocals": Audio(voice, rate), "instrumental": Audio(band, rate)}  # as a network at 44.1 kHz gives them
    found = consistent(Context(tmp_path), song, stems, policy, "instrumental")
    inside = slice(20_000, -20_000)
    rest = found["instrumental"].read().samples - band - high
    assert decibels(rest[:, inside]) < decibels(high) - 60
    assert decibels((found["vocals"].read().samples - voice)[:, inside]) < decibels(voice) - 60
    assert {path.name for path in tmp_path.iterdir()} == {"vocals.npy", "instrumental.npy"}


def test_what_is_missing_goes_to_the_stem_that_sounds_there(tmp_path: Path) -> None:
    frames = 60_000
    voice, bass = tone(1000, frames), tone(100, frames)
    song = Audio(voice + bass, RATE)
    halves = {"vocals": Audio(0.5 * voice, RATE), "instrumental": Audio(0.5 * bass, RATE)}
    found = consistent(Context(tmp_path), song, halves, "wiener", "instrumental")
    inside = slice(8000, -8000)
    for name, truth in (("vocals", voice), ("instrumental", bass)):
        assert decibels((found[name].read().samples - truth)[:, inside]) < decibels(truth) - 40


def test_silence_stays_silence(tmp_path: Path) -> None:
    silence = Audio.silence(2, 40_000, RATE)
    found = consistent(Context(tmp_path), silence, {"vocals": silence, "drums": silence}, "wiener", "drums")
    assert all(not stem.read().samples.any() for stem in found.values())
