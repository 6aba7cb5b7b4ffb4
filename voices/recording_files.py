"""Reading recordings in any format, and storing them in the library as mono 24-bit FLAC of at most 48 kHz."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import numpy as np

from understudy.audio.downmix import fold
from understudy.audio.encode import OutputFormat, encode, peak
from understudy.audio.files import decode as decode_file
from understudy.audio.resample import resample_blocks
from understudy.audio.samples import Audio, read_blocks
from understudy.audio.stored import AudioFile, write_blocks
from understudy.audio.tags import Tags
from understudy.context import Context
from understudy.voices.names import printable
from understudy.voices.voice import Recording, file_hash

HIGHEST_RATE = 48000  # Hz; higher rates hold nothing audible of a voice
_BLOCK = 1 << 18  # frames


def decode(context: Context, path: Path, out: Path) -> AudioFile:
    """The recording at `path` as mono in a new file at `out`, at its own rate or `HIGHEST_RATE`, whichever is lower.

    Raises `UnderstudyError` as `understudy.audio.files.decode` does.
    """
    raw = out.with_name(out.name + ".raw")
    try:
        source = decode_file(context.part(0, 0.8), path, raw)
        mono, rate = fold(context.part(0.8, 0.85), source), min(source.rate, HIGHEST_RATE)
        return write_blocks(out, rate, 1, resample_blocks(mono, rate, context.part(0.85, 1)))
    finally:
        raw.unlink(missing_ok=True)


def store(context: Context, source: AudioFile, folder: Path, number: int, name: str) -> Recording:
    """Write a mono `source` into `folder`; the file name consists of `number`, `name` (the user's file) and its hash.

    Sound beyond full scale (float files can hold it) is turned down as a whole. Raises as `encode` does.
    """
    highest = peak(source, context.part(0, 0.2))
    quieter = folder / f".{number}.npy"
    temporary = folder / f".{number}.flac"
    try:
        if highest > 1:
            gain = np.float32(0.999 / highest)
            blocks = (Audio(block.samples * gain, source.rate) for block in read_blocks(source, _BLOCK))
            source = write_blocks(quieter, source.rate, 1, blocks)
        encode(context.part(0.2, 1), source, temporary, OutputFormat(name="flac"), Tags())
    finally:
        quieter.unlink(missing_ok=True)
    digest = file_hash(temporary)
    path = temporary.rename(folder / f"{number:03d}-{_slug(name)}-{digest[:8]}.flac")
    return Recording(file=path.name, source=printable(name)[-255:], duration=source.duration, sha256=digest)


def _slug(name: str) -> str:
    plain = unicodedata.normalize("NFKD", Path(name).stem).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60].strip("-") or "recording"
