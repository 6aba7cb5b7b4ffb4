"""Hashes of model files, and what is remembered of a file so that its hash is computed only once.

A hash is believed as long as the file has the size and the modification time that it had when the hash was computed.
Hashes of catalogued models are stored in their records (`installed.py`); those of other files (the user's own, or one
inside a Python package) in notes under ``MODELS/.seen``.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Literal

from platformdirs import user_data_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from understudy.context import Context
from understudy.disk import explained
from understudy.errors import UnderstudyError

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

BLOCK = 1 << 20  # bytes


class Stored(BaseModel):
    """What is known of a stored file. `path`: its name in the models folder, or an absolute path where it was linked.
    `changed`: its modification time in nanoseconds. `source`: where it is from. `trusted`: accepted on the user's
    word."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    sha256: Sha256
    size: int
    changed: int
    source: str
    trusted: bool = False


@dataclass(frozen=True)
class Verified:
    """The result of computing a file's hash again: ``ok``, ``changed``, ``missing``, or ``absent`` for a model that was
    never there. `file`: the offending file, or the model's."""

    name: str
    state: Literal["ok", "changed", "missing", "absent"]
    file: str
    sha256: str | None
    trusted: bool


def models_folder() -> Path:
    """``UNDERSTUDY_MODELS``, or the platform's data folder."""
    return Path(os.environ.get("UNDERSTUDY_MODELS") or user_data_path("understudy") / "models")


def file_hash(path: Path, context: Context | None = None) -> str:
    """SHA-256 in hex of the file's bytes. Raises ``model-unreadable``."""
    digest = hashlib.sha256()
    with opened_model(path) as file:
        size = max(1, path.stat().st_size)
        while block := file.read(BLOCK):
            digest.update(block)
            if context is not None:
                context.progress(file.tell() / size)
    return digest.hexdigest()


@contextmanager
def opened_model(path: Path) -> Iterator[BufferedReader]:
    """A model file open for reading. An `OSError`, also of the block, becomes ``model-unreadable``."""
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise UnderstudyError(
            "model-unreadable",
            f"The model file {path} can't be read ({error.strerror or error}).",
            "Check that it is there and that you may read it.",
        ) from error


def stored(path: Path, sha256: str, source: str, trusted: bool = False) -> Stored:
    """The description of the file at `path`, whose hash was computed just now."""
    state = path.stat()
    inside = path.parent == models_folder()
    return Stored(
        path=path.name if inside else str(path.absolute()),
        sha256=sha256,
        size=state.st_size,
        changed=state.st_mtime_ns,
        source=source,
        trusted=trusted,
    )


def write_whole(path: Path, text: str) -> None:
    """Write a small file, whole or not at all, and make its folder. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)  # others may share the folder
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def remembered_hash(path: Path) -> str:
    """SHA-256 in hex of the file at `path` (absolute); computed only if it has changed since the last call, in any
    process. Raises ``model-unreadable``."""
    known = remembered(path)
    with suppress(OSError):  # file_hash says what is wrong
        state = path.stat()
        if known is not None and (known.size, known.changed) == (state.st_size, state.st_mtime_ns):
            return known.sha256
    sha256 = file_hash(path)
    fresh = stored(path, sha256, "named by the user", trusted=True).model_copy(update={"path": str(path)})
    with suppress(OSError):  # a folder that may not be written: the hash is computed every time
        write_whole(_note(path), fresh.model_dump_json() + "\n")
    return sha256


def remembered(path: Path) -> Stored | None:
    """What was noted of the file when it was last used; None if it never was."""
    try:
        known = Stored.model_validate_json(_note(path).read_bytes())
    except (OSError, ValidationError):
        return None
    return known if known.path == str(path) else None


def verify_file(path: Path, context: Context) -> Verified:
    """Compute the hash of a file again and compare it with what was noted when it was last used, if it ever was."""
    known = remembered(path)
    if not path.is_file():
        return Verified(path.name, "missing", str(path), None, True)
    found = file_hash(path, context)
    state: Literal["ok", "changed"] = "ok" if known is None or known.sha256 == found else "changed"
    return Verified(path.name, state, str(path), found, True)


def remove_file(path: Path) -> list[Path]:
    """Delete a file of the user's in the models folder, the configuration of its name, and what was noted of them; the
    paths that were deleted."""
    removed = []
    for other in (path, path.with_suffix(".yaml"), path.with_suffix(".yml")):
        try:
            other.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise explained(other, error) from error
        removed.append(other)
        with suppress(OSError):
            _note(other).unlink()
    return removed


def _note(path: Path) -> Path:
    return models_folder() / ".seen" / f"{hashlib.sha256(str(path).encode()).hexdigest()[:32]}.json"
