"""Notes of a voice whose score is known."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.support import signals
from tests.support.note_scores import melody, note_f1, score
from understudy.audio.pitch import PitchTrack
from understudy.audio.samples import Audio
from understudy.audio.transcription.sung import levels, sung_notes
from understudy.context import Context

HOP = 0.005


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("vibrato", [0.0, 30.0, 80.0])
def test_a_melody_comes_back(context, vibrato):
    notes = melody(25, seed=5)
    sound, pitch = signals.singing(notes, vibrato=vibrato, seed=2)
    found = sung_notes(pitch, levels(context, sound, pitch.hop, pitch.frames))
    assert note_f1(score(notes), found) >= 0.96
    assert all(one.end <= other.start + 1e-9 for one, other in pairwise(found))
    assert len({note.velocity for note in found}) > 1


def steady(*parts: tuple[float, float]) -> PitchTrack:
    """(MIDI number or 0 for a rest, seconds) one after the other."""
    f0 = [np.full(round(seconds / HOP), signals.hertz(pitch) if pitch else 0) for pitch, seconds in parts]
    return PitchTrack(np.concatenate(f0).astype(np.float32))


def test_a_song_out_of_tune_keeps_its_semitones_and_bends_by_the_difference():
    pitch = steady((60.4, 0.5), (62.4, 0.5), (64.4, 0.5), (60.4, 0.5))
    found = sung_notes(pitch, np.full(pitch.frames, -20.0))
    assert [note.pitch for note in found] == [60, 62, 64, 60]
    assert all(bend == pytest.approx(0.4, abs=0.05) for note in found for time, bend in note.bends[2:-2])
    assert [note.start for note in found] == pytest.approx([0, 0.5, 1.0, 1.5], abs=0.011)


def test_the_same_note_sung_again_is_two_notes_and_a_short_gap_is_none():
    pitch = steady((60, 1.0))
    level = np.full(pitch.frames, -20.0)
    assert len(sung_notes(pitch, level)) == 1
    level[95:105] = -35
    found = sung_notes(pitch, level)
    assert [note.pitch for note in found] == [60, 60]
    assert found[1].start == pytest.approx(0.5, abs=0.03)
    hole = steady((60, 0.4), (0, 0.02), (60, 0.4))
    assert len(sung_notes(hole, np.full(hole.frames, -20.0))) == 1
    rest = steady((60, 0.4), (0, 0.2), (60, 0.4))
    assert len(sung_notes(rest, np.full(rest.frames, -20.0))) == 2


def test_what_is_far_softer_than_the_voice_is_bleed():
    pitch = steady((60, 0.5), (0, 0.2), (71, 0.5), (0, 0.2), (62, 0.5))
    level = np.full(pitch.frames, -20.0)
    level[130:250] = -50
    assert [note.pitch for note in sung_notes(pitch, level)] == [60, 62]


@pytest.mark.parametrize("frames", [0, 1, 400])
def test_no_voice_no_notes(frames):
    assert sung_notes(PitchTrack(np.zeros(frames, np.float32)), np.full(frames, -120.0)) == []


@pytest.mark.parametrize("rate", [8000, 44100, 96000])
def test_levels(context, rate):
    time = np.arange(3 * rate) / rate
    sound = 0.1 * np.sqrt(2) * np.sin(2 * np.pi * 500 * time) * (time >= 1.5)
    found = levels(context, Audio.of(np.stack([sound, sound]), rate), HOP, 601)
    assert found.shape == (601,)
    assert found[310:590] == pytest.approx(-20, abs=0.3)
    assert (found[:290] <= -100).all()
