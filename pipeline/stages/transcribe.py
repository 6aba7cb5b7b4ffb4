"""The stages that write down the notes of a stem, as a MIDI file for practice and transcription."""

from __future__ import annotations

from pathlib import Path

from understudy.audio.midi import Note, write_midi
from understudy.audio.pitch.settings import PitchSettings
from understudy.audio.pitch.track import PitchTrack
from understudy.audio.stored import AudioFile
from understudy.audio.transcription.polyphonic import polyphonic_notes
from understudy.audio.transcription.sung import levels, sung_notes
from understudy.context import Context

ONE_AT_A_TIME = ("vocals", "lead", "dry", "bass")
"""Stems whose notes the pitch track tells. Backing vocals are chords."""

NO_NOTES = ("drums", "reverb", "noise")
"""Stems without a pitch."""

BASS = PitchSettings(low=40.0, high=400.0)
"""How the pitch of a bass is tracked."""

_PROGRAMS = {"bass": 33, "guitar": 27, "piano": 0, "instrumental": 0, "other": 0}
_VOICE = 53


def melody(context: Context, sound: AudioFile, pitch: PitchTrack, stem: str) -> Path:
    """The notes of `sound`, which has one at a time, in a MIDI file with pitch bends."""
    level = levels(context, sound, pitch.hop, pitch.frames)
    return _written(context, sung_notes(pitch, level), stem)


def harmony(context: Context, sound: AudioFile, stem: str) -> Path:
    """The notes of `sound`, which may have several at a time, in a MIDI file."""
    return _written(context, polyphonic_notes(context, sound), stem)


def _written(context: Context, notes: list[Note], stem: str) -> Path:
    if not notes:
        context.warn(f"No notes were heard in the {stem}.")
    return write_midi(context.folder / "notes.mid", notes, stem, _PROGRAMS.get(stem, _VOICE))
