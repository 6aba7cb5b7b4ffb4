"""`AudioFile`: sound on disk as plain float32, read by position, so that no song has to fit in memory.

The file is NumPy's `.npy` (format version 1.0): float32, C order, ``[frames, channels]``, i.e. interleaved.
It has no size limit, no timestamps (the same sound is the same bytes) and any tool can open it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from io import BufferedWriter
from pathlib import Path
from types import TracebackType

import numpy as np

from understudy.audio.samples import Audio
from understudy.errors import UnderstudyError


@dataclass(frozen=True)
class AudioFile:
    """A finished file of samples; `offset` is where they begin, in bytes."""

    path: Path
    rate: int
    channels: int
    frames: int
    offset: int

    @staticmethod
    def open(path: Path, rate: int) -> AudioFile:
        """The file at `path`, written by `AudioWriter`; raises `UnderstudyError` when it isn't one."""
        try:
            with path.open("rb") as file:
                version = np.lib.format.read_magic(file)
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
                offset = file.tell()
            if version != (1, 0) or fortran or dtype != np.float32 or len(shape) != 2:
                raise ValueError(f"holds {dtype} {shape}")
            if path.stat().st_size < offset + shape[0] * shape[1] * 4:  # e.g. after a power cut
                raise ValueError("it is cut off")
        except (ValueError, OSError) as error:
            raise UnderstudyError(
                "artifact-unreadable",
                f"{path} is not a readable artifact ({error}).",
                "Delete it and run the same command again: it will be made anew.",
            ) from error
        return AudioFile(path, rate, shape[1], shape[0], offset)

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.frames / self.rate

    def read(self, start: int = 0, stop: int | None = None) -> Audio:
        """Frames ``start:stop``; positions before 0 or past the end read as silence."""
        stop = self.frames if stop is None else stop
        samples = np.zeros((self.channels, max(0, stop - start)), np.float32)
        first, last = max(0, start), min(stop, self.frames)
        if last > first:
            flat = np.fromfile(
                self.path,
                np.float32,
                (last - first) * self.channels,
                offset=self.offset + first * self.channels * 4,
            )
            samples[:, first - start : last - start] = flat.reshape(-1, self.channels).T
        return Audio(samples, self.rate)


class AudioWriter:
    """Writes an `AudioFile` block by block.

    Use as a context manager; `file` is valid after the block. The frame count is put into the header at the end,
    so a killed writer leaves a file that `AudioFile.open` reads as empty.
    """

    def __init__(self, path: Path, rate: int, channels: int) -> None:
        self.path, self.rate, self.channels = path, rate, channels
        self.frames = 0
        self._stream: BufferedWriter

    def __enter__(self) -> AudioWriter:
        self._stream = self.path.open("wb")
        self._write_header()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._stream.seek(0)
            self._write_header()
        self._stream.close()

    def write(self, block: Audio) -> None:
        if (block.rate, block.channels) != (self.rate, self.channels):
            raise ValueError(
                f"writer wants {self.channels} channels at {self.rate} Hz, got {block.channels} at {block.rate}"
            )
        self._stream.write(np.ascontiguousarray(block.samples.T).data)
        self.frames += block.frames

    @property
    def file(self) -> AudioFile:
        return AudioFile.open(self.path, self.rate)

    def _write_header(self) -> None:
        # numpy pads the header so that the first axis can grow in place (GROWTH_AXIS_MAX_DIGITS)
        np.lib.format.write_array_header_1_0(
            self._stream,
            {"descr": "<f4", "fortran_order": False, "shape": (self.frames, self.channels)},
        )


def write_blocks(path: Path, rate: int, channels: int, blocks: Iterable[Audio]) -> AudioFile:
    """All `blocks` one after the other into a new file at `path`."""
    with AudioWriter(path, rate, channels) as writer:
        for block in blocks:
            writer.write(block)
    return writer.file
