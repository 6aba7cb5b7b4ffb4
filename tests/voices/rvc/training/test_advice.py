"""What is advised for recordings of which it is known what they lack."""

from __future__ import annotations

import numpy as np
import pytest

from understudy.audio.pitch import PitchTrack
from understudy.audio.samples import Audio
from understudy.voices.engine import Performance
from understudy.voices.rvc.training.advice import advice
from understudy.voices.rvc.training.evaluation import Clip, ClipScores, Evaluation
from understudy.voices.rvc.training.phrases import Note, Singer, sing


def sung(hertz: float, seconds: float) -> tuple[Audio, PitchTrack]:
    track = PitchTrack(np.full(round(seconds / 0.005), hertz, np.float32))
    tone = 0.1 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * 16000)) / 16000)
    return Audio.of(tone, 16000), track


def clip(sound: Audio, pitch: PitchTrack, transpose: float = 0.0) -> Clip:
    return Clip("p", "phrase", Performance(sound, pitch, transpose))


def test_missing_high_notes_are_advised():
    sentences = advice([sung(200, 300)], [clip(*sung(200, 5)), clip(*sung(400, 5))])
    assert len(sentences) == 1
    assert "20 more seconds of high notes" in sentences[0]
    assert "there are 0 s" in sentences[0]


def test_notes_that_the_transposition_avoids_are_not_advised():
    assert advice([sung(200, 300)], [clip(*sung(200, 5)), clip(*sung(400, 5), -12.0)]) == []


def test_missing_low_notes_little_data_and_noise_are_advised():
    noisy = ClipScores("p", "phrase", None, 0.0, 0.0, 0.5, 9.0, None, 0.0, 0.0)
    sentences = advice([sung(400, 30)], [clip(*sung(200, 5)), clip(*sung(400, 5))], Evaluation(1, (noisy,)))
    assert any("low notes" in sentence for sentence in sentences)
    assert any("there are 30 s of voice" in sentence for sentence in sentences)
    assert any("less noise" in sentence for sentence in sentences)


def test_humming_at_one_level_lacks_words_and_loudness():
    words = [Note(57, 0.5, "a", "s", level) for level in (0, -14, 0, -14)]
    wanted = [clip(*sing(words, Singer(), 16000))]
    hummed = [sing([Note(57, 1.0, "u", "m")] * 2, Singer(), 16000)]
    sentences = advice(hummed, wanted)
    assert any("hardly any s, f or sh" in sentence for sentence in sentences)
    assert any("Softer and louder" in sentence for sentence in sentences)
    same = advice([sing(words, Singer(1.1), 16000, seed=1)], wanted)
    assert not any("sh." in sentence or "Softer" in sentence for sentence in same)


@pytest.mark.parametrize("training", [[], [(Audio.silence(1, 0, 16000), PitchTrack(np.zeros(0, np.float32)))]])
def test_no_voice_at_all_gives_advice_and_no_error(training):
    assert advice(training, []) != []
