"""Sung phrases: their pitch is what they say, they are the same each time, and singers differ as they should."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from understudy.audio.pitch import PitchSettings, track
from understudy.context import Context
from understudy.voices.rvc.training.phrases import Note, Singer, phrases, sing

NOTES = (Note(57, 0.5, "a", "m"), Note(60, 0.6, "ai", "s"), Note(None, 0.2), Note(64, 0.5, "o", "t"))


@pytest.mark.slow
def test_the_three_phrases_are_long_enough_and_their_pitch_is_heard():
    for phrase in phrases():
        assert 8 <= phrase.sound.duration <= 12
        assert phrase.sound.channels == 1
        assert np.abs(phrase.sound.samples).max() < 0.9
        heard = track(Context(Path()), phrase.sound, PitchSettings())
        assert heard.frames == phrase.pitch.frames
        both = heard.voiced & phrase.pitch.voiced
        cents = 1200 * np.abs(np.log2(heard.f0[both] / phrase.pitch.f0[both]))
        assert np.mean(cents > 50) < 0.005
        assert np.median(cents) < 5
        assert np.mean(heard.voiced != phrase.pitch.voiced) < 0.03


@pytest.mark.slow
def test_the_phrases_cover_three_ranges():
    medians = [float(np.median(phrase.pitch.f0[phrase.pitch.voiced])) for phrase in phrases()]
    assert medians[0] < 180 < 260 < medians[1] < medians[2]


def test_the_same_seed_gives_the_same_sound_and_another_one_not():
    first, again, other = (sing(NOTES, Singer(), 16000, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first[0].samples, again[0].samples)
    assert np.array_equal(first[1].f0, again[1].f0)
    assert not np.array_equal(first[0].samples, other[0].samples)


def test_two_singers_sing_the_same_f0_with_other_resonances():
    man, child = (sing(NOTES, replace(Singer(), tract=tract), 16000, seed=1) for tract in (1.0, 1.3))
    assert np.array_equal(man[1].f0, child[1].f0)
    spectra = [np.abs(np.fft.rfft(sound.samples[0, :8000])) for sound, _ in (man, child)]
    middle = [float(np.sum(np.arange(len(s)) * s) / np.sum(s)) for s in spectra]
    assert middle[1] > 1.1 * middle[0]


def test_consonants_and_rests_are_unvoiced_and_nasals_are_not():
    sound, pitch = sing(NOTES, Singer(), 16000)
    assert pitch.frames == sound.frames * 200 // 16000 + 1
    assert pitch.voiced[2:90].all()  # m and a
    assert not pitch.voiced[101:120].any()  # s
    assert not pitch.voiced[221:259].any()  # the rest
    rest = sound.samples[0, round(1.16 * 16000) : round(1.24 * 16000)]
    assert np.abs(rest).max() < 0.01


def test_the_level_is_that_of_the_voiced_sound():
    sound, pitch = sing((Note(57, 1.0),), Singer(), 16000, level=-26)
    assert pitch.voiced.all()
    assert 20 * np.log10(np.sqrt(np.mean(sound.samples.astype(float) ** 2))) == pytest.approx(-26, abs=0.2)


@pytest.mark.parametrize("pitch", [40.0, 84.0])
def test_extreme_notes_are_finite(pitch):
    sound, _ = sing((Note(pitch, 0.3, "iu", "n"),), Singer(1.3, width=0.7), 48000)
    assert np.isfinite(sound.samples).all()
