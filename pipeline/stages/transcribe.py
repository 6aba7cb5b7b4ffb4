"""The stages that measure tempo and key of a song, and that write the notes of its stems as MIDI files."""

from __future__ import annotations

from pathlib import Path

from understudy.audio.midi import Note, write_midi
from understudy.audio.pitch.track import PitchTrack
from understudy.audio.pitch.tracker import PitchSettings
from understudy.audio.song_analysis import SongAnalysis, analyse_song
from understudy.audio.stored import AudioFile
from understudy.audio.transcription.polyphonic import polyphonic_notes
from understudy.audio.transcription.sung import levels, sung_notes
from understudy.context import Context
from understudy.errors import UnderstudyError

ONE_AT_A_TIME = ("vocals", "lead", "dry", "bass")
"""Stems whose notes the pitch track tells. Backing vocals are chords."""

NO_NOTES = ("drums", "reverb", "noise")
"""Stems without a pitch."""

BASS = PitchSettings(low=40.0, high=400.0)
"""How the pitch of a bass is tracked."""

_PROGRAMS = {"bass": 33, "guitar": 27, "piano": 0, "instrumental": 0, "other": 0}
_VOICE = 53


def tempo(context: Context, song: AudioFile) -> SongAnalysis:
    """Tempo, beats and key of the song; without librosa nothing, and a warning."""
    try:
        return analyse_song(context, song)
    except UnderstudyError as error:
        if error.code != "package-missing":
            raise
        context.warn(f"Tempo and key were not measured. {error.message} {error.hint}")
        return SongAnalysis()


def melody(context: Context, sound: AudioFile, pitch: PitchTrack, song: SongAnalysis, stem: str) -> Path:
    """The notes of `sound`, which has one at a time, in a MIDI file with pitch bends and the beats and key of the
    `song`."""
    level = levels(context, sound, pitch.hop, pitch.frames)
    return _written(context, sung_notes(pitch, level), song, stem)


def harmony(context: Context, sound: AudioFile, song: SongAnalysis, stem: str) -> Path:
    """The notes of `sound`, which may have several at a time, in a MIDI file with the beats and key of the `song`."""
    return _written(context, polyphonic_notes(context, sound), song, stem)


def _written(context: Context, notes: list[Note], song: SongAnalysis, stem: str) -> Path:
    if not notes:
        context.warn(f"No notes were found in the {stem}.")
    program = _PROGRAMS.get(stem, _VOICE)
    return write_midi(context.folder / "notes.mid", notes, stem, program, beats=song.beats, key=song.key)
