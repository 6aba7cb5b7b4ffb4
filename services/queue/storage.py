"""The storage of songs, voices and results: a local folder, or through fsspec S3 and other remote stores.

Names are relative paths such as ``<owner>/jobs/<id>/cover.flac``. The content of a name never changes, so copies of
remote files can be kept on this machine.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

import fsspec  # type: ignore[import-untyped]

from understudy.disk import explained
from understudy.errors import UnderstudyError
from understudy.packages import package_missing


class Storage:
    """`url`: an fsspec URL, or empty for the folder `data`/storage. `data` also holds copies of remote files."""

    def __init__(self, url: str, options: Mapping[str, Any], data: Path) -> None:
        self._copies = data / "copies"
        self._block = 4 << 20  # bytes of a remote file that are read at a time
        path = url.removeprefix("file://")
        self._local = None if "://" in path else (Path(path) if path else data / "storage").resolve()
        if self._local is not None:
            self._local.mkdir(parents=True, exist_ok=True)
            self._files, self._root, self._block = fsspec.filesystem("file"), self._local.as_posix(), 1 << 20
            return
        if url.startswith(("s3://", "s3a://")):  # else, at other addresses than Amazon's, signatures leave out the size
            config = {"signature_version": "s3v4", **options.get("config_kwargs", {})}
            options = {**options, "config_kwargs": config}
        try:
            # a listing that is remembered would not show what others have stored meanwhile
            self._files, root = fsspec.core.url_to_fs(url, **{"use_listings_cache": False, **options})
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
        with _reachable():
            self._files.makedirs(self._root, exist_ok=True)

    def put(self, file: Path, name: str, *, move: bool = False) -> int:
        """Store the local `file` under `name`, whole or not at all; returns its size in bytes. With `move` the local
        file is removed."""
        size = file.stat().st_size
        if self._local is None:
            with _reachable():
                self._files.put_file(str(file), self._at(name))
            if move:
                file.unlink()
            return size
        target = self._local / _checked(name)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name}.{uuid4().hex[:8]}")
            try:
                (shutil.move if move else shutil.copyfile)(file, part)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise explained(Path(PurePosixPath(name).name), error) from error
        return size

    def size(self, name: str) -> int | None:
        """The size in bytes of the file `name`, None if there is none."""
        with _reachable():
            try:
                return int(self._files.info(self._at(name))["size"])
            except FileNotFoundError:
                return None

    def read(self, name: str, start: int, stop: int) -> Generator[bytes]:
        """The bytes from `start` to `stop`, in blocks. Raises ``storage-missing`` if there is no such file."""
        try:
            # without a cache a read fetches no more of a remote file than its block
            with _reachable(), self._files.open(self._at(name), "rb", cache_type="none") as file:
                file.seek(start)
                while start < stop and (block := file.read(min(self._block, stop - start))):
                    start += len(block)
                    yield block
        except FileNotFoundError as error:
            raise _missing(name) from error

    def signed(self, name: str, seconds: int, type: str, disposition: str) -> str | None:
        """An address at which everybody who has it gets the file `name` from an S3 store, for so many `seconds`, with
        that media type and ``Content-Disposition``. None where the storage is no S3 store."""
        about = {"ResponseContentType": type, "ResponseContentDisposition": disposition}
        return self._signed(name, seconds, "get_object", about)

    def signed_for_put(self, name: str, seconds: int, size: int) -> str | None:
        """An address to which everybody who has it can PUT `size` bytes, which become the file `name`, for so many
        `seconds`. None where the storage is no S3 store."""
        return self._signed(name, seconds, "put_object", {"ContentLength": size})

    def _signed(self, name: str, seconds: int, method: str, about: Mapping[str, Any]) -> str | None:
        if "s3" not in self._files.protocol:
            return None
        with _reachable():
            return str(self._files.url(self._at(name), expires=seconds, client_method=method, **about))

    def fetch(self, name: str) -> Path:
        """The path of the file `name` on this machine, fetched if need be. It must not be changed."""
        copy = (self._local or self._copies) / _checked(name)
        if not copy.is_file():
            if self._local is not None:
                raise _missing(name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            part = copy.with_name(f".{copy.name}.{uuid4().hex[:8]}")
            try:
                with _reachable():
                    self._files.get_file(self._at(name), str(part))
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
        if self._local is None:
            with _reachable(), suppress(FileNotFoundError):
                self._files.rm(self._at(prefix), recursive=True)
        path = (self._local or self._copies) / _checked(prefix)
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    def listed(self) -> Iterator[tuple[str, float]]:
        """All names, with the Unix time at which each was stored."""
        with _reachable():
            for path, about in self._files.find(self._root, detail=True).items():
                modified = about.get("LastModified") or about.get("mtime") or time.time()
                stamp = modified.timestamp() if hasattr(modified, "timestamp") else float(modified)
                yield str(path).removeprefix(self._root).lstrip("/"), stamp

    def _at(self, name: str) -> str:
        return f"{self._root}/{_checked(name)}"

    def drop_copies(self, unused: float) -> None:
        """Delete this machine's copies of remote files that were fetched longer than `unused` seconds ago."""
        for path in self._copies.rglob("*"):
            with suppress(FileNotFoundError):
                if path.is_file() and path.stat().st_mtime < time.time() - unused:
                    path.unlink()


@contextmanager
def _reachable() -> Iterator[None]:
    """Errors of the store become ``storage-unavailable``, after which a job is tried again."""
    try:
        yield
    except (FileNotFoundError, UnderstudyError, ValueError):
        raise
    except Exception as error:
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
