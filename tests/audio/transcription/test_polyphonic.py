"""Notes of instruments by Basic Pitch's network, where that model is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support import signals
from tests.support.note_scores import note_f1
from understudy.audio.samples import Audio
from understudy.audio.transcription import polyphonic
from understudy.audio.transcription.polyphonic import activations, network, polyphonic_notes
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.models import usable

installed = pytest.mark.skipif(usable(polyphonic.MODEL) is None, reason="the model basic-pitch isn't installed")


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path)


def chords(rate: int, seconds: float = 9.0, first: float = 0.3) -> tuple[Audio, list[tuple[float, float]]]:
    """Three plucked strings at once every 0.7 s, in stereo."""
    random = np.random.default_rng(4)
    sound = np.zeros(round((seconds + 2) * rate))
    score: list[tuple[float, float]] = []
    at = first
    while at < seconds - 1.2:
        for pitch in random.choice(np.array([45, 50, 52, 57, 59, 61, 64, 66, 69]), 3, replace=False):
            pluck = signals.pluck(int(pitch), rate, 1.0, random)
            begin = round(at * rate)
            sound[begin : begin + len(pluck)] += 0.2 * pluck
            score.append((at, float(pitch)))
        at += 0.7
    return Audio.of(np.stack([sound, 0.5 * sound])[:, : round(seconds * rate)], rate), score


@pytest.mark.slow
@installed
@pytest.mark.parametrize("rate", [44100, 48000])
def test_chords_come_back(context, rate):
    sound, score = chords(rate)
    assert note_f1(score, polyphonic_notes(context, sound)) >= 0.75


@installed
def test_windows_join_without_seams(context):
    sound, _ = chords(22050)
    note, onset = activations(context, sound)
    assert note.shape == onset.shape == (9 * 22050 // 256 + 1, 88)
    later = Audio(np.concatenate([np.zeros((2, 61 * 256), np.float32), sound.samples], axis=1), 22050)
    shifted, _ = activations(context, later)
    # the same sound elsewhere within the windows: nothing but what a window knows of its surroundings differs
    assert np.abs(shifted[61 : 61 + 700] - note[:700]).mean() < 0.01
    assert np.corrcoef(shifted[61 : 61 + 700].ravel(), note[:700].ravel())[0, 1] > 0.97


@installed
def test_silence_has_no_notes_and_workers_change_nothing(context, tmp_path):
    assert polyphonic_notes(context, Audio.silence(2, 44100, 44100)) == []
    sound, _ = chords(44100, seconds=5.0)
    assert polyphonic_notes(context, sound) == polyphonic_notes(Context(tmp_path, workers=3), sound)


def test_where_the_model_is_missing_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(polyphonic, "usable", lambda name: None)
    with pytest.raises(UnderstudyError) as failed:
        network()
    assert failed.value.code == "transcriber-missing"
    assert "understudy models fetch basic-pitch" in failed.value.hint


def test_notes_from_what_a_network_is_sure_of():
    sounding, beginning = np.zeros((200, 88), np.float32), np.zeros((200, 88), np.float32)
    sounding[0:40, 39] = 0.9  # from the first frame on
    sounding[60:100, 39] = 0.8
    sounding[90:180, 43] = 0.6
    sounding[150:155, 50] = 0.9  # too short
    sounding[120:160, 60] = 0.9  # begins nowhere
    for frame, key in ((0, 39), (60, 39), (90, 43), (150, 50)):
        beginning[frame, key] = 0.9
    found = polyphonic.notes_of(sounding, beginning)
    assert [(note.pitch, round(note.start * 22050 / 256), round(note.end * 22050 / 256)) for note in found] == [
        (60, 0, 40),
        (60, 60, 100),
        (64, 90, 180),
    ]
    assert found[0].velocity > found[2].velocity
