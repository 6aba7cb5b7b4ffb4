"""A file of results as lines of JSON that is only ever added to: what a killed process had written is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

from understudy.disk import explained


class Entry(Protocol):
    """A dataclass of plain values. `identity`: a hash of what it is the result of."""

    @property
    def identity(self) -> str: ...


T = TypeVar("T", bound=Entry)


class Journal(Generic[T]):
    """The entries of the class `kind` in the file at `path`, newest last."""

    def __init__(self, path: Path, kind: type[T]) -> None:
        self.path = path
        self._lines = TypeAdapter(kind)

    def read(self) -> dict[str, T]:
        """The latest entry of each identity, in the order in which they were written. A line that a kill cut off, or
        that another version wrote, counts as not written."""
        found: dict[str, T] = {}
        for line in self.path.read_bytes().splitlines() if self.path.is_file() else ():
            try:
                entry = self._lines.validate_json(line)
            except ValidationError:
                continue
            found.pop(entry.identity, None)
            found[entry.identity] = entry
        return found

    def add(self, entry: T) -> None:
        """Append, safe on the disk when this returns. Raises `UnderstudyError` ``disk-full`` or
        ``output-not-writable``."""
        try:
            with self.path.open("a+b") as file:
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    if file.read(1) != b"\n":
                        file.write(b"\n")
                file.write(self._lines.dump_json(entry) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise explained(self.path, error) from error
