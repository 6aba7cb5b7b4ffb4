"""Hashes of files that the user names and the catalogue doesn't know: computed once, and again when a file changes."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from understudy.context import Context
from understudy.disk import explained
from understudy.models.installed import Stored, Verified, file_hash, models_folder


def seen(path: Path) -> str:
    """SHA-256 in hex of the file at `path` (absolute). What was computed is noted in the models folder with the file's
    size and time of change, and believed as long as these are the same. Raises ``model-unreadable``."""
    note = _note(path)
    known = noted(path)
    try:
        state = path.stat()
    except OSError:
        return file_hash(path)  # says what is wrong
    if known is not None and (known.size, known.changed) == (state.st_size, state.st_mtime_ns):
        return known.sha256
    sha256 = file_hash(path)
    fresh = Stored(
        path=str(path), sha256=sha256, size=state.st_size, changed=state.st_mtime_ns, source="named by the user",
        trusted=True,
    )  # fmt: skip
    with suppress(OSError):  # a folder that may not be written: the hash is computed every time
        note.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=note.parent, suffix=".part")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps(fresh.model_dump(mode="json")) + "\n")
        os.replace(temporary, note)
    return sha256


def noted(path: Path) -> Stored | None:
    """What was noted of the file when it was last used; None if it never was."""
    try:
        known = Stored.model_validate_json(_note(path).read_bytes())
    except (OSError, ValidationError):
        return None
    return known if known.path == str(path) else None


def check(path: Path, context: Context) -> Verified:
    """Compute the hash of a file again and compare it with what was noted when it was last used, if it ever was."""
    known = noted(path)
    if not path.is_file():
        return Verified(path.name, "missing", str(path), None, True)
    found = file_hash(path, context)
    state: Literal["ok", "changed"] = "ok" if known is None or known.sha256 == found else "changed"
    return Verified(path.name, state, str(path), found, True)


def remove(path: Path) -> list[Path]:
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
