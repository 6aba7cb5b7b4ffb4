from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.audio.pitch import PitchTrack
from understudy.voices.transpose import beyond, choose_transpose, note, track_pitch_range
from understudy.voices.voice import PitchRange

MAN = PitchRange(low=85, median=115, high=175)  # all three as such people speak
WOMAN = PitchRange(low=150, median=215, high=339)
SINGING_WOMAN = PitchRange(low=253, median=371, high=557)

BASS, MANS, WOMANS, SOPRANO = 110.0, 233.0, 349.0, 740.0  # medians of songs, in Hz


def song(median: float, spread: float = 1.5) -> PitchTrack:
    """A melody that goes evenly over `spread` octaves around its median, with rests."""
    f0 = median * 2 ** np.linspace(-spread / 2, spread / 2, 901)
    return PitchTrack(np.concatenate([np.zeros(200), f0, np.zeros(100)]).astype(np.float32))


@pytest.mark.parametrize(
    ("voice", "median", "octaves"),
    [
        (MAN, MANS, 0),  # twice as high as he speaks, and still his octave
        (MAN, BASS, 0),
        (MAN, WOMANS, -1),
        (MAN, SOPRANO, -2),
        (WOMAN, WOMANS, 0),
        (WOMAN, MANS, 0),
        (WOMAN, BASS, 1),
        (SINGING_WOMAN, WOMANS, 0),
        (SINGING_WOMAN, MANS, 1),
    ],
)
def test_auto_finds_the_octave_a_listener_expects(voice: PitchRange, median: float, octaves: int) -> None:
    chosen = choose_transpose(song(median), voice)
    assert chosen.octaves == octaves
    assert chosen.semitones == 12 * octaves


@given(
    st.floats(50, 1500),
    st.floats(60, 600),
    st.integers(-12, 12),
)
def test_auto_keeps_the_key_and_never_leaves_two_octaves(median: float, voice: float, key: int) -> None:
    chosen = choose_transpose(song(median), PitchRange(low=voice * 0.7, median=voice, high=voice * 1.5), key=key)
    assert chosen.semitones == 12 * chosen.octaves + key
    assert -2 <= chosen.octaves <= 2


@given(st.floats(60, 600), st.floats(50, 1000), st.floats(1.0, 1.4))
def test_a_higher_song_is_never_moved_further_up(voice: float, median: float, higher: float) -> None:
    pitch_range = PitchRange(low=voice * 0.7, median=voice, high=voice * 1.5)
    below, above = (choose_transpose(song(hz), pitch_range).octaves for hz in (median, median * higher))
    assert above <= below


def test_the_key_moves_the_voice_on_top() -> None:
    chosen = choose_transpose(song(WOMANS), MAN, key=-2)
    assert chosen.semitones == -14
    assert "octave lower" in chosen.reason
    assert "2 semitones down" in chosen.reason


def test_a_number_is_obeyed() -> None:
    chosen = choose_transpose(song(WOMANS), MAN, requested=3, key=1)
    assert (chosen.semitones, chosen.octaves) == (4, 0)
    assert "3 semitones higher" in chosen.reason
    assert any("different keys. --key 4 moves both" in warning for warning in chosen.warnings)
    assert not any("different keys" in warning for warning in choose_transpose(song(MANS), MAN, requested=-12).warnings)


def test_reason_names_the_notes() -> None:
    reason = choose_transpose(song(220), PitchRange(low=98, median=130.8, high=200)).reason
    assert "A3 (220 Hz)" in reason
    assert "C3 (131 Hz)" in reason
    assert "own pitch" in reason


@pytest.mark.parametrize(("semitones", "expected"), [(0, 0), (5, 0), (9, 4), (21, 16), (-3, -3), (-20, -20)])
def test_how_far_a_melody_reaches_beyond_the_voice(semitones: float, expected: float) -> None:
    """Five semitones above the recordings are granted, none below."""
    voice = PitchRange(low=110, median=150, high=220)
    moved = 2 ** (semitones / 12)
    sung = PitchRange(low=110 * moved, median=150 * moved, high=220 * moved)
    assert beyond(sung, voice) == pytest.approx(expected)


def test_notes_out_of_reach_are_said() -> None:
    high = choose_transpose(song(MANS, spread=2), MAN, requested=12).warnings
    assert any("above those of the voice's recordings" in warning for warning in high)
    low = choose_transpose(song(BASS, spread=2), WOMAN, requested=0).warnings
    # 5 % of two octaves up from 55 Hz is 58.9 Hz, 16 semitones below 150 Hz
    assert any("16 semitones below those of the voice's recordings" in warning for warning in low)
    assert choose_transpose(song(MANS, spread=0.5), MAN).warnings == ()


def test_nothing_sung_or_no_range_keeps_the_octave() -> None:
    silent = PitchTrack(np.zeros(100, np.float32))
    for chosen in (choose_transpose(silent, MAN, key=2), choose_transpose(song(WOMANS), None, key=2)):
        assert (chosen.semitones, chosen.octaves) == (2, 0)
        assert chosen.reason


def test_range_of_the_voiced_frames() -> None:
    heard = track_pitch_range(PitchTrack(np.array([0, 100, 0, 200, 300, 400, 500], np.float32)))
    assert heard is not None
    assert heard.median == pytest.approx(300)
    assert heard.low == pytest.approx(120)
    assert heard.high == pytest.approx(480)
    assert track_pitch_range(PitchTrack(np.zeros(5, np.float32))) is None


@pytest.mark.parametrize(("hz", "name"), [(440, "A4"), (261.6, "C4"), (65.4, "C2"), (1396.9, "F6"), (246.9, "B3")])
def test_note_names(hz: float, name: str) -> None:
    assert note(hz).split()[0] == name


@pytest.mark.parametrize("requested", ["auto", -2])
def test_a_song_without_singing_is_said(requested) -> None:
    nothing = PitchTrack(np.zeros(100, np.float32))
    chosen = choose_transpose(nothing, PitchRange(low=98, median=130.8, high=200), requested=requested)
    assert chosen.octaves == 0
    assert "No singing was found" in chosen.warnings[0]
    assert "--vocals" in chosen.warnings[0]
    assert not any("No singing" in warning for warning in choose_transpose(song(220), None).warnings)
