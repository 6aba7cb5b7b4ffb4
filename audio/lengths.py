"""The length that a file's container stores, as opposed to one estimated from bit rate or file size.

FFmpeg reports estimated and stored durations alike, so each container is read in its own way.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.audio.gapless import mp4_frames

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_UNKNOWN_SIZE = 0xFFFFFFFF  # written by programs that stream a wav and cannot update its header afterwards


def promised_seconds(path: Path, container: InputContainer, stream: AudioStream) -> float | None:
    """The length that the container stores, in seconds; None where it stores none."""
    name = container.format.name
    by_stream = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
    if name == "wav":  # FFmpeg limits the header's length to that of the file
        return _wav_seconds(path)
    if name == "flac":
        info = stream.codec_context.extradata or b""
        return by_stream if len(info) >= 18 and int.from_bytes(info[13:18], "big") & 0xFFFFFFFFF else None
    if name == "mp3":
        # in concatenated files the header is that of the first one, and FFmpeg estimates the length by the bit rate
        counted = _mp3_seconds(path, stream.codec_context.sample_rate)
        return by_stream if any(by_stream and abs(seconds - by_stream) < 0.3 for seconds in counted) else None
    if name.startswith("mov") or name in ("aiff", "au", "ape", "wv", "tta"):
        return by_stream
    if name.startswith("matroska"):
        return container.duration / 1e6 if container.duration else None
    return None


def exact_frames(path: Path, container: InputContainer, stream: AudioStream, rate: int) -> int | None:
    """The exact length in frames of an MP4's track, at whose end FFmpeg leaves the encoder's padding. None for other
    containers, and where it is not known."""
    return mp4_frames(path, stream.id, rate) if container.format.name.startswith("mov") else None


def lacks_end_mark(path: Path) -> bool:
    """Whether the file at `path` is Ogg and its last whole page is not marked as the end of the stream (RFC 3533)."""
    with path.open("rb") as file:
        if file.read(4) != b"OggS":
            return False
        file.seek(max(0, file.seek(0, 2) - (1 << 17)))  # a page has at most 65307 bytes
        tail = file.read()
    return not tail[tail.rfind(b"OggS") + 5] & 4 if tail.rfind(b"OggS") + 5 < len(tail) else True


def _wav_seconds(path: Path) -> float | None:
    """From the fmt and data chunks of a RIFF file; None for RF64, compressed or endless ones."""
    with path.open("rb") as file:
        if file.read(12)[:4] != b"RIFF":
            return None
        bytes_per_second = 0
        for _ in range(100):  # chunks before the data: a hostile file may have millions
            header = file.read(8)
            if len(header) < 8:
                return None
            name, size = header[:4], struct.unpack("<I", header[4:])[0]
            if name == b"data":
                known = bytes_per_second and size not in (0, _UNKNOWN_SIZE, 0x7FFFFFFF)
                return size / bytes_per_second if known else None
            if name == b"fmt " and size >= 16:
                content = file.read(16)
                if len(content) < 16:
                    return None
                _, channels, rate, _, _, bits = struct.unpack("<HHIIHH", content)
                bytes_per_second = rate * channels * bits // 8
                size -= 16
            file.seek(size + size % 2, 1)
    return None


def _mp3_seconds(path: Path, rate: int) -> tuple[float, ...]:
    """From the Xing, Info or VBRI header in the first frame, which counts the frames of the file: once for the 1152
    samples of an MPEG-1 frame and once for the 576 of MPEG-2. Empty where there is no such header."""
    with path.open("rb") as file:
        head = file.read(10)
        skip = 0
        if head[:3] == b"ID3":
            a, b, c, d = (byte & 0x7F for byte in head[6:10])
            skip = 10 + (a << 21 | b << 14 | c << 7 | d)
        file.seek(skip)
        start = file.read(4096)
    for mark, place in ((b"Xing", 8), (b"Info", 8), (b"VBRI", 14)):
        at = start.find(mark)
        if 0 <= at < len(start) - 20 and (mark == b"VBRI" or start[at + 7] & 1):
            frames = int.from_bytes(start[at + place : at + place + 4], "big")
            return frames * 1152 / rate, frames * 576 / rate
    return ()
