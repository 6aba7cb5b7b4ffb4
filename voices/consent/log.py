"""The consent log: everything that was decided about voices, one JSON object per line, each with a hash of the line
before it.

A line that is changed, left out, put in or moved breaks the chain. That the last lines were cut off can't be seen from
the file alone; the hash of the last entry, kept elsewhere, shows it. Covers name the entries that they rest on.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

from understudy.disk import explained
from understudy.errors import UnderstudyError
from understudy.voices.voice import ConsentRecord, Level, Manifest

NAME = "consent-log.jsonl"
BEGINNING = "0" * 64
"""What the first entry has as the hash of the one before it."""


@dataclass(frozen=True)
class Entry:
    """`at`: ISO 8601, UTC. `voice`: its name then. `identity`: `Manifest.identity`, empty where it wasn't readable.
    `decision`: a `Level`, or what else happened, such as ``challenged``, ``refused``, ``renamed``, ``removed``.
    `details`: plain data. `previous`, `hash`: SHA-256 in hex of the entry before and of this one."""

    number: int
    at: str
    voice: str
    identity: str
    decision: str
    details: Mapping[str, Any]
    previous: str
    hash: str

    @property
    def line(self) -> str:
        return _canonical(asdict(self))

    @property
    def record(self) -> ConsentRecord:
        """The decision as a voice's manifest keeps it; only for an entry whose decision is a level."""
        limits = {name: self.details[name] for name in ("expires", "uses", "owner") if name in self.details}
        known = {"level": self.decision, "record": self.hash, "date": self.at}
        return ConsentRecord.model_validate_json(json.dumps(known | limits))


def after(
    previous: Entry | None, at: datetime, voice: str, identity: str, decision: str, details: Mapping[str, Any]
) -> Entry:
    """The entry that follows `previous`, None for the first."""
    plain = {
        "number": previous.number + 1 if previous else 1,
        "at": at.isoformat(timespec="microseconds"),
        "voice": voice,
        "identity": identity,
        "decision": decision,
        "details": json.loads(json.dumps(details)),
        "previous": previous.hash if previous else BEGINNING,
    }
    return Entry(**plain, hash=_hash(plain))


def parse(lines: Iterable[str], where: str) -> tuple[Entry, ...]:
    """The entries in `lines`, checked; `where` names them in errors. Raises ``consent-log-broken``."""
    entries: list[Entry] = []
    for number, line in enumerate(lines, start=1):
        try:
            plain = json.loads(line)
            entry = Entry(**plain)
            if plain.pop("hash") != _hash(plain) or not isinstance(entry.details, dict):
                raise _broken(where, number, "it isn't as it was written")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise _broken(where, number, "it is no entry of a consent log") from error
        before = entries[-1] if entries else None
        if entry.previous != (before.hash if before else BEGINNING) or entry.number != number:
            raise _broken(where, number, "it doesn't follow the line before it: lines were removed, added or moved")
        entries.append(entry)
    return tuple(entries)


def decided(entries: Sequence[Entry], identity: str) -> ConsentRecord | None:
    """The last decision about the consent of the voice `identity`; None where there is none."""
    found = [entry for entry in entries if entry.identity == identity and entry.decision in get_args(Level)]
    return found[-1].record if found else None


def files_of(manifest: Manifest) -> list[str]:
    """The hashes of everything that a voice is made from, as its entries list them."""
    recordings = (*manifest.recordings, *manifest.training_recordings)
    models = [model.sha256 for model in (manifest.model, manifest.tuned) if model]
    return [recording.sha256 for recording in recordings] + models


class ConsentLog:
    """The log of the voice library in the folder `root`."""

    def __init__(self, root: Path) -> None:
        self.path = root / NAME

    def read(self) -> tuple[Entry, ...]:
        """All entries, the chain checked. A last line that a kill or a full disk cut off was never decided. Raises
        ``consent-log-broken`` and ``consent-log-unreadable``."""
        try:
            data = self.path.read_bytes() if self.path.exists() else b""
        except OSError as error:
            raise UnderstudyError(
                "consent-log-unreadable",
                f"{self.path} cannot be read ({error.strerror or error}).",
                "Without it nobody knows what was consented to: give back the file or its permissions.",
            ) from error
        text = data[: data.rfind(b"\n") + 1].decode("utf-8", "replace")
        return parse(text.splitlines(), str(self.path))

    def append(
        self, at: datetime, voice: str, identity: str, decision: str, details: Mapping[str, Any] | None = None
    ) -> Entry:
        """Write a decision, safe on the disk when this returns; the library must be locked. Raises as `read`, and
        ``disk-full`` or ``output-not-writable``."""
        entries = self.read()
        entry = after(entries[-1] if entries else None, at, voice, identity, decision, details or {})
        try:
            with self.path.open("ab+") as file:
                file.truncate(sum(len(one.line.encode()) + 1 for one in entries))  # a line that was cut off
                file.write(f"{entry.line}\n".encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise explained(self.path, error) from error
        return entry


def _canonical(plain: Mapping[str, Any]) -> str:
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _hash(plain: Mapping[str, Any]) -> str:
    named = {field.name: plain[field.name] for field in fields(Entry) if field.name != "hash"}
    return hashlib.sha256(_canonical(named).encode()).hexdigest()


def _broken(where: str, number: int, why: str) -> UnderstudyError:
    return UnderstudyError(
        "consent-log-broken",
        f"The consent log {where} was changed: line {number} can't be trusted, {why}.",
        "Put back the log from a backup; no voice of this library can be used until then.",
    )
