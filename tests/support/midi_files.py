"""What a Standard MIDI File holds, read by mido."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import mido


@dataclass
class Song:
    """`notes`: (start, end in seconds, pitch, velocity) by start and pitch; `bends`: (seconds, -1..1); `texts`: by type
    of meta message (``track_name``, ``text``); `tempi`: (beat, BPM); `key`: as mido names it, e.g. ``F#m``."""

    notes: list[tuple[float, float, int, int]] = field(default_factory=list)
    bends: list[tuple[float, float]] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    tempi: list[tuple[float, float]] = field(default_factory=list)
    key: str | None = None
    program: int = -1
    beats: list[float] = field(default_factory=list)


def read(path: Path) -> Song:
    """The file of format 0 at `path`; raises `AssertionError` for notes that overlap or never end.

    `beats`: the times of the file's beats in seconds, up to the last note's end.
    """
    file = mido.MidiFile(path, charset="utf-8", clip=False)
    assert file.type == 0
    (track,) = file.tracks
    song, sounding, now, seconds, tempo = Song(), dict[int, tuple[float, int]](), 0, 0.0, 500_000
    for message in track:
        while (beat := len(song.beats) * file.ticks_per_beat) <= now + message.time:
            song.beats.append(seconds + mido.tick2second(beat - now, file.ticks_per_beat, tempo))
        seconds += mido.tick2second(message.time, file.ticks_per_beat, tempo)
        now += message.time
        match message.type:
            case "set_tempo":
                tempo = message.tempo
                song.tempi.append((now / file.ticks_per_beat, mido.tempo2bpm(tempo)))
            case "key_signature":
                song.key = message.key
            case "track_name":
                song.texts["track_name"] = message.name
            case "text":
                song.texts["text"] = message.text
            case "program_change":
                song.program = message.program
            case "note_on":
                assert message.note not in sounding
                assert message.velocity
                sounding[message.note] = (seconds, message.velocity)
            case "note_off":
                start, velocity = sounding.pop(message.note)
                song.notes.append((start, seconds, message.note, velocity))
            case "pitchwheel":
                song.bends.append((seconds, message.pitch / 8192))
            case _:
                assert message.type == "end_of_track"
    assert not sounding
    song.notes.sort(key=lambda note: (note[0], note[2]))
    return song
