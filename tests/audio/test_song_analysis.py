"""Tempo, beats and key of signals that were made with a known tempo and key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from understudy.audio import song_analysis
from understudy.audio.samples import Audio
from understudy.audio.song_analysis import PITCH_CLASSES, SongAnalysis, analyse_song
from understudy.context import Context
from understudy.errors import UnderstudyError

RATE = 16000
KEYS = [f"{tonic} {mode}" for mode in ("major", "minor") for tonic in PITCH_CLASSES]
NOTHING = SongAnalysis()


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path)


def clicks(times: NDArray[np.float64], seconds: float, rate: int = RATE) -> Audio:
    sound = np.zeros(round(seconds * rate))
    time = np.arange(round(0.03 * rate)) / rate
    click = np.sin(2 * np.pi * 1500 * time) * np.exp(-120 * time)
    for start in np.round(times * rate).astype(int):
        sound[start : start + len(click)] += click[: len(sound) - start]
    return Audio.of(0.5 * sound, rate)


def tone(midi: float, seconds: float) -> NDArray[np.float64]:
    time = np.arange(round(seconds * RATE)) / RATE
    hertz = 440 * 2 ** ((midi - 69) / 12)
    partials = sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 7))
    return np.asarray(partials * np.minimum(1, np.minimum(time / 0.01, (seconds - time) / 0.05)))


def cadences(key: str, tuning: float = 0.0) -> Audio:
    """I, IV, V, I twice, each chord for 0.8 s above its bass."""
    name, mode = key.split()
    tonic = 48 + PITCH_CLASSES.index(name) + tuning
    first, fourth = ((0, 4, 7), (5, 9, 12)) if mode == "major" else ((0, 3, 7), (5, 8, 12))
    chords = [
        sum(tone(tonic + step, 0.8) for step in (chord[0] - 12, *chord)) for chord in (first, fourth, (7, 11, 14))
    ]
    return Audio.of(0.05 * np.concatenate([*chords, chords[0]] * 2), RATE)


@pytest.fixture(scope="module")
def song() -> Audio:
    """Cadences with a click on every beat at 150 BPM, wide stereo: 6.4 s."""
    chords = cadences("E minor").samples[0]
    beats = clicks(np.arange(0.1, 6.3, 0.4), 6.4).samples[0]
    return Audio(np.stack([chords + 0.8 * beats, 0.5 * chords + beats]).astype(np.float32), RATE)


@pytest.mark.slow
@pytest.mark.parametrize("bpm", [52, 60, 76.5, 90, 100, 120, 128, 140, 170])
def test_clicks_have_their_tempo_and_their_beats(context: Context, bpm: float):
    times = np.arange(0.35, 24.8, 60 / bpm)
    found = analyse_song(context, clicks(times, 25.0, 44100))
    assert found.bpm == pytest.approx(bpm, rel=0.002)
    assert found.bpm_confidence > 0.9
    assert found.beats == pytest.approx(times.tolist(), abs=0.012)


def test_a_tempo_that_drifts_is_followed(context: Context):
    times = np.cumsum(np.linspace(0.52, 0.48, 60))
    found = analyse_song(context, clicks(times, times[-1] + 1))
    assert found.bpm == pytest.approx(120, rel=0.01)
    assert found.beats == pytest.approx(times.tolist(), abs=0.02)


@pytest.mark.parametrize("key", KEYS)
def test_cadences_have_their_key_in_any_tuning(context: Context, key: str):
    found = analyse_song(context, cadences(key, tuning=0.4 * (KEYS.index(key) % 3 - 1)))
    assert found.key == key
    assert found.key_confidence > 0.7


def test_one_note_held_has_no_tempo(context: Context):
    held = Audio.of(0.1 * tone(60, 12.0), RATE)
    assert analyse_song(context, held).bpm is None


@pytest.mark.parametrize("rate", [8000, 44100])
def test_noise_has_neither(context: Context, rate: int):
    noise = Audio.of(0.1 * np.random.default_rng(3).standard_normal((2, 20 * rate)), rate)
    found = analyse_song(context, noise)
    assert (found.bpm, found.beats, found.key) == (None, (), None)


def test_speech_has_neither(context: Context):
    """Syllables as in speech: buzzes whose pitch glides, of irregular lengths, with rests between."""
    random = np.random.default_rng(5)
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < 30 * RATE:
        frames = round(random.uniform(0.08, 0.35) * RATE)
        pitch = np.linspace(random.uniform(85, 180), random.uniform(85, 180), frames)
        phase = 2 * np.pi * np.cumsum(pitch) / RATE
        buzz = sum(np.sin(k * phase) / k for k in range(1, 20))
        parts += [0.1 * np.hanning(frames) * buzz, np.zeros(round(random.exponential(0.08) * RATE))]
    found = analyse_song(context, Audio.of(np.concatenate(parts), RATE))
    assert (found.bpm, found.key) == (None, None)


@pytest.mark.parametrize(
    "sound",
    [
        Audio.silence(2, 0, RATE),
        Audio.silence(2, 20 * RATE, RATE),
        clicks(np.arange(0.1, 4.8, 0.5), 4.9),
        Audio(np.full((1, 10 * RATE), 1e-9, np.float32), RATE),
    ],
    ids=["empty", "silence", "too short", "as good as silence"],
)
def test_there_is_nothing_to_find(context: Context, sound: Audio):
    assert analyse_song(context, sound) == NOTHING


@pytest.mark.slow
@settings(max_examples=12)
@given(
    gain=st.floats(-60, 20),
    polarities=st.tuples(*[st.sampled_from([1.0, -1.0])] * 2),
    swap=st.booleans(),
    workers=st.integers(1, 3),
)
def test_neither_level_nor_polarity_matters(
    tmp_path: Path, song: Audio, gain: float, polarities: tuple[float, float], swap: bool, workers: int
):
    plain = analyse_song(Context(tmp_path), song)
    assert (plain.key, plain.bpm) == ("E minor", pytest.approx(150, rel=0.003))
    samples = song.samples * (10 ** (gain / 20) * np.array(polarities)[:, None]).astype(np.float32)
    changed = analyse_song(Context(tmp_path, workers=workers), Audio(samples[::-1].copy() if swap else samples, RATE))
    assert changed.key == plain.key
    assert changed.bpm == pytest.approx(plain.bpm, rel=1e-3)
    assert changed.beats == pytest.approx(plain.beats, abs=0.002)


def test_the_same_song_gives_the_same_figures(context: Context, song: Audio):
    assert analyse_song(context, song) == analyse_song(context, song)


def test_what_is_missing_is_said(context: Context, song: Audio, monkeypatch: pytest.MonkeyPatch):
    def absent(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(song_analysis, "import_module", absent)
    song_analysis._filters.cache_clear()
    song_analysis._mel_bands.cache_clear()
    with pytest.raises(UnderstudyError) as failed:
        analyse_song(context, song)
    assert failed.value.code == "package-missing"
    assert "pip install librosa" in failed.value.hint


def test_it_can_be_stopped(context: Context, song: Audio):
    context.cancelled.set()
    with pytest.raises(UnderstudyError) as stopped:
        analyse_song(context, song)
    assert stopped.value.code == "cancelled"
