"""A reader of Standard MIDI Files for tests, after the specification and nothing of ours."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Song:
    """`notes`: (start, end in seconds, pitch, velocity) by start and pitch; `bends`: (seconds, -1..1); `texts`: by kind
    of meta event."""

    notes: list[tuple[float, float, int, int]] = field(default_factory=list)
    bends: list[tuple[float, float]] = field(default_factory=list)
    texts: dict[int, bytes] = field(default_factory=dict)
    program: int = -1


def read(path: Path) -> Song:
    """A file of format 0; raises `AssertionError` for what no such file may hold."""
    data = path.read_bytes()
    assert data[:4] == b"MThd"
    length, form, tracks, ticks = struct.unpack(">IHHH", data[4:14])
    assert (length, form, tracks) == (6, 0, 1)
    assert data[14:18] == b"MTrk"
    assert struct.unpack(">I", data[18:22])[0] == len(data) - 22
    song, sounding, at, now, tempo = Song(), {}, 22, 0, 500_000

    def number() -> int:
        nonlocal at
        value = 0
        while True:
            byte = data[at]
            at += 1
            value = value << 7 | byte & 127
            if byte < 128:
                return value

    while True:
        now += number()
        seconds = now * tempo / 1e6 / ticks
        status = data[at]
        at += 1
        if status == 0xFF:
            kind = data[at]
            at += 1
            size = number()
            song.texts[kind] = data[at : at + size]
            at += size
            if kind == 0x51:
                tempo = int.from_bytes(song.texts[kind], "big")
            if kind == 0x2F:
                break
        elif status >> 4 == 0xC:
            song.program = data[at]
            at += 1
        else:
            first, second = data[at : at + 2]
            at += 2
            assert max(first, second) < 128
            if status >> 4 == 0x9:
                assert first not in sounding
                assert second
                sounding[first] = (seconds, second)
            elif status >> 4 == 0x8:
                start, velocity = sounding.pop(first)
                song.notes.append((start, seconds, first, velocity))
            else:
                assert status >> 4 == 0xE
                song.bends.append((seconds, (second << 7 | first) / 8192 - 1))
    assert at == len(data)
    assert not sounding
    song.notes.sort(key=lambda note: (note[0], note[2]))
    return song
