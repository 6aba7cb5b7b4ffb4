"""Reading and writing `voice.json`. A manifest is untrusted: its size is bounded, and every field is checked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from understudy.errors import UnderstudyError
from understudy.voices.names import printable
from understudy.voices.voice import MANIFEST, Manifest

LARGEST = 1_000_000  # bytes; twice 999 recordings need two thirds of it

_HINT = "Correct that field by hand, or make the voice again: `understudy voices add` or `import` with --replace."


def read(folder: Path) -> Manifest:
    """The manifest of the voice in `folder`; raises `UnderstudyError` that names the file and the field at fault."""
    path = folder / MANIFEST
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise UnderstudyError(
            "manifest-unreadable",
            f"{path} cannot be read ({error.strerror or error}).",
            "Give back the file or its permissions, or remove the voice and add it again.",
        ) from error
    return parse(data, str(path))


def parse(data: bytes, where: str) -> Manifest:
    """The manifest in `data` (JSON, UTF-8); `where` names it in errors. Raises `UnderstudyError`.

    `content_hash` is always computed anew: a voice edited by hand must not get the cached sound of the old one.
    """
    if len(data) > LARGEST:
        raise UnderstudyError(
            "manifest-too-large",
            f"{where} is larger than {LARGEST // 1000} kB, which no manifest is.",
            "It isn't the manifest of a voice: remove the voice and add it again.",
        )
    try:
        manifest = Manifest.model_validate_json(data, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        if first["type"] == "json_invalid":
            raise UnderstudyError(
                "manifest-not-json", f"{where} is not a JSON object ({_shorten(first['msg'])}).", _HINT
            ) from None
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise UnderstudyError(
                "manifest-unknown-field",
                f"{where}: there is no field {_shorten(field)!r}.",
                "Delete the field; or, if a newer Understudy made this voice, update this one.",
            ) from None
        place = f"the field {_shorten(field)!r}" if field else "it"
        raise UnderstudyError(
            "manifest-bad-field", f"{where}: {place} is wrong: {_shorten(first['msg'])}.", _HINT
        ) from None
    for name in ("recordings", "training_recordings"):
        files = [recording.file for recording in getattr(manifest, name)]
        if len(set(files)) != len(files):
            raise UnderstudyError(
                "manifest-bad-field", f"{where}: the field {name!r} names one file more than once.", _HINT
            )
    return manifest.sung_by(manifest.engine)


def write(folder: Path, manifest: Manifest) -> None:
    """Put `manifest` into `folder` at once: who reads meanwhile gets the old one or the new one, never half of one."""
    temporary = folder / f".{MANIFEST}.{os.getpid()}"
    with temporary.open("wb") as file:
        file.write(to_bytes(manifest))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / MANIFEST)


def to_bytes(manifest: Manifest) -> bytes:
    """The file. Fields that came later are left out where they say nothing: older voices keep the same bytes."""
    later = ("training_recordings", "model", "tuned", "consent_record")
    left_out: dict[str, Any] = {name: True for name in later if not getattr(manifest, name)}
    if manifest.model is not None:
        usual = {"embedder": "contentvec", "pitch_range": None, "trained": None}
        left_out["model"] = {name for name, value in usual.items() if getattr(manifest.model, name) == value}
    return (manifest.model_dump_json(indent=2, exclude=left_out) + "\n").encode()


def _shorten(text: str, most: int = 120) -> str:
    return printable(text) if len(text) <= most else printable(text[: most - 1]) + "…"
