"""The speaker encoder: its front end against the definition, its answers where the weights are installed."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.recording_takes import take
from understudy.audio import windows
from understudy.audio.samples import Audio
from understudy.errors import UnderstudyError
from understudy.voices import speaker

needs_weights = pytest.mark.skipif(not speaker.available(), reason="the model speaker-encoder isn't installed")


def test_a_tone_lands_in_the_mel_band_around_it() -> None:
    """Bands are linear below 1 kHz (66.7 Hz per mel) and logarithmic above; the top edge is 8 kHz, mel 45.25."""
    time = np.arange(16000) / 16000
    for hertz, mel in (
        (500, 7.5),
        (2000, 15 + np.log(2) * 27 / np.log(6.4)),
        (6000, 15 + np.log(6) * 27 / np.log(6.4)),
    ):
        spectrum = speaker.mel_spectrogram(np.sin(2 * np.pi * hertz * time).astype(np.float32))
        assert spectrum.shape == (101, 40)
        assert spectrum.dtype == np.float32
        loudest = int(np.argmax(spectrum[50]))
        top = 15 + np.log(8) * 27 / np.log(6.4)
        assert abs((loudest + 1) * top / 41 - mel) < top / 41


def test_mel_power_is_quadratic_and_centred() -> None:
    click = np.zeros(1600, np.float32)
    click[800] = 1
    one, two = speaker.mel_spectrogram(click), speaker.mel_spectrogram(2 * click)
    np.testing.assert_allclose(two, 4 * one, rtol=1e-5)
    energy = one.sum(axis=1)
    assert int(np.argmax(energy)) == 5  # 800 samples are 5 hops
    np.testing.assert_allclose(energy[4], energy[6], rtol=1e-5)
    assert energy[3] == energy[7] == 0  # windows are 400 long


def test_silence_goes_and_voice_stays() -> None:
    voice = take(4, 16000).samples[0]
    padded = np.concatenate([np.zeros(32000, np.float32), voice, np.zeros(48000, np.float32)])
    kept = speaker.without_silence(padded)
    assert 0.85 * len(voice) < len(kept) < 1.25 * len(voice)
    assert len(speaker.without_silence(np.zeros(16000, np.float32))) == 0
    assert len(speaker.without_silence(np.zeros(10, np.float32))) == 0


def test_similarity_is_the_cosine() -> None:
    first, second = np.zeros(256, np.float32), np.zeros(256, np.float32)
    first[0], second[:2] = 2, 1
    assert speaker.similarity(first, second) == pytest.approx(2**-0.5)
    np.testing.assert_allclose(speaker.together(np.stack([first, first])), first / 2)


def test_without_the_weights_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speaker, "usable", lambda name: None)
    assert not speaker.available()
    with pytest.raises(UnderstudyError) as missing:
        speaker.embed(take(4, 16000))
    assert missing.value.code == "speaker-encoder-missing"
    assert "understudy models fetch speaker-encoder" in missing.value.hint


@needs_weights
def test_an_embedding_tells_voices_apart_whatever_their_format() -> None:
    him, again = take(6, 16000), take(6, 16000, seed=5)
    her = take(6, 16000, formants=1.3, semitones=12)
    one = speaker.embed(him)
    assert one.shape == (256,)
    assert one.dtype == np.float32
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5)
    assert one.min() >= 0
    assert speaker.similarity(one, speaker.embed(again)) > 0.9 > 0.8 > speaker.similarity(one, speaker.embed(her))
    stereo = Audio(np.concatenate([take(6, 44100).samples] * 2) * np.float32(0.02), 44100)
    assert speaker.similarity(one, speaker.embed(stereo)) > 0.9
    assert np.array_equal(speaker.embed(him), one)


@needs_weights
def test_short_and_silent_sounds() -> None:
    assert speaker.partials(take(0.8, 16000)).shape == (1, 256)
    assert len(speaker.partials(take(8, 16000))) == pytest.approx(9, abs=2)
    for sound in (Audio.silence(1, 32000, 16000), Audio.silence(2, 0, 44100)):
        with pytest.raises(UnderstudyError) as nobody:
            speaker.embed(sound)
        assert nobody.value.code == "nobody-heard"


@needs_weights
def test_long_sounds_are_heard_in_excerpts(monkeypatch: pytest.MonkeyPatch) -> None:
    voice = take(12, 16000)
    whole = speaker.embed(voice)
    monkeypatch.setattr(windows, "_LONGEST_EXCERPTS", 8.0)
    monkeypatch.setattr(windows, "_EXCERPT", 4.0)
    assert len(speaker.partials(voice)) <= 8 * 1.4
    assert speaker.similarity(whole, speaker.embed(voice)) > 0.95
