from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.covers import unassessed
from tests.support.signals import singing, song
from understudy.audio.pitch import PitchTrack
from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.errors import Cancelled
from understudy.pipeline.report import assess
from understudy.pipeline.report.figures import unmix
from understudy.pipeline.report.intonation import compare, delay_of, praat_track, search_range


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path)


def everywhere(seconds: np.ndarray) -> np.ndarray:
    return np.ones(seconds.shape, bool)


@pytest.mark.parametrize("rate", [16000, 44100])
def test_a_voice_is_on_its_own_notes(rate: int, context: Context) -> None:
    sound, pitch = singing(rate=rate)
    found = compare(praat_track(sound, context, *search_range(pitch)), pitch, everywhere)
    assert found.on_note > 0.97
    assert found.octave_errors < 0.01
    assert abs(found.bias) < 8


def test_whistle_register_is_on_its_notes(context: Context) -> None:
    seconds, rate = 4, 16000
    f0 = 800 * 2 ** (1.5 * np.arange(seconds * rate) / (seconds * rate))  # to 2263 Hz
    phase = 2 * np.pi * np.cumsum(f0) / rate
    pitch = PitchTrack(f0[:: rate // 200].astype(np.float32))
    found = compare(praat_track(Audio.of(0.2 * np.sin(phase), rate), context, *search_range(pitch)), pitch, everywhere)
    assert found.on_note > 0.97
    assert found.unsung < 0.03


@pytest.mark.parametrize("cents", [-80.0, 70.0])
def test_singing_beside_the_note_is_measured_in_cents(cents: float, context: Context) -> None:
    sound, pitch = singing(rate=16000)
    sung = praat_track(sound, context, *search_range(pitch))
    found = compare(sung, pitch.transposed(-cents / 100), everywhere)
    assert found.bias == pytest.approx(cents, abs=10)
    assert found.on_note < 0.2
    assert found.octave_errors == 0


def test_octaves_are_told_from_other_wrong_notes(context: Context) -> None:
    pitch = PitchTrack(np.full(400, 220, np.float32))
    sung = np.full(200, 220, np.float32)
    sung[:40], sung[40:60], sung[60:70] = 440, 330, 0
    found = compare(PitchTrack(sung, 0.01), pitch, everywhere)
    assert found.octave_errors == pytest.approx(40 / 190)
    assert found.on_note == pytest.approx(130 / 190)
    assert found.unsung == pytest.approx(10 / 200)


@pytest.mark.slow
def test_long_sound_is_tracked_in_windows_without_seams(context: Context) -> None:
    """A steady glide over several windows: every frame must be where it is in the song, also at the seams."""
    rate, seconds = 16000, 70
    time = np.arange(rate * seconds) / rate
    f0 = 150 * 2 ** (time / seconds)
    phase = 2 * np.pi * np.cumsum(f0) / rate
    sound = Audio.of(0.1 * np.sum([np.sin(k * phase) / k for k in range(1, 12)], axis=0), rate)
    track = praat_track(sound, context, 80, 500)
    inner = slice(20, -20)
    assert track.voiced[inner].all()
    expected = 150 * 2 ** (track.times[inner] / seconds)
    assert np.abs(1200 * np.log2(track.f0[inner] / expected)).max() < 5


@pytest.mark.parametrize("late", [-0.05, 0.0, 0.03, 0.12])
def test_the_delay_of_a_melody(late: float, context: Context) -> None:
    sound, pitch = singing(rate=16000)
    moved = Audio(np.roll(sound.samples, round(late * 16000), axis=1), 16000)
    found = delay_of(praat_track(moved, context, *search_range(pitch)), pitch)
    assert found == pytest.approx(late, abs=0.011)


def test_no_delay_is_claimed_between_melodies_that_do_not_fit() -> None:
    random = np.random.default_rng(3)
    one, other = (PitchTrack(np.repeat(random.uniform(100, 400, 40), 20).astype(np.float32), 0.01) for _ in range(2))
    assert delay_of(one, other) is None


@pytest.mark.parametrize("gains", [(1.0, 1.0), (0.5, 1.0), (2.0, 0.7)])
def test_gains_are_read_back_from_the_cover(gains: tuple[float, float], context: Context) -> None:
    parts = song(6.0, 22050)
    cover = Audio(gains[0] * parts.vocals.samples + gains[1] * parts.instrumental.samples, 22050)
    mixture = unmix(cover, parts.vocals, parts.instrumental, context)
    assert mixture.vocal_gain == pytest.approx(20 * np.log10(gains[0]), abs=0.05)
    assert mixture.instrumental_gain == pytest.approx(20 * np.log10(gains[1]), abs=0.05)
    assert mixture.residual is not None
    assert mixture.residual < -80
    assert mixture.delay == 0


@pytest.mark.parametrize("delay", [-300, -1, 1, 44, 2000])
def test_the_band_s_delay_is_found_to_the_sample(delay: int, context: Context) -> None:
    parts = song(6.0, 22050)
    cover = Audio(parts.vocals.samples + np.roll(parts.instrumental.samples, delay, axis=1), 22050)
    assert unmix(cover, parts.vocals, parts.instrumental, context).delay == delay


def test_measuring_stops_when_it_is_cancelled(tmp_path: Path) -> None:
    inputs = unassessed(tmp_path)
    context = Context(tmp_path, workers=2)
    context.cancelled.set()
    with pytest.raises(Cancelled):
        assess(context, inputs)
