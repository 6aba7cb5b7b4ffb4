"""The length of a file: the one that its container stores, and the exact one of MP3 and MP4 files.

FFmpeg reports estimated and stored durations alike, so each container is read in its own way. Matroska's is that of the
longest track, not of the sound, and isn't used. With MP3 and MP4 FFmpeg's own figures are off by a few samples:
MP3: an encoder adds a delay at the beginning and padding at the end; the LAME header (Gabriel Bouvigne, "Mp3 info tag
revision 1") holds both. FFmpeg's muxer cannot write a padding of more than one frame and 529 samples, which one length
in 25 needs, so the header is corrected here.
MP4 (ISO/IEC 14496-12): the sample table counts all samples including delay and padding, and the edit list gives the
part to present, often rounded to milliseconds. Apple's encoders store the exact length in an extra tag, iTunSMPB.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_MP3_FRAME = 1152
_LARGEST_HEADER = 64 << 20  # bytes of an MP4 index that are read
_SMPB = re.compile(rb"iTunSMPB.{0,24}?data.{8}\s*[0-9A-F]{8} ([0-9A-F]{8}) ([0-9A-F]{8}) ([0-9A-F]{16})", re.DOTALL)


def promised_seconds(path: Path, container: InputContainer, stream: AudioStream) -> float | None:
    """The length of the track that the container stores, in seconds; None where it stores none that can be relied on.

    Of uncompressed sound at most what fits into the bytes of the file; what it should be says `stated_size`.
    """
    name = container.format.name
    by_stream = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
    if stream.codec_context.name.startswith("pcm_") and stream.codec_context.bit_rate and by_stream:
        return min(by_stream, path.stat().st_size * 8 / stream.codec_context.bit_rate)
    if name == "flac":
        info = stream.codec_context.extradata or b""
        return by_stream if len(info) >= 18 and int.from_bytes(info[13:18], "big") & 0xFFFFFFFF else None
    if name == "mp3":
        # in concatenated files the header is that of the first one, and FFmpeg estimates the length by the bit rate
        counted = _mp3_seconds(path, stream.codec_context.sample_rate)
        return by_stream if any(by_stream and abs(seconds - by_stream) < 0.3 for seconds in counted) else None
    if name.startswith("mov"):
        return None if is_fragmented(path) else by_stream
    return by_stream if name in ("ape", "wv", "tta") else None


def is_fragmented(path: Path) -> bool:
    """Whether the MP4 at `path` has its samples in fragments, whose lengths the index doesn't hold."""
    with path.open("rb") as file:
        return any(kind == b"mvex" for kind, _ in boxes(_movie(file)))


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


def write_mp3_padding(path: Path, frames: int) -> None:
    """Set the padding in the LAME header of the MPEG-1 file at `path` so that it decodes to `frames`."""
    with path.open("r+b") as file:
        # after an ID3v2 tag, whose length is stored in four bytes of seven bits
        head = file.read(10)
        start = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        file.seek(start)
        tag = bytearray(file.read(192 + 36))
        info = tag.find(b"Info")  # after the side information, whose size depends on the channels
        packets = int.from_bytes(tag[info + 8 : info + 12], "big")
        # three bytes hold delay and padding, 12 bits each; the last two bytes are a checksum over what precedes them
        at = info + 141
        delays = int.from_bytes(tag[at : at + 3], "big")
        padding = packets * _MP3_FRAME - (delays >> 12) - frames
        tag[at : at + 3] = (delays & 0xFFF000 | padding).to_bytes(3, "big")
        tag[info + 154 : info + 156] = _crc16(tag[: info + 154]).to_bytes(2, "big")
        file.seek(start)
        file.write(tag)


def _crc16(data: bytes | bytearray) -> int:
    """CRC-16/ARC, the checksum of the LAME header."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return value


def mp4_frames(path: Path, track: int, rate: int) -> int | None:
    """The number of frames at `rate` that the track with the id `track` of the MP4 at `path` presents, without encoder
    delay and padding; None where it is not known (no edit list, fragments, several edits, a broken index)."""
    with path.open("rb") as file:
        movie = _movie(file)
    try:
        found = _edited(movie, track)
    except (struct.error, IndexError, KeyError):
        return None
    if found is None:
        return None
    frames, scale, total = found
    tag = _SMPB.search(movie)
    if tag and scale == rate:  # delay, padding and length; only trusted if they add up to the sample table
        delay, rest, exact = (int(figure, 16) for figure in tag.groups())
        if delay + rest + exact == total:
            return exact
    return None if frames is None else (2 * frames * rate + scale) // (2 * scale)


def _movie(file: BinaryIO) -> bytes:
    """The content of the box ``moov`` (the index); empty when there is none."""
    at, size = 0, file.seek(0, 2)
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length, kind = struct.unpack(">I4s", head[:8])
        skip = 8
        if length == 1 and len(head) == 16:
            length, skip = struct.unpack(">Q", head[8:])[0], 16
        elif length == 0:
            length = size - at
        if length < skip:
            break
        if kind == b"moov":
            file.seek(at + skip)
            return file.read(min(length - skip, _LARGEST_HEADER))
        at += length
    return b""


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of the MP4 boxes in `data`."""
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if length < 8:
            return
        yield kind, data[at + 8 : at + length]
        at += length


def _inside(data: bytes, *names: bytes) -> bytes:
    """The content of the box at the path `names`; empty when there is none."""
    for name in names:
        data = next((content for kind, content in boxes(data) if kind == name), b"")
    return data


def _edited(movie: bytes, track: int) -> tuple[int | None, int, int] | None:
    """Length after the edit (None: no single edit), time scale, and length of the whole sample table."""
    header = _inside(movie, b"mvhd")
    (movie_scale,) = struct.unpack_from(">I", header, 20 if header[0] else 12)
    for kind, content in boxes(movie):
        heading = _inside(content, b"tkhd")
        if kind != b"trak" or struct.unpack_from(">I", heading, 20 if heading[0] else 12)[0] != track:
            continue
        media = _inside(content, b"mdia", b"mdhd")
        (scale,) = struct.unpack_from(">I", media, 20 if media[0] else 12)
        table = _inside(content, b"mdia", b"minf", b"stbl", b"stts")
        entries = min(struct.unpack_from(">I", table, 4)[0], (len(table) - 8) // 8)
        total = sum(count * delta for count, delta in struct.iter_unpack(">II", table[8 : 8 + 8 * entries]))
        if not (total and scale and movie_scale):
            return None
        edits = [edit for edit in _edits(_inside(content, b"edts", b"elst")) if edit[1] >= 0]
        if len(edits) != 1:
            return None, scale, total
        length, begin = edits[0]
        left = total - begin
        shorter = left * movie_scale - length * scale  # in units of 1 / (scale * movie_scale) s
        if shorter > scale:  # by more than the edit's rounding: the edit cuts the end
            left = length * scale // movie_scale
        return (left if left > 0 else None), scale, total
    return None


def _edits(data: bytes) -> list[tuple[int, int]]:
    """Duration (movie time scale) and begin (media time scale; -1: silence before the track) of each edit."""
    if not data:
        return []
    form = ">Qqi" if data[0] else ">Iii"
    count = min(struct.unpack_from(">I", data, 4)[0], (len(data) - 8) // struct.calcsize(form))
    return [entry[:2] for entry in struct.iter_unpack(form, data[8 : 8 + count * struct.calcsize(form)])]
