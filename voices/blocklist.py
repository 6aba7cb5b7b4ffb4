"""The blocklist: voice prints of people who don't want to be cloned.

A print is the mean speaker embedding of somebody's recordings (`speaker.py`), and nothing else of them is kept: no
sound, no name. A recording that is nearer to a print than `THRESHOLD` is refused wherever recordings come into a voice
library. What the threshold misses and whom it refuses by mistake: `docs/measurements.md`.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from filelock import FileLock
from platformdirs import user_data_path

from understudy.disk import explained, replacing
from understudy.errors import UnderstudyError
from understudy.voices import speaker
from understudy.voices.speaker import Embedding

THRESHOLD = 0.75
"""Least similarity of a recording to a print at which it is refused."""


@dataclass(frozen=True, eq=False)
class Print:
    """`id`: random; with it a print is removed. `embedding`: a unit vector, float32 ``[256]``."""

    id: str
    added: str
    embedding: Embedding


def blocklist_file() -> Path:
    """``UNDERSTUDY_BLOCKLIST``, or ``blocklist.jsonl`` in the platform's data folder."""
    return Path(os.environ.get("UNDERSTUDY_BLOCKLIST") or user_data_path("understudy") / "blocklist.jsonl")


def prints() -> list[Print]:
    """All prints, oldest first. Raises ``blocklist-unreadable``: a list that can't be read must not count as empty."""
    path = blocklist_file()
    try:
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        return [_parsed(line) for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnderstudyError(
            "blocklist-unreadable",
            f"The blocklist {path} can't be read ({error}).",
            "Put back the file from a backup; no recordings are taken until then.",
        ) from error


def add(embeddings: Sequence[Embedding]) -> Print:
    """Put somebody on the list, by the embeddings of their recordings."""
    made = Print(
        secrets.token_hex(6), datetime.now(UTC).isoformat(timespec="seconds"), speaker.together(np.stack(embeddings))
    )
    with _changing() as path:
        _write(path, [*prints(), made])
    return made


def remove(id: str) -> None:
    """Take a print off the list. Raises ``print-unknown``."""
    with _changing() as path:
        found = prints()
        if id not in [one.id for one in found]:
            raise UnderstudyError(
                "print-unknown", f"There is no print {id[:40]!r}.", "`understudy voices blocklist list` shows them."
            )
        _write(path, [one for one in found if one.id != id])


def refuse_listed(embeddings: Sequence[Embedding | None]) -> None:
    """Raise ``voice-blocked`` if one of the recordings with these embeddings is of somebody on the list, and
    ``speaker-encoder-missing`` if there is a list and no encoder to compare with it."""
    listed = prints()
    if listed and not speaker.available():
        raise speaker.encoder_missing()
    for embedding in (one for one in embeddings if one is not None):
        for one in listed:
            if speaker.similarity(embedding, one.embedding) >= THRESHOLD:
                raise UnderstudyError(
                    "voice-blocked",
                    "This voice sounds like that of somebody who doesn't want to be cloned.",
                    "If it is another person's, the operator of this library can compare the recordings: blocklist "
                    f"entry {one.id}.",
                )


def _parsed(line: str) -> Print:
    plain = json.loads(line)
    embedding = np.frombuffer(base64.b64decode(plain["embedding"]), "<f4")
    if embedding.shape != (256,) or not np.isfinite(embedding).all():
        raise ValueError("an entry holds no embedding")
    return Print(str(plain["id"]), str(plain["added"]), embedding)


@contextmanager
def _changing() -> Iterator[Path]:
    """The list, held alone."""
    path = blocklist_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explained(path, error) from error
    with FileLock(path.with_name(f".{path.name}.lock")):
        yield path


def _write(path: Path, entries: Sequence[Print]) -> None:
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        for one in entries:
            data = base64.b64encode(one.embedding.astype("<f4").tobytes()).decode()
            file.write(json.dumps({"id": one.id, "added": one.added, "embedding": data}) + "\n")
