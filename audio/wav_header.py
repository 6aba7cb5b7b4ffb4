"""The header of WAV files (RIFF and RF64): what it states, and corrections of what FFmpeg would take literally.

Programs that write to a pipe, and recorders that were stopped, leave a placeholder or an old figure as the size of the
sound. Samples may be stored in more bytes than they have bits, for example 24 bits in four bytes, left-justified.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

_PLACEHOLDERS = (0x7F000000, 0x7FFFFFFF, 0xFFFFFFFF)  # sizes left by programs that couldn't go back to the header
_NEAR = 0x10000  # bytes that such a size may differ by: some subtract their header, or round
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_BLOCKS = {2: "MS ADPCM", 0x11: "IMA ADPCM", 0x31: "GSM 6.10"}  # formats that state the samples of a block
_MOST_CHUNKS = 100  # before the sound: a hostile file may have millions


@dataclass(frozen=True)
class WavHeader:
    """`corrections`: right content of wrong fields, by position in the file. `end`: where the sound ends as stated, in
    bytes; None where it isn't stated. `frames`: of sound in blocks, without the padding of the last block; None for
    other formats, or where it isn't stated."""

    corrections: Mapping[int, bytes]
    end: int | None
    frames: int | None


def unknown_size(stated: int) -> bool:
    """Whether `stated`, a number of bytes, is a placeholder."""
    return stated >= 1 << 62 or any(abs(stated - size) < _NEAR for size in _PLACEHOLDERS)


def read_wav_header(file: BinaryIO) -> WavHeader | None:
    """The header of the WAV file `file`; None for other files, and where no sound follows it."""
    length = file.seek(0, 2)
    file.seek(0)
    kind = file.read(12)
    if kind[:4] not in (b"RIFF", b"RF64") or kind[8:] != b"WAVE":
        return None
    corrections: dict[int, bytes] = {}
    form, format_at, frames, long_size = b"", 0, 0, None
    for _ in range(_MOST_CHUNKS):
        at = file.tell()
        head = file.read(8)
        if len(head) < 8:
            return None
        name, size = head[:4], struct.unpack("<I", head[4:])[0]
        if name == b"data":
            break
        content = file.read(min(size, 40))
        if name == b"fmt ":
            form, format_at = content, at + 8
        elif name == b"fact" and len(content) >= 4:
            frames = struct.unpack_from("<I", content)[0]
        elif name == b"ds64" and len(content) >= 16:
            long_size = at + 16  # where the 64-bit size of the sound is
            (large,) = struct.unpack_from("<Q", content, 8)
        file.seek(at + 8 + size + size % 2)
    else:
        return None
    if len(form) < 16:
        return None
    begin = at + 8
    if long_size is not None and size == 0xFFFFFFFF:
        size = large
    second, block = struct.unpack_from("<IH", form, 8)  # bytes of a second, bytes of a frame or block
    rest = length - begin - size  # bytes after the sound
    if (unknown_size(size) and rest < 0) or (rest > max(second, 16) and not _is_chunk(file, begin + size, length)):
        size = length - begin
        here = struct.pack("<Q", size) if long_size is not None else struct.pack("<I", min(size, 0xFFFFFFFF))
        corrections[at + 4 if long_size is None else long_size] = here
    corrections |= _sample_size(file, form, format_at, begin)
    tag = _tag(form)
    exact = None
    if tag in _BLOCKS and len(form) >= 20 and block:
        (samples,) = struct.unpack_from("<H", form, 18)
        padding = -(-size // block) * samples - frames
        exact = frames if frames and 0 <= padding < samples else None
    return WavHeader(corrections, begin + size, exact)


def _tag(form: bytes) -> int:
    """The format's number, which the extensible header has in its GUID."""
    (tag,) = struct.unpack_from("<H", form)
    return int(struct.unpack_from("<H", form, 24)[0]) if tag == _EXTENSIBLE and len(form) >= 26 else int(tag)


def _is_chunk(file: BinaryIO, at: int, length: int) -> bool:
    """Whether a chunk begins at the position `at`, or after the byte that pads an odd size."""
    for begin in (at, at + 1):
        file.seek(begin)
        head = file.read(8)
        if len(head) < 8:
            return True  # too little for anything else
        if head[:4].isascii() and head[:4].decode("ascii").isprintable():
            return begin + 8 + int(struct.unpack("<I", head[4:])[0]) <= length
    return False


def _sample_size(file: BinaryIO, form: bytes, at: int, begin: int) -> dict[int, bytes]:
    """Corrections for samples in more bytes than their bits need. FFmpeg takes 24 bits in four bytes for the floats of
    Cool Edit, which this header can mean as well; the samples themselves tell them apart."""
    _, channels, _, _, block, bits = struct.unpack_from("<HHIIHH", form)
    tag, extensible = _tag(form), len(form) >= 26 and form[:2] == _EXTENSIBLE.to_bytes(2, "little")
    valid = int(struct.unpack_from("<H", form, 18)[0]) if extensible else bits
    if tag not in (_PCM, _FLOAT) or not channels or block % channels or block // channels > 4:
        return {}
    size = block // channels
    if (bits + 7) // 8 == size == (valid + 7) // 8 or (tag == _PCM and size == 4 and _holds_floats(file, begin)):
        return {}
    right = struct.pack("<H", 8 * size)
    return {at + 14: right} | ({at + 18: right} if extensible else {})


def _holds_floats(file: BinaryIO, begin: int) -> bool:
    """Whether the four-byte values after `begin` are floats of a sensible size; integers read as floats are not."""
    file.seek(begin)
    content = file.read(1 << 18)
    values = np.abs(np.frombuffer(content[: len(content) // 4 * 4], "<f4"))
    values = values[values != 0]
    return bool(len(values) and np.all((values > 1e-9) & (values < 1 << 24)))
