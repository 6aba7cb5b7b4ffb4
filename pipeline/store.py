"""The artifact store: a folder per key, there whole or not at all.

An artifact is made in ``making/<key>`` and renamed to ``artifacts/<k>/<key>`` when it is complete, so a killed
process leaves none half written. A file lock per key keeps two processes from making the same artifact twice;
who gets the lock also knows that a leftover of that key has no owner and removes it.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from filelock import FileLock, Timeout

from understudy.errors import Cancelled, UnderstudyError
from understudy.pipeline.values import from_tree, to_tree


@dataclass(frozen=True)
class Record:
    """How an artifact was made: its device, its seconds of wall time, and what the stage had to say to the user.
    `voices`: the identities of the voices that it comes from."""

    stage: str
    device: str
    seconds: float
    warnings: tuple[str, ...]
    voices: tuple[str, ...]

    @staticmethod
    def of(data: Mapping[str, Any]) -> Record:
        """What ``artifact.json`` says; raises `KeyError` or `TypeError` where it says something else."""
        stage, device, seconds, warnings = (data[name] for name in ("stage", "device", "seconds", "warnings"))
        return Record(stage, device, seconds, tuple(warnings), tuple(data.get("voices", ())))  # older ones name none


@dataclass(frozen=True)
class Artifact(Record):
    """What a stage made, and how."""

    value: Any


class Store:
    """Artifacts by key under `root`; safe to use from several threads and processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            for name in ("artifacts", "making", "locks"):
                (root / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnderstudyError(
                "cache-not-writable",
                f"The cache folder {root} can't be used: {error.strerror}.",
                "Name a writable folder with --cache or UNDERSTUDY_CACHE.",
            ) from error
        self._remove_leftovers()

    def folder(self, key: str) -> Path:
        return self.root / "artifacts" / key[:2] / key

    def has(self, key: str) -> bool:
        return (self.folder(key) / "artifact.json").is_file()

    def record(self, key: str) -> Record:
        """How the artifact under `key` was made; raises what `load` raises."""
        folder = self.folder(key)
        with _readable(folder):
            return Record.of(json.loads((folder / "artifact.json").read_text("utf-8")))

    def load(self, key: str) -> Artifact:
        """The artifact under `key`; raises `UnderstudyError` if it was damaged from outside."""
        folder = self.folder(key)
        path = folder / "artifact.json"
        with _readable(folder):
            data = json.loads(path.read_text("utf-8"))
            os.utime(path)  # the time of last use, for `prune`
            return Artifact(**vars(Record.of(data)), value=from_tree(data["value"], folder))

    @contextmanager
    def making(self, key: str, cancelled: Event) -> Iterator[Path]:
        """An empty folder to make the artifact `key` in, held alone. Nothing of it stays unless `seal` was called.

        Waits while another process makes the same one: check `has` again inside. Raises `Cancelled`.
        """
        lock = FileLock(self.root / "locks" / f"{key}.lock")
        while True:
            try:
                lock.acquire(timeout=0.2)
                break
            except Timeout:
                if cancelled.is_set():
                    raise Cancelled from None
        folder = self.root / "making" / key
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.release()

    def seal(self, key: str, artifact: Artifact) -> Artifact:
        """Give the artifact in its `making` folder its final name; the value comes back read from there."""
        making, final = self.root / "making" / key, self.folder(key)
        record = {**vars(artifact), "value": to_tree(artifact.value, making)}
        (making / "artifact.json").write_text(json.dumps(record, indent=1), "utf-8")
        final.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(final, ignore_errors=True)  # only ever a damaged one: the caller holds the lock and saw none
        os.replace(making, final)
        return self.load(key)

    def size(self) -> int:
        """Bytes of all artifacts."""
        return sum(_bytes(folder) for folder in self._folders())

    def prune(self, limit: int, spare: float = 0.0) -> int:
        """Remove artifacts, longest unused first, until at most `limit` bytes are left; returns the bytes removed.

        Those used within the last `spare` seconds stay: another process may be in the middle of a cover with them.
        """
        return prune(self._folders(), limit, spare)

    def remove_voices(self, identities: Collection[str]) -> int:
        """Remove all artifacts that come from one of these voices; returns how many."""
        removed = 0
        for folder in self._folders() if identities else ():
            with suppress(OSError, ValueError, KeyError):
                if {*identities}.intersection(json.loads((folder / "artifact.json").read_text("utf-8"))["voices"]):
                    shutil.rmtree(folder, ignore_errors=True)
                    removed += 1
        return removed

    def _folders(self) -> list[Path]:
        return [folder for folder in (self.root / "artifacts").glob("*/*") if folder.is_dir()]

    def _remove_leftovers(self) -> None:
        """Remove what killed processes left: folders in `making` whose lock is free."""
        for folder in (self.root / "making").iterdir():
            with suppress(Timeout), FileLock(self.root / "locks" / f"{folder.name}.lock", timeout=0):
                shutil.rmtree(folder, ignore_errors=True)


def prune(folders: Iterable[Path], limit: int, spare: float) -> int:
    """What `Store.prune` does, for folders that may belong to several stores."""
    used = sorted(folders, key=_last_use)
    sizes = {folder: _bytes(folder) for folder in used}
    excess, removed = sum(sizes.values()) - limit, 0
    for folder in used:
        if removed >= excess or _last_use(folder) > time.time() - spare:
            break
        shutil.rmtree(folder, ignore_errors=True)
        removed += sizes[folder]
    return removed


@contextmanager
def _readable(place: object) -> Iterator[None]:
    """A block that reads the artifact at `place`."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnderstudyError(
            "artifact-unreadable",
            f"The cached artifact {place} can't be read ({error}).",
            "Delete that folder and run the same command again: it will be made anew.",
        ) from error


def _bytes(folder: Path) -> int:
    total = 0
    with suppress(FileNotFoundError):  # another process removes it meanwhile
        for path in folder.rglob("*"):
            total += path.stat().st_size
    return total


def _last_use(folder: Path) -> float:
    for path in (folder / "artifact.json", folder):
        with suppress(FileNotFoundError):
            return path.stat().st_mtime
    return 0.0
