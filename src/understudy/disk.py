"""Writing files to the user's disk: clear errors, and no half-written files."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from understudy.errors import UnderstudyError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A block that writes the file at `path`. When it fails, the half-written file is removed.

    An `OSError` becomes `UnderstudyError` ``disk-full`` or ``output-not-writable``; other exceptions pass through.
    """
    if path.is_dir():
        raise UnderstudyError("output-not-writable", f"{path} is a folder.", "Name a file to write, not a folder.")
    try:
        yield
    except BaseException as error:
        if path.is_file() and not path.is_symlink():  # not a device such as /dev/full
            path.unlink(missing_ok=True)
        if isinstance(error, OSError) and not isinstance(error, UnderstudyError):
            raise explained(path, error) from error
        raise


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A block that writes a hidden file beside `path`, which takes the place of `path` at the end. Errors as of
    `writing`."""
    part = path.with_name(f".{path.name}.part")
    with writing(part):
        yield part
        part.replace(path)


@contextmanager
def reading(path: Path, hint: str = "Check the path; name a file.") -> Iterator[None]:
    """A block that reads `path`: an `OSError` becomes `UnderstudyError` ``file-not-found`` with `hint`."""
    try:
        yield
    except OSError as error:
        raise UnderstudyError("file-not-found", f"{path} cannot be read ({error.strerror or error}).", hint) from error


def is_full(error: OSError) -> bool:
    """Whether `error` says that the disk, the user's quota or the largest file size is reached."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def explained(path: Path, error: OSError) -> UnderstudyError:
    """`error`, met while writing `path`, as ``disk-full`` or ``output-not-writable``."""
    if is_full(error):
        return UnderstudyError(
            "disk-full",
            f"The disk is full: {path} could not be written ({error.strerror}).",
            "Free some space or choose another folder, then run the same command again.",
        )
    return UnderstudyError(
        "output-not-writable",
        f"{path} cannot be written ({error.strerror or error}).",
        "Choose a folder that exists and that you may write to.",
    )
