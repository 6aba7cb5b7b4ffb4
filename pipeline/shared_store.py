"""The artifacts of a cluster: in a folder that all machines see, or in an object store such as S3, through fsspec.

    URL/store.json                          says that this is a store, and which
    URL/[OWNER/]artifacts/ab/abcd.../       an artifact: its files as in a `Store`, ``artifact.json`` written last
    URL/[OWNER/]files/SHA256                what users give: songs, stems, recordings, models of voices
    URL/models/SHA256                       models of the catalogue, which all owners share

What a machine uses, it copies into a local folder first (`Store.root`, bounded by `prune_copies`), since stages read
their inputs by position. Files go by their content: what has the same SHA-256 is sent and fetched once.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, TypeVar
from uuid import uuid4

import fsspec  # type: ignore[import-untyped]
from filelock import FileLock, Timeout

from understudy.disk import explained, is_full
from understudy.errors import UnderstudyError
from understudy.packages import package_missing
from understudy.pipeline.store import Artifact, Record, Store, prune

T = TypeVar("T")
log = logging.getLogger("understudy.store")

PATIENCE = 300.0
"""Seconds for which a store that can't be reached is tried again."""
IN_USE = 900.0
"""Seconds since its last use for which a copy stays, however full the folder is. What a stage works with is used again
every minute (`touch`)."""
_AWAY = "The store of the cluster can't be reached; it is tried again."


@dataclass(frozen=True)
class StoreAddress:
    """Where a store is: `url` and `options` of a file system as in fsspec, and whose artifacts are meant. `identity`:
    what its ``store.json`` holds, so that a machine notices that its folder of that name is another one; empty where
    it isn't known yet."""

    url: str
    options: Mapping[str, Any] = field(default_factory=dict)
    owner: str = ""
    identity: str = ""


class SharedStore(Store):
    """The artifacts at `address`, of which this machine keeps copies in the folder `root`. `models`:
    the folder of fetched models, which owners share; None: in `root`."""

    def __init__(
        self, address: StoreAddress, root: Path, models: Path | None = None, patience: float = PATIENCE
    ) -> None:
        super().__init__(root)
        self._models = models or root / "models"
        self._patience = patience
        self._files, self._base = _file_system(address)
        self._is_folder = "file" in _protocols(self._files)
        self._prefix = f"{address.owner}/" if address.owner else ""
        self._sent: dict[str, None] = {}  # names known to be there, the latest last
        self._away = False  # it can't be reached, and is waited for
        self._listeners: set[Callable[[str], None]] = set()
        identity = self._identify(address)
        self.address = StoreAddress(address.url, address.options, address.owner, identity)

    def has(self, key: str) -> bool:
        if self._exists(f"{self._artifact(key)}/artifact.json"):
            return True
        if super().has(key):  # made on this machine by itself, or removed from the store: the others need it, too
            self._send(key)
            return True
        return False

    def record(self, key: str) -> Record:
        if super().has(key):
            return super().record(key)
        data = self._patiently(lambda: self._files.cat_file(self._at(f"{self._artifact(key)}/artifact.json")))
        return Record.of(json.loads(data))

    def load(self, key: str) -> Artifact:
        if not super().has(key):
            self._fetch(key)
        return super().load(key)

    def seal(self, key: str, artifact: Artifact) -> Artifact:
        sealed = super().seal(key, artifact)
        self._send(key)
        return sealed

    def remove_voices(self, identities: Collection[str]) -> int:
        """Remove all artifacts that come from one of these voices, here and in the store; returns how many there were
        there."""
        super().remove_voices(identities)
        removed = 0
        for name in self._patiently(lambda: self._files.glob(self._at(f"{self._prefix}artifacts/*/*/artifact.json"))):
            with suppress(FileNotFoundError, ValueError):
                record = json.loads(self._patiently(partial(self._files.cat_file, name)))
                if {*identities}.intersection(record.get("voices", ())):
                    self._patiently(partial(self._files.rm, name.rpartition("/")[0], recursive=True))
                    removed += 1
        return removed

    @contextmanager
    def telling(self, delayed: Callable[[str], None]) -> Iterator[None]:
        """A block in which `delayed` hears a sentence whenever the store can't be reached and is waited for."""
        self._listeners.add(delayed)
        try:
            if self._away:
                delayed(_AWAY)
            yield
        finally:
            self._listeners.discard(delayed)

    def owners(self) -> list[str]:
        """The owners that have something in the store."""
        names = (str(path).rstrip("/").rpartition("/")[2] for path in self._patiently(self._ls))
        return [name for name in names if name not in ("store.json", "models", "artifacts", "files")]

    def remove_owner(self, owner: str) -> None:
        """Remove all that an owner has in the store, files included."""
        with suppress(FileNotFoundError):
            self._patiently(partial(self._files.rm, self._at(owner), recursive=True))

    def send_file(self, path: Path, sha256: str, model: bool = False) -> None:
        """Make sure that the file at `path`, whose hash that is, is in the store."""
        name = self._file(sha256, model)
        if name not in self._sent and not self._exists(name):
            self._put(path, name)
        self._sent[name] = None
        while len(self._sent) > 4096:
            del self._sent[next(iter(self._sent))]

    def file(self, sha256: str, name: str, model: bool = False) -> Path:
        """The file with that hash on this machine, called `name`; fetched once, and its hash compared then.

        Raises `UnderstudyError` ``storage-missing`` where the store doesn't have it.
        """
        folder = (self._models if model else self.root / "files") / sha256
        path = folder / name
        if not path.is_file():
            (self.root / "locks").mkdir(parents=True, exist_ok=True)
            with FileLock(self.root / "locks" / f"{sha256}.lock"), _room(self.root):
                folder.mkdir(parents=True, exist_ok=True)
                known = next((one for one in folder.iterdir() if not one.name.startswith(".")), None)
                part = folder / f".{uuid4().hex}"
                try:
                    if known is not None:  # under another name
                        os.link(known, part)
                    else:
                        self._get(self._file(sha256, model), part, sha256)
                    part.replace(path)
                finally:
                    part.unlink(missing_ok=True)
        with suppress(OSError):
            os.utime(folder)
        return path

    def _folders(self) -> list[Path]:
        more = [folder for place in (self.root / "files", self._models) for folder in place.glob("*")]
        return [*super()._folders(), *(folder for folder in more if folder.is_dir())]

    def _artifact(self, key: str) -> str:
        return f"{self._prefix}artifacts/{key[:2]}/{key}"

    def _file(self, sha256: str, model: bool) -> str:
        return f"models/{sha256}" if model else f"{self._prefix}files/{sha256}"

    def _at(self, name: str) -> str:
        return f"{self._base}/{name}"

    def _send(self, key: str) -> None:
        """Copy the artifact from this machine into the store."""
        folder, name = self.folder(key), self._artifact(key)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        for path in sorted(files, key=lambda path: path.name == "artifact.json"):
            self._put(path, f"{name}/{path.relative_to(folder).as_posix()}")

    def _fetch(self, key: str) -> None:
        """Copy the artifact from the store to this machine."""
        with self.making(key, Event()) as folder, _room(self.root):
            if super().has(key):
                return  # another process was first
            begin = self._at(self._artifact(key))
            for found in self._patiently(lambda: self._files.find(begin)):
                # some file systems name files with a leading slash, or without
                inner = str(found)[str(found).index(self._artifact(key)) + len(self._artifact(key)) + 1 :]
                if not Path(inner).name.startswith("."):
                    (folder / inner).parent.mkdir(parents=True, exist_ok=True)
                    self._get(f"{self._artifact(key)}/{inner}", folder / inner)
            if (folder / "artifact.json").is_file():
                final = self.folder(key)
                final.parent.mkdir(parents=True, exist_ok=True)
                shutil.rmtree(final, ignore_errors=True)
                os.replace(folder, final)

    def _ls(self) -> list[str]:
        return list(self._files.ls(self._base, detail=False))

    def _exists(self, name: str) -> bool:
        return bool(self._patiently(lambda: self._files.exists(self._at(name))))

    def _put(self, path: Path, name: str) -> None:
        """The file, whole or not at all."""

        def put() -> None:
            if not self._is_folder:
                self._files.put_file(str(path), self._at(name))
                return
            target = Path(self._at(name))
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name}.{uuid4().hex[:8]}")
            try:
                shutil.copyfile(path, part)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)

        self._patiently(put)

    def _get(self, name: str, path: Path, sha256: str | None = None) -> None:
        try:
            self._patiently(lambda: self._files.get_file(self._at(name), str(path)))
        except FileNotFoundError as error:
            raise UnderstudyError(
                "storage-missing",
                f"The file {name} is gone from the store of the cluster.",
                "Run the same command again: what is missing is sent or made again.",
            ) from error
        if sha256 is not None:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != sha256:
                raise UnderstudyError(
                    "storage-damaged",
                    f"The file {name} in the store of the cluster isn't what was sent: its hash is {found}.",
                    "Delete that file in the store and run the same command again.",
                )

    def _patiently(self, work: Callable[[], T]) -> T:
        """What `work` returns. While the store can't be reached, it is tried again."""
        end, pause = time.monotonic() + self._patience, 0.2
        while True:
            try:
                # a folder that isn't mounted looks like an empty one
                if self._is_folder and not Path(self._at("store.json")).is_file():
                    raise ConnectionError("the folder isn't there")
                found = work()
                self._away = False
                return found
            except (FileNotFoundError, PermissionError, UnderstudyError):
                self._away = False
                raise
            except Exception as error:
                if isinstance(error, OSError) and is_full(error):
                    raise
                if type(error).__name__ == "NoCredentialsError":  # botocore's
                    raise _not_shared(f"has no credentials for the store {self._base}") from error
                if time.monotonic() + pause > end:
                    raise _unreachable(self._base, error) from error
                log.warning("the store can't be reached, trying again: %s", error)
                if not self._away:
                    self._away = True
                    for delayed in [*self._listeners]:
                        delayed(_AWAY)
                time.sleep(pause)
                pause = min(10.0, pause * 2)

    def _identify(self, address: StoreAddress) -> str:
        """The identity of the store, which is made where it is new."""
        marker = self._at("store.json")
        try:
            if not address.identity and not self._files.exists(marker):
                if self._is_folder:
                    Path(self._base).mkdir(parents=True, exist_ok=True)
                self._files.pipe_file(marker, json.dumps({"store": uuid4().hex}).encode())

            def read() -> str:
                return str(json.loads(self._files.cat_file(marker))["store"])

            # a store that was there before may be away for a moment; a folder that isn't mounted is known at once
            found = self._patiently(read) if address.identity and not self._is_folder else read()
        except UnderstudyError:
            raise
        except FileNotFoundError:
            found = ""
        except Exception as error:
            raise _unreachable(self._base, error) from error
        if address.identity and found != address.identity:
            raise _not_shared(f"doesn't see the store {address.url}, or sees another one there")
        return found


def touch(folders: Iterable[Path]) -> None:
    """Note that the copies in these folders are in use."""
    for folder in folders:
        for path in (folder / "artifact.json", folder):
            with suppress(OSError):
                os.utime(path)


def owned(address: StoreAddress, copies: Path) -> SharedStore:
    """The store on a machine that works for several owners, whose copies are below `copies`."""
    root = copies / "owners" / address.owner if address.owner else copies
    return SharedStore(address, root, copies / "models")


def prune_copies(copies: Path, limit: int, spare: float = IN_USE) -> int:
    """Keep the copies of all `owned` stores together under `limit` bytes; returns the bytes removed. One process does
    it at a time; the others go on."""
    with suppress(Timeout), FileLock(copies / "prune.lock", timeout=0):
        folders = [
            folder
            for root in (copies, *copies.glob("owners/*"))
            for part in ("artifacts/*/*", "files/*", "models/*")
            for folder in root.glob(part)
            if folder.is_dir()
        ]
        return prune(folders, limit, spare)
    return 0


@contextmanager
def _room(root: Path) -> Iterator[None]:
    """A block that writes copies below `root`; a full disk is told as ``disk-full``."""
    try:
        yield
    except OSError as error:
        if isinstance(error, UnderstudyError) or not is_full(error):
            raise
        raise explained(root, error) from error


def _file_system(address: StoreAddress) -> tuple[Any, str]:
    """The file system, and the path in it."""
    if "://" not in address.url:
        return fsspec.filesystem("file"), Path(address.url).absolute().as_posix()
    try:
        # a listing that is remembered would not show what other machines have made meanwhile
        files, base = fsspec.core.url_to_fs(address.url, **{"use_listings_cache": False, **address.options})
    except (ImportError, ValueError) as error:
        scheme = address.url.partition("://")[0]
        if scheme in ("s3", "s3a") and isinstance(error, ImportError):
            raise package_missing("s3fs") from error
        raise UnderstudyError(
            "storage-unknown",
            f"The store {scheme}:// can't be used: {error}.",
            "Give an s3:// URL, or a folder that all machines of the cluster see.",
        ) from error
    return files, str(base).rstrip("/")


def _protocols(files: Any) -> tuple[str, ...]:
    return (files.protocol,) if isinstance(files.protocol, str) else tuple(files.protocol)


def _not_shared(why: str) -> UnderstudyError:
    return UnderstudyError(
        "store-not-shared",
        f"The machine {os.uname().nodename} {why}.",
        "Mount the shared folder on every machine under the same path, or use an s3:// store, with AWS_ACCESS_KEY_ID "
        "and the like set on every machine before 'ray start'.",
    )


def _unreachable(place: str, error: Exception) -> UnderstudyError:
    return UnderstudyError(
        "storage-unavailable",
        f"The store of the cluster, {place}, can't be reached ({type(error).__name__}: {error}).",
        "Check its address and whether this machine may use it; finished stages are not repeated.",
    )
