"""The scores of a clip, with renderers whose faults are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from understudy.audio.pitch import PitchSettings
from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.errors import Cancelled
from understudy.voices import speaker
from understudy.voices.engine import Performance
from understudy.voices.rvc.training import evaluation
from understudy.voices.rvc.training.evaluation import (
    Clip,
    Evaluation,
    evaluate,
    held_out_clips,
    mel_distance,
    phrase_clips,
    references,
    score,
)
from understudy.voices.rvc.training.phrases import Note, Phrase, Singer, sing
from understudy.voices.voice import PitchRange

CONTEXT = Context(Path())
NOTES = (Note(57, 0.6, "a", "m"), Note(60, 0.6, "e", "s"), Note(62, 0.8, "o", "l"))
SOUND, PITCH = sing(NOTES, Singer(), 16000)
CLIP = Clip("own", "held-out", Performance(SOUND, PITCH, 0.0))


def changed(samples: np.ndarray) -> Audio:
    return Audio.of(samples, 16000)


def test_the_sound_itself_is_perfect():
    scores = score(CONTEXT, CLIP, SOUND, None)
    assert scores.similarity is None
    assert scores.f0_error < 0.01
    assert scores.voicing_error < 0.05
    assert scores.intelligibility == pytest.approx(1, abs=1e-6)
    assert scores.noise == scores.mel_distance == scores.silent == scores.clicks == 0


def test_noise_is_heard_as_noise_and_costs_intelligibility():
    noise = 0.02 * np.random.default_rng(0).standard_normal(SOUND.frames)
    scores = score(CONTEXT, CLIP, changed(SOUND.samples[0] + noise), None)
    assert scores.noise > 3
    assert scores.intelligibility < 0.9
    assert scores.mel_distance is not None
    assert scores.mel_distance > 0.3


def test_clicks_are_counted_and_glottal_pulses_are_not():
    clicked = SOUND.samples[0].copy()
    clicked[4000::8000] += 0.4
    scores = score(CONTEXT, CLIP, changed(clicked), None)
    assert scores.clicks == pytest.approx(len(clicked[4000::8000]) / SOUND.duration, rel=0.3)


def test_half_a_clip_of_silence_is_half_silent():
    cut = SOUND.samples[0].copy()
    cut[: len(cut) // 2] = 0
    assert 0.3 < score(CONTEXT, CLIP, changed(cut), None).silent < 0.7


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_silence_and_broken_sound_are_the_worst(value):
    scores = score(CONTEXT, CLIP, changed(np.full(SOUND.frames, value)), None)
    assert scores.silent == 1
    assert scores.f0_error == 1
    assert scores.intelligibility == pytest.approx(0, abs=1e-9)
    assert scores.mel_distance is not None
    assert np.isfinite([scores.noise, scores.voicing_error, scores.mel_distance, scores.clicks]).all()


@pytest.mark.slow
def test_a_wrong_pitch_is_an_error_unless_it_was_asked_for():
    higher, pitch = sing([replace(note, pitch=(note.pitch or 0) + 2) for note in NOTES], Singer(), 16000)
    assert score(CONTEXT, CLIP, higher, None).f0_error > 0.9
    moved = Clip("moved", "phrase", Performance(SOUND, PITCH, 2.0))
    scores = score(CONTEXT, moved, higher, None)
    assert scores.f0_error < 0.05
    assert scores.mel_distance is None
    assert pitch.frames == PITCH.frames


@pytest.mark.slow
def test_shorter_longer_and_resampled_results_are_taken():
    for frames in (SOUND.frames - 500, SOUND.frames + 500):
        assert score(CONTEXT, CLIP, SOUND.read(0, frames), None).intelligibility > 0.98
    high, pitch = sing(NOTES, Singer(), 32000)
    clip = Clip("high", "held-out", Performance(high, pitch, 0.0))
    assert score(CONTEXT, clip, Audio.of(high.samples[0][::2], 16000), None).intelligibility > 0.95


def test_delay_and_level_do_not_count_in_the_mel_distance():
    late = np.roll(SOUND.samples[0], 160) * np.float32(0.3)
    assert mel_distance(SOUND.samples[0], late) < 0.05
    other, _ = sing(NOTES, Singer(1.2), 16000)
    assert mel_distance(SOUND.samples[0], other.samples[0]) > 0.3


def test_mel_distance_of_silence_with_itself_is_zero():
    silence = np.zeros(16000, np.float32)
    assert mel_distance(silence, silence) == 0
    assert mel_distance(silence[:0], silence[:0]) == 0


def test_phrases_move_to_the_range_of_the_voice():
    phrase = Phrase("own", SOUND, PITCH)
    low, high = (phrase_clips(PitchRange(low=m * 0.8, median=m, high=m * 1.3), [phrase]) for m in (60.0, 500.0))
    assert low[0].performance.transpose == -12
    assert high[0].performance.transpose == 12
    assert phrase_clips(None, [phrase])[0].performance.transpose == 0


@pytest.mark.slow
def test_held_out_clips_are_bounded_and_spread():
    long = Audio.of(np.tile(SOUND.samples[0], 20), 16000)  # 40 s
    clips = held_out_clips(CONTEXT, [("a", long), ("b", SOUND)], PitchSettings(), most=3)
    assert [clip.name for clip in clips] == ["a", "a 27 s", "b"]
    assert all(clip.performance.vocals.frames <= 12 * 16000 for clip in clips)
    assert clips[2].performance.pitch.voiced.any()


def test_evaluate_renders_each_clip_and_can_be_read_back():
    heard = []
    clips = (CLIP, *phrase_clips(None, [Phrase("own", SOUND, PITCH)]))
    result = evaluate(
        CONTEXT, lambda performance: performance.vocals.read(), clips, None, step=7,
        listen=lambda clip, sound: heard.append((clip.name, sound.frames)),
    )  # fmt: skip
    assert result.step == 7
    assert heard == [("own", SOUND.frames)] * 2
    assert Evaluation.of(result.to_dict()) == result
    assert set(result.means()) == {*evaluation.SCORES} - {"similarity"}


def test_evaluate_stops_when_cancelled():
    stop = Event()
    stop.set()
    with pytest.raises(Cancelled):
        evaluate(Context(Path(), cancelled=stop), lambda performance: performance.vocals.read(), (CLIP,), None)


def test_similarity_goes_to_the_mean_of_the_held_out_recordings(monkeypatch):
    monkeypatch.setattr(speaker, "available", lambda: True)
    monkeypatch.setattr(speaker, "embed", lambda source: np.array([1.0, source.frames == SOUND.frames], np.float32))
    reference = references((CLIP, Clip("p", "phrase", CLIP.performance)))
    assert reference == pytest.approx(np.array([1, 1]) / np.sqrt(2))
    assert score(CONTEXT, CLIP, SOUND, reference).similarity == pytest.approx(1)


def test_there_is_no_reference_without_the_encoder(monkeypatch):
    monkeypatch.setattr(speaker, "available", lambda: False)
    assert references((CLIP,)) is None
