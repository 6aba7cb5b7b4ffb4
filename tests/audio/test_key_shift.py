from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from understudy.audio import key_shift
from understudy.audio.key_shift import shift_key
from understudy.audio.samples import Audio, Samples, concatenate
from understudy.context import Context

RATE = 44100


def shifted(audio: Audio, semitones: float) -> Audio:
    return concatenate(list(shift_key(audio, semitones, Context(Path()))))


def frequency(samples: Samples, rate: int) -> float:
    """Of the strongest tone, by a parabola through the top of the spectrum."""
    size = 1 << 20
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), size))
    top = int(spectrum.argmax())
    before, at, after = np.log(spectrum[top - 1 : top + 2])
    return float((top + 0.5 * (before - after) / (before - 2 * at + after)) * rate / size)


def clicks(rate: int, seconds: float, every: float) -> tuple[Samples, list[int]]:
    length = rate // 20
    burst = np.random.default_rng(2).standard_normal(length) * np.exp(-np.arange(length) / (rate * 0.007))
    samples = np.zeros((2, round(seconds * rate)), np.float32)
    places = [round(place * rate) for place in np.arange(every, seconds - 0.2, every)]
    for place in places:
        samples[:, place : place + length] = burst * 0.3
    return samples, places


@pytest.mark.parametrize("semitones", [-5, -2, 1, 3, 12])
@pytest.mark.parametrize("tone", [220.0, 880.0, 3000.0])
def test_pitch(semitones: int, tone: float) -> None:
    sine = 0.3 * np.sin(2 * np.pi * tone * np.arange(4 * RATE) / RATE)
    found = frequency(shifted(Audio.of(sine, RATE), semitones).samples[0, RATE:-RATE], RATE)
    assert 1200 * np.log2(found / tone) == pytest.approx(100 * semitones, abs=12)


@pytest.mark.parametrize("rate", [8000, 44100])
@pytest.mark.parametrize("semitones", [-4, 3])
def test_clicks_stay_in_their_places(semitones: int, rate: int) -> None:
    samples, places = clicks(rate, 4, 0.5)
    moved = shifted(Audio(samples, rate), semitones).samples
    assert moved.shape == samples.shape
    around = rate // 10

    def centre(sound: Samples, place: int) -> float:
        energy = np.cumsum(np.square(sound[0, place - around : place + around], dtype=np.float64))
        return float(np.searchsorted(energy, energy[-1] / 2))

    for place in places:
        assert abs(centre(moved, place) - centre(samples, place)) <= 0.003 * rate
        before = np.square(moved[0, place - around : place - rate // 200]).sum()
        assert before < 0.02 * np.square(moved[0, place - around : place + around]).sum()


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("frames", [0, 1, 1000, 50000])
def test_length_and_channels(channels: int, frames: int) -> None:
    audio = Audio.of(np.random.default_rng(0).standard_normal((channels, frames)), 22050)
    result = shifted(audio, 2)
    assert result.samples.shape == (channels, frames)
    assert np.isfinite(result.samples).all()


def test_no_shift_gives_the_sound_back() -> None:
    audio = Audio.of(np.random.default_rng(0).standard_normal((2, 50000)) * 0.1, RATE)
    assert np.array_equal(shifted(audio, 0).samples, audio.samples)


def test_silence_stays_silent() -> None:
    assert not shifted(Audio.silence(2, RATE, RATE), 3).samples.any()


def test_same_bytes_again() -> None:
    audio = Audio.of(np.random.default_rng(4).standard_normal((2, 2 * RATE)) * 0.1, RATE)
    assert np.array_equal(shifted(audio, -3).samples, shifted(audio, -3).samples)


def test_a_song_longer_than_a_segment_is_joined_in_its_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    rate = 8000
    monkeypatch.setattr(key_shift, "SEGMENT", 20 * rate)
    time = np.arange(70 * rate) / rate
    sung = time % 4 < 3.5  # half a second of silence every four seconds
    audio = Audio.of(0.3 * sung * np.sin(2 * np.pi * 440 * time), rate)
    assert len(key_shift.find_joins(audio, Context(Path()))) >= 3
    result = shifted(audio, 4)
    assert result.frames == audio.frames
    level = np.sqrt(np.square(result.samples[0]).reshape(-1, rate // 10).mean(axis=1))
    steady = sung.reshape(-1, rate // 10).all(axis=1)
    inside = steady & np.roll(steady, 2) & np.roll(steady, -2)
    assert level[inside] == pytest.approx(0.3 * np.sqrt(0.5), rel=0.1)


def test_beyond_two_octaves() -> None:
    with pytest.raises(ValueError, match="beyond"):
        shifted(Audio.silence(1, 100, RATE), 25)
