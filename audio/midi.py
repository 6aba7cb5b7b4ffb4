"""Notes, and the files that hold them: Standard MIDI Files (RP-001, MIDI Manufacturers Association), format 0.

A file begins with its name, who made it and a tempo of 120 beats a minute: seconds are kept, beats are not known.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from understudy.disk import writing

MADE = b"\xff\x01\x14made with Understudy"
"""The text event that marks a file as ours."""

BEND_RANGE = 2.0
"""Semitones that a pitch bend reaches up and down: what instruments take unless they are told otherwise."""

_TICKS = 480  # per beat
_TEMPO = 500_000  # microseconds per beat: 120 beats a minute
_PER_SECOND = _TICKS * 1_000_000 // _TEMPO


@dataclass(frozen=True)
class Note:
    """`start` and `end` in seconds; `pitch`: MIDI number (69 is 440 Hz); `velocity`: 1..127, how loud. `bends`: how the
    pitch moves within the note, as (seconds, semitones from `pitch`) in order of time."""

    start: float
    end: float
    pitch: int
    velocity: int = 80
    bends: tuple[tuple[float, float], ...] = ()


def write_midi(path: Path, notes: Iterable[Note], name: str, program: int) -> Path:
    """Write `notes` as the file `path`, played by the instrument `program` (General MIDI, 0..127); returns `path`.

    Bends of notes that sound together would bend each other: give them only to a single voice. Raises
    `UnderstudyError`: ``disk-full``, ``output-not-writable``.
    """
    text = name.encode("utf-8", "replace")[:127]
    track = bytearray()
    for event in (
        b"\xff\x03" + bytes([len(text)]) + text,
        MADE,
        b"\xff\x51\x03" + _TEMPO.to_bytes(3, "big"),
        bytes([0xC0, program]),
    ):
        track += b"\x00" + event
    now = 0
    for tick, _, message in sorted(_messages(notes)):
        track += _variable(tick - now) + message
        now = tick
    track += b"\x00\xff\x2f\x00"
    with writing(path):
        path.write_bytes(
            struct.pack(">4sIHHH", b"MThd", 6, 0, 1, _TICKS) + struct.pack(">4sI", b"MTrk", len(track)) + track
        )
    return path


def _messages(notes: Iterable[Note]) -> Iterable[tuple[int, int, bytes]]:
    """(tick, order within the tick, message): notes end before others begin, and bend before they sound."""
    bent = False
    for note in sorted(notes, key=lambda note: note.start):
        start, end = _tick(note.start), max(_tick(note.start) + 1, _tick(note.end))
        yield start, 2, bytes([0x90, note.pitch, note.velocity])
        yield end, 0, bytes([0x80, note.pitch, 64])
        if note.bends or bent:
            yield start, 1, _bend(0.0)
        bent = bool(note.bends)
        last = None
        for seconds, semitones in note.bends:
            message = _bend(semitones)
            if message != last and note.start <= seconds < note.end:
                yield max(start, _tick(seconds)), 1 if _tick(seconds) <= start else 3, message
            last = message


def _bend(semitones: float) -> bytes:
    value = min(16383, max(0, round(8192 * (1 + semitones / BEND_RANGE))))
    return bytes([0xE0, value & 0x7F, value >> 7])


def _tick(seconds: float) -> int:
    return max(0, round(seconds * _PER_SECOND))


def _variable(number: int) -> bytes:
    """A number in seven bits per byte, the highest first, all but the last marked."""
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(number & 0x7F | 0x80)
    return bytes(reversed(digits))
