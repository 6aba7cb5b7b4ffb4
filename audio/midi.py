"""Notes, and the files that hold them: Standard MIDI Files (RP-001, MIDI Manufacturers Association), format 0.

With the beats of a song, the file has a tempo map whose beats are the song's; without, a tempo of 120 beats per minute.
Notes keep their time in seconds either way.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from understudy.disk import writing

MADE = b"\xff\x01\x14made with Understudy"
"""The text event that marks a file as ours."""

BEND_RANGE = 2.0
"""Semitones that a pitch bend reaches up and down: the default of the MIDI specification."""

_TICKS = 480  # per beat
_TEMPO = 500_000  # microseconds per beat: 120 beats per minute
_LONGEST_BEAT = 0xFFFFFF  # microseconds: three bytes
_STEADY = 0.03  # seconds: beats that lie this near to a constant tempo are taken as that tempo
_NEAR = 0.0005  # seconds that a beat of the file may lie off
# sharps (positive) or flats (negative) of the key signature by tonic
_SHARPS = {"C": 0, "C#": 7, "D": 2, "Eb": -3, "E": 4, "F": -1, "F#": 6, "G": 1, "Ab": -4, "A": 3, "Bb": -2, "B": 5}
_MINOR_SHARPS = {
    "C": -3, "C#": 4, "D": -1, "Eb": -6, "E": 1, "F": -4, "F#": 3, "G": -2, "Ab": -7, "A": 0, "Bb": -5, "B": 2,
}  # fmt: skip


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
    Pitch bends change all notes that sound at the time: give them only to a single voice. Raises `UnderstudyError`:
    ``disk-full``, ``output-not-writable``.
    """
    text = name.encode("utf-8", "replace")[:127]
    tempi = _tempo_map(beats)
    events = [(0, 0, event) for event in (b"\xff\x03" + bytes([len(text)]) + text, MADE, _set_tempo(tempi[0].length))]
    if key is not None:
        events.append((0, 0, _key_signature(key)))
    events.append((0, 0, bytes([0xC0, program])))
    events += [(tempo.tick, 0, _set_tempo(tempo.length)) for tempo in tempi[1:]]
    events += [(tick, 1 + order, message) for tick, order, message in sorted(_messages(notes, _ticks(tempi)))]
    track, now = bytearray(), 0
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        track += _variable(tick - now) + message
        now = tick
    track += b"\x00\xff\x2f\x00"
    with writing(path):
        path.write_bytes(
            struct.pack(">4sIHHH", b"MThd", 6, 0, 1, _TICKS) + struct.pack(">4sI", b"MTrk", len(track)) + track
        )
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


def _set_tempo(length: int) -> bytes:
    return b"\xff\x51\x03" + length.to_bytes(3, "big")


def _key_signature(key: str) -> bytes:
    tonic, mode = key.split()
    minor = mode == "minor"
    sharps = (_MINOR_SHARPS if minor else _SHARPS)[tonic]
    return b"\xff\x59\x02" + struct.pack(">bB", sharps, minor)


def _messages(notes: Iterable[Note], tick: Callable[[float], int]) -> Iterable[tuple[int, int, bytes]]:
    """(tick, order within the tick, message): notes end before others begin, and bend before they sound."""
    bent = False
    for note in sorted(notes, key=lambda note: note.start):
        start, end = tick(note.start), max(tick(note.start) + 1, tick(note.end))
        yield start, 2, bytes([0x90, note.pitch, note.velocity])
        yield end, 0, bytes([0x80, note.pitch, 64])
        if note.bends or bent:
            yield start, 1, _bend(0.0)
        bent = bool(note.bends)
        last = None
        for seconds, semitones in note.bends:
            message = _bend(semitones)
            if message != last and note.start <= seconds < note.end:
                yield max(start, tick(seconds)), 1 if tick(seconds) <= start else 3, message
            last = message


def _bend(semitones: float) -> bytes:
    value = min(16383, max(0, round(8192 * (1 + semitones / BEND_RANGE))))
    return bytes([0xE0, value & 0x7F, value >> 7])


def _variable(number: int) -> bytes:
    """A number in seven bits per byte, the highest first, all but the last marked."""
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(number & 0x7F | 0x80)
    return bytes(reversed(digits))
