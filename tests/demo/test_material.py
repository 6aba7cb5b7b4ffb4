"""The material that other tests stand on is what it says it is."""

import numpy as np
import parselmouth
import pytest

from tests.support.signals import PHRASE, Note, band, singing, song


@pytest.mark.parametrize(("pitch", "formants"), [(45, 1.0), (57, 1.0), (64, 1.2), (71, 1.2)])
def test_the_pitch_track_is_what_praat_hears(pitch: int, formants: float) -> None:
    sound, track = singing([Note(pitch, 0.6, "a"), Note(pitch + 2, 0.6, "o", "s")], formants=formants)
    heard = parselmouth.Sound(sound.samples[0].astype(float), sound.rate).to_pitch_ac(0.005, 60, pitch_ceiling=900)
    f0 = np.interp(track.times, heard.xs(), heard.selected_array["frequency"])
    both = (f0 > 60) & track.voiced
    cents = 1200 * np.log2(f0[both] / track.f0[both])
    assert both.sum() > 0.95 * track.voiced.sum()
    assert np.mean(np.abs(cents) < 30) > 0.97


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_lengths_and_rests(rate: int) -> None:
    sound, track = singing(PHRASE, rate)
    assert (sound.channels, sound.frames) == (1, 4 * rate)
    assert track.frames == 801
    rest = sound.read(round(2.15 * rate), round(2.28 * rate)).samples
    assert np.abs(rest).max() < 0.01
    assert not track.voiced[440:450].any()


def test_a_song_is_the_sum_of_its_stems_and_has_width() -> None:
    made = song(3.0)
    np.testing.assert_array_equal(made.mix.samples, made.vocals.samples + made.instrumental.samples)
    assert np.abs(made.mix.samples).max() < 1
    assert np.abs(made.vocals.read(0, 40000).samples).max() == 0
    side = made.mix.samples[0] - made.mix.samples[1]
    assert side.std() > 0.1 * made.mix.samples.std()


def test_the_same_seed_gives_the_same_sound() -> None:
    np.testing.assert_array_equal(singing(seed=3)[0].samples, singing(seed=3)[0].samples)
    np.testing.assert_array_equal(band(2.0, seed=3).samples, band(2.0, seed=3).samples)
