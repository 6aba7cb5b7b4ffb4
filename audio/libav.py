"""Opening untrusted files with FFmpeg's libraries (PyAV): which containers and codecs are allowed, and the errors."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from understudy.audio.wav_header import read_wav_header
from understudy.errors import UnderstudyError
from understudy.wording import counted

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

# Containers that hold sound themselves. Playlists and scripts (HLS, DASH, concat, ...) are excluded: they would open
# other files and addresses with the rights of the user.
CONTAINERS = (
    "wav", "w64", "aiff", "au", "caf", "flac", "mp3", "aac", "ac3", "eac3", "mov", "ogg", "matroska", "mpegts", "mpeg",
    "avi", "flv", "asf", "ape", "wv", "tta", "mpc", "mpc8", "tak", "dsf", "amr", "loas", "latm",
)  # fmt: skip

# Audio decoders in common use. Without this list FFmpeg would decode pictures and video to describe them, and artwork
# of 16000 x 16000 pixels in a file of 0.7 MB costs 2.2 CPU seconds and 730 MB.
DECODERS = (
    "aac", "aac_latm", "ac3", "eac3", "alac", "ape", "flac", "mp1float", "mp2float", "mp3float", "mp1", "mp2", "mp3",
    "opus", "libopus", "vorbis", "speex", "wavpack", "tta", "tak", "mpc7", "mpc8", "wmav1", "wmav2", "wmapro",
    "wmalossless", "dca", "truehd", "mlp", "amrnb", "amrwb", "libopencore_amrnb", "libopencore_amrwb", "gsm", "gsm_ms",
    "adpcm_ms", "adpcm_ima_wav", "adpcm_ima_qt", "dsd_lsbf", "dsd_msbf", "dsd_lsbf_planar", "dsd_msbf_planar",
    "pcm_alaw", "pcm_mulaw", "pcm_bluray", "pcm_dvd", "pcm_u8", "pcm_s8", "pcm_s8_planar",
    *(f"pcm_{kind}{bits}{end}" for kind in "su" for bits in (16, 24, 32) for end in ("le", "be")),
    *(f"pcm_{kind}{end}" for kind in ("s64", "f32", "f64", "f16", "f24") for end in ("le", "be")),
    "pcm_s16le_planar", "pcm_s16be_planar", "pcm_s24le_planar", "pcm_s32le_planar",
)  # fmt: skip
_MOST_READS = 20_000  # to open a file: a header of millions of empty chunks would take minutes
_NOT_AUDIO_HINT = "Give a sound file: wav, flac, mp3, m4a, ogg, opus, aiff, or a video with sound (mp4, webm, mkv)."


class _Bytes:
    """A file without a name: FFmpeg recognises it by its content and cannot take its path for an address.

    `part`: only these bytes of it, begin and end; all by default. `corrections`: what is read in place of the bytes at
    these positions. The file ends after `_MOST_READS` reads and seeks, unless `is_open` is set before.
    """

    def __init__(self, file: BinaryIO, part: tuple[int, int] | None, corrections: Mapping[int, bytes]) -> None:
        self._file, self._corrections = file, corrections
        self._begin, self._end = part or (0, file.seek(0, 2))
        self._file.seek(self._begin)
        self._reads = 0
        self.is_open = False

    def read(self, size: int) -> bytes:
        if self._is_over():
            return b""
        at = self._file.tell()
        content = self._file.read(max(0, min(size, self._end - at)))
        for place, right in self._corrections.items():
            low, high = max(place, at), min(place + len(right), at + len(content))
            if low < high:
                content = content[: low - at] + right[low - place : high - place] + content[high - at :]
        return content

    def tell(self) -> int:
        return self._file.tell() - self._begin

    def seek(self, offset: int, whence: int = 0) -> int:
        """As `file.seek`, but impossible positions from damaged headers return EINVAL to FFmpeg instead of raising."""
        if self._is_over():
            return -errno.EINVAL
        try:
            offset += {0: self._begin, 1: self._file.tell(), 2: self._end}[whence]
            return self._file.seek(offset) - self._begin
        except (KeyError, OSError, OverflowError, ValueError):
            return -errno.EINVAL

    def _is_over(self) -> bool:
        self._reads += 1
        return not self.is_open and self._reads > _MOST_READS


def check_readable(path: Path, largest: int) -> int:
    """The size of the file at `path` in bytes; raises `UnderstudyError` unless it is a readable file with content.

    Codes: ``file-not-found``, ``file-is-a-folder``, ``file-not-readable``, ``file-empty``, ``file-too-big``.
    """
    try:
        if path.is_dir():
            raise UnderstudyError("file-is-a-folder", f"{path} is a folder.", "Name one file inside it.")
        if not path.is_file():
            raise UnderstudyError(
                "file-not-found",
                f"There is no file {path}.",
                "Check the spelling of the path and the folder you are in.",
            )
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise unreadable(path, error) from error
    if size == 0:
        raise UnderstudyError(
            "file-empty", f"{path} is empty: 0 bytes.", "Get the file again: its download or copy failed."
        )
    if size > largest:
        raise UnderstudyError(
            "file-too-big",
            f"{path} has {size / 1e9:.1f} GB, more than the limit of {largest / 1e9:.1f} GB.",
            "Cut out the part you need, or save it as flac first.",
        )
    return size


def unreadable(path: Path, error: Exception) -> UnderstudyError:
    return UnderstudyError(
        "file-not-readable",
        f"{path} cannot be read ({getattr(error, 'strerror', None) or error}).",
        "Check that you may read this file and that its disk is there.",
    )


@contextmanager
def opened(path: Path, largest: int = 1 << 40, part: tuple[int, int] | None = None) -> Iterator[InputContainer]:
    """The container at `path`, at most `largest` bytes, open for reading; its content decides what it is, not its name.
    `part`: begin and end of the bytes that are read, all by default.

    Raises `UnderstudyError`: the codes of `check_readable`, ``not-audio``, and ``file-truncated`` for an MP4 whose
    index never arrived.
    """
    import av
    import av.logging

    av.logging.set_level(None)  # broken files are reported by us: libav prints nothing
    check_readable(path, largest)
    with path.open("rb") as file:
        try:
            header = read_wav_header(file)
            content = partial(_Bytes, file, part, header.corrections if header else {})
            try:
                container = _container(content())
            except av.FFmpegError:
                if not _begins_as_mp3(file):
                    raise
                container = _container(content(), "mp3")  # FFmpeg cannot recognise a tenth of a second by itself
        except (av.FFmpegError, ValueError, OverflowError, MemoryError) as error:
            raise _unopened(path, file) from error
        except OSError as error:
            raise unreadable(path, error) from error
        with container:
            yield container


def _container(content: _Bytes, format: str | None = None) -> InputContainer:
    import av

    container = av.open(
        content,
        mode="r",
        format=format,
        metadata_errors="replace",
        options={
            "format_whitelist": ",".join(CONTAINERS),
            "codec_whitelist": ",".join(DECODERS),
            "protocol_whitelist": "",
        },
    )
    content.is_open = True
    return container


def _begins_as_mp3(file: BinaryIO) -> bool:
    """With an ID3 tag, or the header of a frame of MPEG layer III."""
    file.seek(0)
    begin = file.read(3)
    return begin == b"ID3" or (len(begin) == 3 and begin[0] == 0xFF and begin[1] & 0xE6 == 0xE2)


def _unopened(path: Path, file: BinaryIO) -> UnderstudyError:
    file.seek(0)
    if file.read(12)[4:8] == b"ftyp":  # an MP4 often has its index at the end
        return UnderstudyError(
            "file-truncated",
            f"{path} is incomplete: it begins as an MP4 file but its index is missing.",
            "Get the file again: its download or copy was cut off.",
        )
    return UnderstudyError("not-audio", f"{path} is not a sound file that can be read.", _NOT_AUDIO_HINT)


def audio_stream(path: Path, container: InputContainer, number: int | None = None) -> AudioStream:
    """The stream of `container` that holds the song: the one FFmpeg rates best, i.e. the default track; or the
    `number`-th with sound, counted from 0.

    Raises `UnderstudyError`: ``no-audio-track``, ``unsupported-codec``.
    """
    if not container.streams.audio:
        what = "pictures" if container.streams.video else "data"
        raise UnderstudyError("no-audio-track", f"{path} holds {what} but no sound.", _NOT_AUDIO_HINT)
    if number is not None and number >= len(container.streams.audio):
        raise UnderstudyError(
            "no-audio-track",
            f"{path} has {counted(len(container.streams.audio), 'sound track')}; number {number + 1} was requested.",
            "Check that it is a file with one track for the mixture and one for each stem.",
        )
    best = container.streams.best("audio")
    stream = next((stream for stream in container.streams.audio if stream is best), container.streams.audio[0])
    if number is not None:
        stream = container.streams.audio[number]
    name = stream.codec_context.name if stream.codec_context else "unknown"
    if name not in DECODERS:
        raise UnderstudyError(
            "unsupported-codec",
            f"The sound in {path} is coded as {name}, which cannot be read.",
            "Save it as flac or 24-bit wav with the program that made it, or get it in another format.",
        )
    return stream
