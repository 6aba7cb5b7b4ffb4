"""The storage of songs, voices and results: a local folder, or through fsspec S3 and other remote stores.

Names are relative paths such as ``<owner>/jobs/<id>/cover.flac``. The content of a name never changes, so copies of
remote files can be kept on this machine.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

from understudy.disk import explained
from understudy.errors import UnderstudyError
from understudy.packages import package_missing

_BLOCK = 1 << 20


class Storage:
    """`url`: an fsspec URL, or empty for the folder `data`/storage. `data` also holds copies of remote files."""

    def __init__(self, url: str, options: Mapping[str, Any], data: Path) -> None:
        self._copies = data / "copies"
        self._local = data / "storage" if not url else Path(url.removeprefix("file://")) if "://" not in url else None
        if url.startswith("file://"):
            self._local = Path(url.removeprefix("file://"))
        if self._local is not None:
            self._local = self._local.resolve()
            self._local.mkdir(parents=True, exist_ok=True)
            return
        try:
            import fsspec  # type: ignore[import-untyped]

            self._files, root = fsspec.core.url_to_fs(url, **options)
        except (ImportError, ValueError) as error:
            scheme = url.partition("://")[0]
            if scheme in ("s3", "s3a") and isinstance(error, ImportError):
                raise package_missing("s3fs") from error
            raise UnderstudyError(
                "storage-unknown",
                f"The storage {scheme}:// can't be used: {error}.",
                "Give an s3:// URL, or leave the storage empty for a local folder.",
            ) from error
        self._root = str(root).rstrip("/")
        with _remote():
            self._files.makedirs(self._root, exist_ok=True)

    def put(self, file: Path, name: str, *, move: bool = False) -> int:
        """Store the local `file` under `name`, whole or not at all; returns its size in bytes. With `move` the local
        file is removed."""
        size = file.stat().st_size
        if self._local is None:
            with _remote():
                self._files.put_file(str(file), f"{self._root}/{_checked(name)}")
            if move:
                file.unlink()
            return size
        target = self._local / _checked(name)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name}.{uuid4().hex[:8]}")
            try:
                if move:
                    shutil.move(file, part)
                else:
                    shutil.copyfile(file, part)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise explained(Path(PurePosixPath(name).name), error) from error
        return size

    def path(self, name: str) -> Path | None:
        """The file's path on this machine, None if the storage is remote."""
        return None if self._local is None else self._local / _checked(name)

    def size(self, name: str) -> int | None:
        """The size in bytes of the file `name`, None if there is none."""
        if self._local is not None:
            with suppress(OSError):
                return (self._local / _checked(name)).stat().st_size
            return None
        with _remote():
            try:
                return int(self._files.info(f"{self._root}/{_checked(name)}")["size"])
            except FileNotFoundError:
                return None

    def read(self, name: str, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` to `stop`, in blocks. Raises ``storage-missing`` if there is no such file."""
        try:
            if self._local is not None:
                with (self._local / _checked(name)).open("rb") as file:
                    file.seek(start)
                    while start < stop and (block := file.read(min(_BLOCK, stop - start))):
                        start += len(block)
                        yield block
                return
            with _remote():
                while start < stop:
                    block = self._files.cat_file(
                        f"{self._root}/{_checked(name)}", start=start, end=min(stop, start + 4 * _BLOCK)
                    )
                    if not block:
                        return
                    start += len(block)
                    yield block
        except FileNotFoundError as error:
            raise _missing(name) from error

    def fetch(self, name: str) -> Path:
        """The path of the file `name` on this machine, fetched if need be. It must not be changed."""
        if self._local is not None:
            path = self._local / _checked(name)
            if not path.is_file():
                raise _missing(name)
            return path
        copy = self._copies / _checked(name)
        if not copy.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            part = copy.with_name(f".{copy.name}.{uuid4().hex[:8]}")
            try:
                with _remote():
                    self._files.get_file(f"{self._root}/{_checked(name)}", str(part))
                part.replace(copy)
            except FileNotFoundError as error:
                raise _missing(name) from error
            except OSError as error:
                raise explained(Path(PurePosixPath(name).name), error) from error
            finally:
                part.unlink(missing_ok=True)
        return copy

    def remove(self, prefix: str) -> None:
        """Delete the file or folder, if it exists."""
        if self._local is not None:
            path = self._local / _checked(prefix)
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            return
        with _remote(), suppress(FileNotFoundError):
            self._files.rm(f"{self._root}/{_checked(prefix)}", recursive=True)
        copies = self._copies / _checked(prefix)
        shutil.rmtree(copies, ignore_errors=True)
        if copies.is_file():
            copies.unlink(missing_ok=True)

    def listed(self) -> Iterator[tuple[str, float]]:
        """All names, with the Unix time at which each was stored."""
        if self._local is not None:
            for path in self._local.rglob("*"):
                with suppress(FileNotFoundError):
                    if path.is_file():
                        yield path.relative_to(self._local).as_posix(), path.stat().st_mtime
            return
        with _remote():
            for path, about in self._files.find(self._root, detail=True).items():
                modified = about.get("LastModified") or about.get("mtime") or time.time()
                stamp = modified.timestamp() if hasattr(modified, "timestamp") else float(modified)
                yield str(path).removeprefix(self._root).lstrip("/"), stamp

    def drop_copies(self, unused: float) -> None:
        """Delete this machine's copies of remote files that were fetched longer than `unused` seconds ago."""
        for path in self._copies.rglob("*"):
            with suppress(FileNotFoundError):
                if path.is_file() and path.stat().st_mtime < time.time() - unused:
                    path.unlink()


class _remote:
    """Around calls of a remote store: their errors become ``storage-unavailable``, after which a job is tried again."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, FileNotFoundError | UnderstudyError | ValueError):
            raise UnderstudyError(
                "storage-unavailable",
                f"The store of songs and results can't be reached ({type(error).__name__}).",
                "Try again in a minute; nothing that was accepted is lost.",
            ) from error


def _checked(name: str) -> str:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or not parts.parts:
        raise ValueError(f"not a name in the storage: {name!r}")
    return str(parts)


def _missing(name: str) -> UnderstudyError:
    return UnderstudyError(
        "storage-missing",
        f"The file {PurePosixPath(name).name} is gone from the server's storage.",
        "Upload the song again, or make the result again.",
    )
