"""How many bytes a file should have, by the sizes that its container states. Fewer are there if it was cut off.

A container's length in seconds says less: it is the longest track's, while the sound may begin late or end early.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from understudy.audio.wav_header import read_wav_header, unknown_size

_MOST = 100_000  # chunks or boxes that are looked at
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_BROADCAST = 1
_FLV_SIZE = b"\x00\x08filesize\x00"


def stated_size(path: Path) -> int | None:
    """The size in bytes that the file at `path` states for itself; None where it states none, as when it was written to
    a pipe, or its kind has none (FLAC, MP3, Ogg, MPEG transport streams, ...)."""
    with path.open("rb") as file:
        length = file.seek(0, 2)
        file.seek(0)
        head = file.read(64)
        try:
            size = _size(file, head, length)
        except struct.error:  # the file ends inside its header
            return None
    return None if size is None or size <= 0 or unknown_size(size) else size


def _size(file: BinaryIO, head: bytes, length: int) -> int | None:
    kind = head[:4]
    if kind in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        wav = read_wav_header(file)
        return wav.end if wav else None
    if kind == b"RIFF":  # AVI: one RIFF chunk for each gigabyte
        return _last_end(file, length, "<I", after=b"RIFF")
    if kind == b"FORM":
        return 8 + _number(">I", head, 4)
    if kind == b"riff":  # Sony Wave64
        return _number("<Q", head, 16)
    if kind == b".snd":
        return _number(">I", head, 4) + _number(">I", head, 8)
    if kind == b"DSD ":
        return _number("<Q", head, 12)
    if kind == b"caff":
        return _caf_size(file)
    if kind == b"\x1aE\xdf\xa3":
        return _matroska_size(file)
    if kind == b"0&\xb2u":
        return _asf_size(file)
    if kind[:3] == b"FLV":
        start = file.read(1 << 14)
        at = start.find(_FLV_SIZE)
        return int(struct.unpack_from(">d", start, at + len(_FLV_SIZE))[0]) if at >= 0 else None
    if head[4:8] == b"ftyp":
        return _mp4_size(file, length)
    return None


def _number(form: str, data: bytes, at: int) -> int:
    return int(struct.unpack_from(form, data, at)[0])


def _last_end(file: BinaryIO, length: int, form: str, after: bytes) -> int:
    """The end of the last chunk called `after` of those at the file's beginning."""
    end = 0
    for _ in range(_MOST):
        file.seek(end)
        head = file.read(8)
        if end >= length or head[:4] != after:
            return end
        size = _number(form, head, 4)
        end += 8 + size + size % 2
    return end


def _mp4_size(file: BinaryIO, length: int) -> int | None:
    end = 0
    for _ in range(_MOST):
        if end + 8 > length:
            return end
        file.seek(end)
        head = file.read(16)
        size = _number(">I", head, 0)
        if size == 1:
            size = _number(">Q", head, 8)
        if size < 8:  # 0: to the end of the file
            return None
        end += size
    return None


def _caf_size(file: BinaryIO) -> int | None:
    file.seek(8)
    for _ in range(_MOST):
        name, size = struct.unpack(">4sq", file.read(12))
        if name == b"data":
            return file.tell() + size if size >= 0 else None
        if size < 0:
            return None
        file.seek(size, 1)
    return None


def _matroska_size(file: BinaryIO) -> int | None:
    """The end of the segment, which holds everything after the EBML header (RFC 8794, RFC 9559)."""
    file.seek(0)
    for _ in range(8):
        name = file.read(4)
        size = _variable_size(file)
        if size is None:
            return None
        if name == b"\x18S\x80g":
            return file.tell() + size
        file.seek(size, 1)
    return None


def _variable_size(file: BinaryIO) -> int | None:
    """An EBML size: as many bytes as the first has leading zeros, and one; None for the unknown size, all ones."""
    (first,) = struct.unpack("B", file.read(1))
    more = 8 - first.bit_length()
    value = int.from_bytes(bytes([first]) + file.read(more), "big") & (1 << 7 * (more + 1)) - 1
    return None if more == 8 or value == (1 << 7 * (more + 1)) - 1 else value


def _asf_size(file: BinaryIO) -> int | None:
    file.seek(0)
    header = file.read(1 << 16)
    at = header.find(_ASF_PROPERTIES)
    if at < 0 or _number("<I", header, at + 88) & _ASF_BROADCAST:
        return None
    return _number("<Q", header, at + 40)
