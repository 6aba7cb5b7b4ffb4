"""Reads untrusted zip archives: listed, sized and path-checked before a byte is unpacked.

`zipfile` itself refuses none of these: entries that lead out of the folder, links, names that are the same file on some
file systems, a few bytes that unpack to terabytes, a directory of millions of entries that is read into memory at once.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from understudy.context import Context
from understudy.disk import reading
from understudy.errors import UnderstudyError
from understudy.wording import counted

_BLOCK = 1 << 20
_LONGEST_NAME = 500  # characters
_NESTED = {".zip", ".rar", ".7z", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".lzma", ".cab", ".iso"}
_DRIVE = {":", "\\"}
_LOCAL = struct.Struct("<4s22x2H")  # APPNOTE.TXT 4.3.7: local file header, up to the lengths of name and extra field
_END = struct.Struct("<4s4H2LH")  # 4.3.16: end of central directory record
_END64 = struct.Struct("<4sQ2H2L4Q")  # 4.3.14
_LOCATOR64 = struct.Struct("<4sLQL")  # 4.3.15


@dataclass(frozen=True)
class Limits:
    """`bytes`: of the archive, and again of all entries unpacked. `ratio`: unpacked to packed bytes of an entry; 1
    allows no compression. `unpacked`: whether entries will be written to disk, so that their names and kinds matter."""

    bytes: int
    entries: int
    ratio: float = 100
    unpacked: bool = True


@dataclass(frozen=True)
class Archive:
    """A zip that passed all checks. `entries`: its files by name, without its folders. `hint`: for errors, what to do
    about a bad archive."""

    path: Path
    hint: str
    zip: zipfile.ZipFile
    entries: dict[str, zipfile.ZipInfo]

    def refused(self, why: str) -> UnderstudyError:
        return _refused(self.path, why, self.hint)

    def read(self, name: str, most: int) -> bytes:
        """The bytes of a small entry; raises ``archive-refused`` for more than `most` of them."""
        if self.entries[name].file_size > most:
            raise self.refused(f"{_shown(name)} in it is too large")
        with _reading(self.path, self.hint):
            return self.zip.read(name)

    def place(self, name: str) -> tuple[int, int]:
        """First byte and length, in the archive's file, of an uncompressed entry (`Limits.ratio` 1)."""
        info = self.entries[name]
        with self.path.open("rb") as file, _reading(self.path, self.hint):
            file.seek(info.header_offset)
            mark, names, extra = _LOCAL.unpack(file.read(_LOCAL.size))
        first = info.header_offset + _LOCAL.size + names + extra
        if mark != b"PK\3\4" or first + info.file_size > self.path.stat().st_size:
            raise self.refused("it is damaged: it points outside itself")
        return first, info.file_size

    def copy(self, name: str, target: Path, context: Context) -> str:
        """Unpack the entry `name` to the new file `target`, never more bytes than its announced size; its SHA-256 in
        hex.

        Raises `UnderstudyError`: ``archive-refused`` for damage, ``cancelled``.
        """
        digest, done, size = hashlib.sha256(), 0, self.entries[name].file_size
        with _reading(self.path, self.hint), self.zip.open(name) as source, target.open("xb") as file:
            while block := source.read(_BLOCK):
                digest.update(block)
                file.write(block)
                done += len(block)
                context.progress(done / max(size, done))
        if done != size:
            raise self.refused(f"it is damaged: {_shown(name)} in it is shorter than its directory says")
        return digest.hexdigest()


@contextlib.contextmanager
def opened(path: Path, limits: Limits, hint: str) -> Iterator[Archive]:
    """The zip at `path` while it is open.

    Raises `UnderstudyError`: ``file-not-found``; ``archive-refused``, with `hint`, for damage, encryption, paths that
    lead elsewhere, links, archives in the archive, names that are one on some file system, and whatever is beyond
    `limits`.
    """
    with reading(path, "Check the path."):
        file = path.open("rb")
    with file:
        _check_directory(file, path, limits, hint)
        with _reading(path, hint):
            archive = zipfile.ZipFile(file)
        yield Archive(path, hint, archive, _checked(archive, path, limits, hint))


def _checked(archive: zipfile.ZipFile, path: Path, limits: Limits, hint: str) -> dict[str, zipfile.ZipInfo]:
    infos = archive.infolist()
    if len(infos) > limits.entries:
        raise _refused(path, f"it has more than {limits.entries} entries", hint)
    first = min((info.header_offset for info in infos), default=0)
    if first < 0:  # positions count from the end, where the directory is
        raise _refused(path, f"it is damaged: {counted(-first, 'byte')} of it are missing", hint)
    if first > 0:  # a reader that starts at the beginning would see another archive
        raise _refused(path, "something stands before its first entry", hint)
    nested = next((info.filename for info in infos if Path(info.filename).suffix.lower() in _NESTED), None)
    if nested is not None and limits.unpacked:
        advice = f"Unpack it and give {_shown(nested)} instead; unpack that one as well, unless it is a zip."
        raise _refused(path, f"{_shown(nested)} in it is an archive itself", advice)
    entries: dict[str, zipfile.ZipInfo] = {}
    taken: set[str] = set()
    for info in infos:
        why = _fault(info, limits)
        if why:
            raise _refused(path, why, hint)
        if info.is_dir():
            continue
        # on Windows and macOS, names that differ in case or in composed letters are the same file
        one = unicodedata.normalize("NFKC", info.filename).casefold()
        if one in taken:
            raise _refused(path, f"it holds {_shown(info.filename)} twice", hint)
        taken.add(one)
        entries[info.filename] = info
    if sum(info.file_size for info in infos) > limits.bytes:
        raise _refused(path, f"it would unpack to more than {_size(limits.bytes)}", hint)
    # entries that share their bytes (a "zip bomb" without nesting) add up to more than the file has
    if sum(info.compress_size for info in infos) > path.stat().st_size:
        raise _refused(path, "its entries overlap", hint)
    return entries


def _fault(info: zipfile.ZipInfo, limits: Limits) -> str | None:
    shown, name = _shown(info.orig_filename), info.filename
    if name != info.orig_filename or len(name) > _LONGEST_NAME:
        return f"{shown} in it has no proper name"
    if limits.unpacked:
        parts = PurePosixPath(name.rstrip("/")).parts
        if not name.isprintable():
            return f"{shown} in it has no proper name"
        if not parts or name.startswith("/") or ".." in parts or _DRIVE & set(name) or "//" in name:
            return f"{shown} in it would lead out of the folder it is unpacked to"
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            return f"{shown} in it is a link or a device"
    if info.is_dir():
        return f"{shown} in it is a folder with bytes of its own" if info.file_size else None
    if info.flag_bits & 0x1:
        return "it is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"{shown} in it is packed in an unusual way"
    if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
        return f"{shown} in it has two sizes"
    if info.compress_type != zipfile.ZIP_STORED and limits.ratio <= 1:
        return f"{shown} in it is packed, which these files never are"
    if info.file_size > limits.ratio * max(info.compress_size, 1000):
        return f"{shown} in it would grow from {info.compress_size} to {info.file_size} bytes"
    return None


def _check_directory(file: BinaryIO, path: Path, limits: Limits, hint: str) -> None:
    """Check the size of the archive's directory before `zipfile` reads all of it into memory.

    The end record must be the last bytes (no comment), so that there is only one way to read the archive.
    """
    size = file.seek(0, 2)
    if size > limits.bytes:
        raise _refused(path, f"it is larger than {_size(limits.bytes)}", hint)
    try:
        file.seek(size - _END.size)
        mark, *_, entries, length, _, comment = _END.unpack(file.read(_END.size))
        if entries == 0xFFFF or length == 0xFFFFFFFF:
            file.seek(size - _END.size - _LOCATOR64.size)
            _, _, at, _ = _LOCATOR64.unpack(file.read(_LOCATOR64.size))
            file.seek(min(at, size))
            *_, entries, length, _ = _END64.unpack(file.read(_END64.size))
        file.seek(0)
        start = file.read(4)
    except (struct.error, OSError, ValueError) as error:
        raise _refused(path, "it is cut off or damaged", hint) from error
    if start != b"PK\3\4":
        raise _refused(path, "it is damaged: it doesn't begin as a zip", hint)
    if mark != b"PK\5\6" or comment:
        raise _refused(path, "it is cut off, or something follows its end", hint)
    if entries > limits.entries or length > limits.entries * 1024:
        raise _refused(path, f"it has more than {limits.entries} entries", hint)


@contextlib.contextmanager
def _reading(path: Path, hint: str) -> Iterator[None]:
    """Around code that only reads the archive: every exception of `zipfile` there means damage."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, ValueError, struct.error) as error:
        reason = "".join(letter if letter.isprintable() else "?" for letter in str(error)[:100])
        raise _refused(path, f"it is damaged ({reason})", hint) from error
    except OSError as error:
        if error.errno == errno.EINVAL:  # a position in the archive that no file has
            raise _refused(path, "it is damaged: it points outside itself", hint) from error
        raise


def _shown(name: str) -> str:
    return ascii(name[:80]) if not name.isprintable() else repr(name[:80])


def _size(bytes: int) -> str:
    return f"{bytes >> 30} GB" if bytes >= 1 << 30 else f"{bytes >> 20} MB"


def _refused(path: Path, why: str, hint: str) -> UnderstudyError:
    return UnderstudyError("archive-refused", f"{path} is refused: {why}.", hint)
