"""Notes, and the files that hold them: Standard MIDI Files (RP-001, MIDI Manufacturers Association), format 0.

With the beats of a song, the file has a tempo map whose beats are the song's; without, a tempo of 120 beats per minute.
Notes keep their time in seconds either way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from understudy.disk import writing

MADE = b"\xff\x01\x14made with Understudy"  # the text event that marks a file as ours
BEND_RANGE = 2.0  # semitones that a pitch bend reaches up and down: the default of the MIDI specification
_TICKS = 480  # per beat
_TEMPO = 500_000  # microseconds per beat: 120 beats per minute
_LONGEST_BEAT = 0xFFFFFF  # microseconds: three bytes
_STEADY = 0.03  # seconds: beats that lie this near to a constant tempo are taken as that tempo
_NEAR = 0.0005  # seconds that a beat of the file may lie off


@dataclass(frozen=True)
class Note:
    """`start` and `end` in seconds; `pitch`: MIDI number (69 is 440 Hz); `velocity`: 1..127, how loud. `bends`: how the
    pitch moves within the note, as (seconds, semitones from `pitch`) in order of time."""

    start: float
    end: float
    pitch: int
    velocity: int = 80
    bends: tuple[tuple[float, float], ...] = ()


def write_midi(
    path: Path, notes: Iterable[Note], name: str, program: int, *, beats: Sequence[float] = (), key: str | None = None
) -> Path:
    """Write `notes` as the file `path`, played by the instrument `program` (General MIDI, 0..127); returns `path`.

    `beats`: times of the song's beats in seconds, ascending; two or more give the file a tempo map. `key`: a key as of
    `SongAnalysis`, e.g. ``F# minor``, for the key signature.
    Pitch bends change all notes that sound at the time: give them only to a single voice. Raises as `writing` does.
    """
    from mido import Message, MetaMessage, MidiFile, MidiTrack

    tempi = _tempo_map(beats)
    head = [MetaMessage("track_name", name=name), MetaMessage("text", text=MADE[3:].decode())]
    head.append(MetaMessage("set_tempo", tempo=tempi[0].length))
    if key is not None:
        head.append(MetaMessage("key_signature", key=key.replace(" major", "").replace(" minor", "m")))
    events = [(0, 0, message) for message in (*head, Message("program_change", program=program))]
    events += [(tempo.tick, 0, MetaMessage("set_tempo", tempo=tempo.length)) for tempo in tempi[1:]]
    made = sorted(_messages(notes, _ticks(tempi)), key=lambda event: (*event[:2], event[2].bytes()))
    events += [(tick, 1 + order, message) for tick, order, message in made]
    track, now = MidiTrack(), 0
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=tick - now))
        now = tick
    with writing(path):
        MidiFile(type=0, ticks_per_beat=_TICKS, charset="utf-8", tracks=[track]).save(path)
    return path


@dataclass(frozen=True)
class _Tempo:
    """From `tick` on, which is `seconds` from the beginning, a beat lasts `length` microseconds."""

    tick: int
    seconds: float
    length: int


def _tempo_map(beats: Sequence[float]) -> list[_Tempo]:
    """The tempi that put a beat of the file on each of `beats`, the first one from tick 0 on.

    Where all beats lie near a constant tempo it is one tempo, without the rounding of the measured times. What comes
    before the first beat is filled with beats of about the same length.
    """
    if len(beats) < 2:
        return [_Tempo(0, 0.0, _TEMPO)]
    times = np.asarray(beats, np.float64)
    slope, first = np.polyfit(np.arange(len(times)), times, 1)
    if np.max(np.abs(first + slope * np.arange(len(times)) - times)) < _STEADY:
        times = np.maximum(first, 0.0) + slope * np.arange(len(times))
    lead = max(1, round(times[0] / slope)) if times[0] > 0 else 0
    edges = [*np.linspace(0.0, times[0], lead + 1)[:-1].tolist(), *times.tolist()]
    tempi: list[_Tempo] = []
    seconds = 0.0
    for beat, (start, end) in enumerate(pairwise(edges)):
        # The file's own time, the sum of rounded beats, is brought back to the song's before it is far off.
        length = 1e6 * (end - (seconds if abs(seconds - start) > _NEAR else start))
        if not tempi or abs(length - tempi[-1].length) > 2:
            tempi.append(_Tempo(beat * _TICKS, seconds, min(max(1, round(length)), _LONGEST_BEAT)))
        seconds += tempi[-1].length / 1e6
    return tempi


def _ticks(tempi: list[_Tempo]) -> Callable[[float], int]:
    """The tick of a time in seconds."""
    starts = np.array([tempo.seconds for tempo in tempi])

    def tick(seconds: float) -> int:
        tempo = tempi[max(0, int(np.searchsorted(starts, seconds, "right")) - 1)]
        return max(0, tempo.tick + round((seconds - tempo.seconds) * (_TICKS * 1e6 / tempo.length)))

    return tick


def _messages(notes: Iterable[Note], tick: Callable[[float], int]) -> Iterable[tuple[int, int, Any]]:
    """(tick, order within the tick, message): notes end before others begin, and bend before they sound."""
    from mido import Message

    bent = False
    for note in sorted(notes, key=lambda note: note.start):
        start, end = tick(note.start), max(tick(note.start) + 1, tick(note.end))
        yield start, 2, Message("note_on", note=note.pitch, velocity=note.velocity)
        yield end, 0, Message("note_off", note=note.pitch)
        if note.bends or bent:
            yield start, 1, Message("pitchwheel", pitch=0)
        bent = bool(note.bends)
        last = None
        for seconds, semitones in note.bends:
            bend = min(16383, max(0, round(8192 * (1 + semitones / BEND_RANGE)))) - 8192
            if bend != last and note.start <= seconds < note.end:
                yield max(start, tick(seconds)), 1 if tick(seconds) <= start else 3, Message("pitchwheel", pitch=bend)
            last = bend
