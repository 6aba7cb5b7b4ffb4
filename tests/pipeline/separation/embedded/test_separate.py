"""What a separator promises (length, rate, alignment, sum), and that this one finds a voice."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.audio.samples import Audio, Samples
from understudy.context import Context
from understudy.errors import Cancelled
from understudy.pipeline.separation.embedded import separate as embedded
from understudy.pipeline.separation.embedded.separate import separate_embedded

RATE = 16000


def separate(song: Audio, folder: Path, workers: int = 1) -> tuple[Samples, Samples]:
    stems = separate_embedded(Context(folder, workers=workers), song)
    assert set(stems) == {"vocals", "instrumental"}
    for stem in stems.values():
        assert (stem.rate, stem.channels, stem.frames) == (song.rate, song.channels, song.frames)
    return stems["vocals"].read().samples, stems["instrumental"].read().samples


def decibels(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-20))


def voice(seconds: float = 12.0, rate: int = RATE) -> Samples:
    """Notes of 0.6 s, a fifth of them silent, with vibrato, 12 harmonics; both channels alike."""
    time = np.arange(round(seconds * rate)) / rate
    note = (time / 0.6).astype(int)
    steps = np.random.default_rng(1).choice([0, 2, 4, 5, 7, 9], note[-1] + 1)
    pitch = 330 * 2 ** (steps[note] / 12) * (1 + 0.015 * np.sin(2 * np.pi * 5.5 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    loudness = np.clip(np.minimum(time % 0.6, 0.6 - time % 0.6) / 0.05, 0, 1) * (note % 5 != 4)
    sound = sum(np.sin(n * phase) / n**0.7 for n in range(1, 13)) * loudness * 0.1
    return np.repeat(sound[None], 2, axis=0).astype(np.float32)


def band(seconds: float = 12.0, rate: int = RATE) -> Samples:
    """Held chords to both sides that come back every 4 s, and a click every half second."""
    time = np.arange(round(seconds * rate)) / rate
    root = np.array([110.0, 146.83])[(time / 2).astype(int) % 2]
    sides = [sum(np.sin(2 * np.pi * root * r * n * (time % 2)) / n for n in range(1, 9)) for r in (2, 2.5)]
    noise = np.random.default_rng(2).normal(0, 1, rate // 2)[(time % 0.5 * rate).astype(int)]
    drum = 0.3 * noise * np.exp(-60 * (time % 0.5))
    return np.stack([0.07 * sides[0] + 0.03 * sides[1] + drum, 0.03 * sides[0] + 0.07 * sides[1] + drum]).astype(
        np.float32
    )


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 2])
def test_the_voice_goes_to_the_vocals(tmp_path: Path, channels: int) -> None:
    sung, played = voice()[:channels], band()[:channels]
    vocals, instrumental = separate(Audio(sung + played, RATE), tmp_path)
    assert decibels(sung) - decibels(sung - vocals) > 4
    assert decibels(played) - decibels(played - instrumental) > 6


@pytest.mark.slow
def test_stems_are_aligned_with_the_song(tmp_path: Path) -> None:
    sung = voice()
    vocals, _ = separate(Audio(sung + band(), RATE), tmp_path)
    spectra = np.fft.rfft(vocals[0], 2 * vocals.shape[1]), np.fft.rfft(sung[0], 2 * vocals.shape[1])
    assert np.fft.irfft(spectra[0] * np.conj(spectra[1])).argmax() == 0


@pytest.mark.slow
def test_without_a_voice_the_vocals_are_nearly_nothing(tmp_path: Path) -> None:
    song = Audio(band(), RATE)
    vocals, _ = separate(song, tmp_path)
    assert decibels(vocals) < decibels(song.samples) - 20


@pytest.mark.slow
def test_an_a_cappella_stays_mostly_vocals(tmp_path: Path) -> None:
    song = Audio(voice(), RATE)
    vocals, instrumental = separate(song, tmp_path)
    assert decibels(vocals) > decibels(song.samples) - 3
    assert decibels(instrumental) < decibels(song.samples) - 6


def test_silence_stays_silence(tmp_path: Path) -> None:
    vocals, instrumental = separate(Audio.silence(2, 3 * RATE, RATE), tmp_path)
    assert not vocals.any()
    assert not instrumental.any()


def test_the_band_above_the_voice_is_left_to_the_instrumental(tmp_path: Path) -> None:
    rate = 96000
    whistle = 0.1 * np.sin(2 * np.pi * 20000 * np.arange(3 * rate) / rate)
    song = Audio((voice(3.0, rate) + whistle).astype(np.float32), rate)
    vocals, _ = separate(song, tmp_path)
    window = np.hanning(vocals.shape[1])
    spectrum, original = (np.abs(np.fft.rfft(s[0] * window)) for s in (vocals, song.samples))
    assert spectrum[3 * 19900 : 3 * 20100].max() < 1e-4 * original[3 * 19900 : 3 * 20100].max()


def test_level_does_not_change_the_separation(tmp_path: Path) -> None:
    song = voice(4.0) + band(4.0)
    loud, _ = separate(Audio(song, RATE), tmp_path)
    quiet, _ = separate(Audio(song * np.float32(2**-12), RATE), tmp_path)
    np.testing.assert_allclose(quiet * 2**12, loud, atol=1e-6)


@settings(max_examples=25)
@given(
    frames=st.integers(0, 9000),
    channels=st.integers(1, 3),
    rate=st.sampled_from([8000, 22050, 44100, 192000]),
    seed=st.integers(0, 99),
)
def test_the_stems_sum_to_the_song(tmp_path: Path, frames: int, channels: int, rate: int, seed: int) -> None:
    samples = np.random.default_rng(seed).normal(0, 0.5, (channels, frames)).astype(np.float32)
    vocals, instrumental = separate(Audio(samples, rate), tmp_path)
    assert np.isfinite(vocals).all()
    np.testing.assert_allclose(vocals + instrumental, samples, atol=1e-6)


@pytest.mark.slow
def test_windows_and_workers_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    song = Audio(voice() + band(), RATE)
    whole, _ = separate(song, tmp_path)
    monkeypatch.setattr(embedded, "WINDOW", 5.0)
    monkeypatch.setattr(embedded, "OVERLAP", 1.0)
    one, rest = separate(song, tmp_path)
    many, _ = separate(song, tmp_path, workers=3)
    assert one.tobytes() == many.tobytes()
    assert decibels(one + rest - song.samples) < -120
    assert decibels(one - whole) < decibels(whole) - 3  # shorter windows know less, but say much the same


@pytest.mark.slow
def test_it_can_be_cancelled(tmp_path: Path) -> None:
    stop = Event()
    stop.set()
    with pytest.raises(Cancelled):
        separate_embedded(Context(tmp_path, cancelled=stop), Audio(band(), RATE))
