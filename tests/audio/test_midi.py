"""MIDI files hold the notes, beats and key that were written, to a millisecond."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.midi_files import read
from understudy.audio.midi import MADE, Note, write_midi
from understudy.audio.song_analysis import PITCH_CLASSES
from understudy.errors import UnderstudyError
from understudy.pipeline.publish import is_ours

NOTES = (Note(0.5, 1.0, 60, 90), Note(1.0, 1.25, 60, 40), Note(1.0, 2.0, 64, 127), Note(700.0, 700.5, 21, 1))


def test_notes_come_back(tmp_path: Path):
    song = read(write_midi(tmp_path / "a.mid", reversed(NOTES), "vöcals", 53))
    assert [note[2:] for note in song.notes] == [(note.pitch, note.velocity) for note in NOTES]
    for found, true in zip(song.notes, NOTES, strict=True):
        assert found[:2] == pytest.approx((true.start, true.end), abs=0.001)
    assert song.program == 53
    assert song.texts["track_name"] == "vöcals"
    assert song.bends == []


def test_bends_move_a_note_and_are_undone_by_the_next(tmp_path: Path):
    bent = Note(0.0, 1.0, 60, 90, ((0.0, 0.0), (0.2, 1.0), (0.4, 1.0), (0.6, -2.0), (0.8, 5.0)))
    song = read(write_midi(tmp_path / "a.mid", [bent, Note(1.0, 2.0, 62)], "x", 0))
    assert [round(time, 2) for time, _ in song.bends] == [0.0, 0.0, 0.2, 0.6, 0.8, 1.0]
    assert [value for _, value in song.bends] == pytest.approx([0, 0, 0.5, -1, 1, 0], abs=0.001)


def test_a_file_without_notes_is_a_file_and_ours(tmp_path: Path):
    path = write_midi(tmp_path / "a.mid", [], "", 0)
    assert read(path).notes == []
    assert read(path).texts["text"].encode() == MADE[3:]
    assert is_ours(path)
    path.write_bytes(path.read_bytes().replace(b"made with Understudy", b"made with something"))
    assert not is_ours(path)


def test_where_nothing_can_be_written_it_is_said(tmp_path: Path):
    with pytest.raises(UnderstudyError) as failed:
        write_midi(tmp_path / "no" / "a.mid", NOTES, "x", 0)
    assert failed.value.code == "output-not-writable"


def test_without_beats_the_tempo_is_120(tmp_path: Path):
    song = read(write_midi(tmp_path / "a.mid", NOTES, "x", 0))
    assert song.tempi == [(0, 120)]
    assert song.key is None


def test_a_steady_song_has_one_tempo_whose_beats_are_the_songs(tmp_path: Path):
    beats = 1.2 + 0.6 * np.arange(100) + np.random.default_rng(0).uniform(-0.006, 0.006, 100)
    song = read(write_midi(tmp_path / "a.mid", [Note(1.2, 60.0, 60)], "x", 0, beats=beats.tolist()))
    assert [bpm for _, bpm in song.tempi] == pytest.approx([100] * len(song.tempi), rel=0.005)
    assert len(song.tempi) <= 2
    assert song.beats[2:90] == pytest.approx((1.2 + 0.6 * np.arange(88)).tolist(), abs=0.004)
    assert song.notes[0][:2] == pytest.approx((1.2, 60.0), abs=0.001)


def test_a_tempo_that_changes_is_followed_beat_by_beat(tmp_path: Path):
    beats = np.cumsum(np.concatenate([[0.4], np.linspace(0.6, 0.4, 200)]))
    notes = [Note(float(beat), float(beat) + 0.2, 60) for beat in beats]
    song = read(write_midi(tmp_path / "a.mid", notes, "x", 0, beats=beats.tolist()))
    assert song.beats[1:200] == pytest.approx(beats[:199].tolist(), abs=0.001)
    assert [note[0] for note in song.notes] == pytest.approx(beats.tolist(), abs=0.001)


@pytest.mark.parametrize(
    ("key", "signature"), [("C major", "C"), ("F# minor", "F#m"), ("Ab major", "Ab"), ("C minor", "Cm")]
)
def test_the_key_is_its_signature(tmp_path: Path, key: str, signature: str):
    assert read(write_midi(tmp_path / "a.mid", NOTES, "x", 0, key=key)).key == signature


def test_every_key_has_a_signature(tmp_path: Path):
    for mode, ending in (("major", ""), ("minor", "m")):
        for tonic in PITCH_CLASSES:
            assert read(write_midi(tmp_path / "a.mid", NOTES, "x", 0, key=f"{tonic} {mode}")).key == f"{tonic}{ending}"


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0, 4000), st.floats(0.01, 3), st.integers(0, 127), st.integers(1, 127)), max_size=30)
)
def test_any_melody_comes_back(tmp_path: Path, steps):
    notes, now = [], 0.0
    for gap, length, pitch, velocity in steps:
        notes.append(Note(now + gap / 100, now + gap / 100 + length, pitch, velocity, ((now + gap / 100, 0.3),)))
        now += gap / 100 + length
    song = read(write_midi(tmp_path / "a.mid", notes, "any", 1))
    assert [note[2:] for note in song.notes] == [(note.pitch, note.velocity) for note in notes]
    for found, true in zip(song.notes, notes, strict=True):
        assert found[:2] == pytest.approx((true.start, true.end), abs=0.0021)
