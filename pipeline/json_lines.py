"""A file of JSON objects, one a line, that is only ever added to: what a killed process had written is there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of the file at `path`, oldest first; none where there is no file. A line that a kill cut off, or that
    holds something else, counts as not written."""
    if not path.is_file():
        return
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found


def append_line(path: Path, fields: Mapping[str, Any]) -> None:
    """Append one object, safe on the disk when this returns."""
    line = json.dumps(fields, ensure_ascii=False, allow_nan=False) + "\n"
    with path.open("ab") as file:
        if file.tell() and not _ends_line(path):
            file.write(b"\n")
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def _ends_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
