"""Final files: copied beside their place, then renamed, and never over a file that isn't ours."""

from __future__ import annotations

import filecmp
import hashlib
import os
import secrets
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path

from understudy.audio.midi import MADE
from understudy.audio.tags import made_by_understudy
from understudy.disk import explained
from understudy.errors import UnderstudyError
from understudy.pipeline.provenance.manifest import SIDECAR_SUFFIX, unsigned_hash

MARKS = (b'name="generator" content="Understudy"', b'"format": "understudy-report"', b"seconds,hertz\n", MADE)
"""How the report's page, its figures, a written pitch and notes begin: what else Understudy writes than sound and
signed manifests."""


LONGEST_NAME = 255  # bytes of a file's name, on most file systems
_JOINERS = "\u200d\ufe0e\ufe0f"  # zero-width joiner, variation selectors: they belong to the character before


def shortened(name: str, most: int = LONGEST_NAME) -> str:
    """`name` in at most `most` bytes (at least 10): cut between two characters where it is longer. Then it ends with
    six digits that stand for all of it, so that two names don't become one."""
    if len(os.fsencode(name)) <= most:
        return name
    mark = " " + hashlib.sha256(os.fsencode(name)).hexdigest()[:6]
    cut = len(os.fsencode(name)[: most - len(mark)].decode("utf-8", "ignore"))
    while cut and (unicodedata.combining(name[cut]) or name[cut] in _JOINERS or name[cut - 1] in _JOINERS[:1]):
        cut -= 1
    return name[:cut].rstrip() + mark


def beside(cover: Path, tail: str) -> Path:
    """The place beside `cover` that is called as it is, with `tail` in place of its extension."""
    return cover.with_name(shortened(cover.stem, LONGEST_NAME - len(tail)) + tail)


def check_writable(folder: Path) -> None:
    """Make `folder` and see that files can be put there, before hours of work; raises `UnderstudyError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".understudy-"):
            pass
    except OSError as error:
        raise explained(folder, error) from error


def check_replaceable(path: Path, overwrite: bool) -> None:
    """Raise `UnderstudyError` if a file that Understudy didn't make stands at `path`, unless `overwrite`, or if its
    name is too long."""
    size = len(os.fsencode(path.name))
    if size > LONGEST_NAME:
        raise UnderstudyError(
            "output-not-writable",
            f"The name {path.name[:40]}... has {size} bytes; a file's name can have {LONGEST_NAME}.",
            "Choose a shorter name. Letters beyond ASCII take two to four bytes each.",
        )
    if path.is_dir():
        raise UnderstudyError("output-is-folder", f"{path} is a folder.", "Give the name of a file.")
    if not overwrite and not is_ours(path):
        raise UnderstudyError(
            "output-exists",
            f"{path} is there already, and Understudy did not make it.",
            "Choose another name, or add --overwrite to replace it.",
        )


def is_ours(path: Path) -> bool:
    """Whether nothing of the user's is lost with `path`: it is free, or Understudy made it (by its tag, `MARKS` or, of
    a signed manifest alone, by what it says)."""
    if not path.exists() or made_by_understudy(path):
        return True
    if path.suffix == SIDECAR_SUFFIX:
        return unsigned_hash(path) is not None
    try:
        with path.open("rb") as file:
            beginning = file.read(4096)
    except OSError:
        return False
    return any(mark in beginning for mark in MARKS)


def free_name(path: Path, content: Path, companions: Callable[[Path], Mapping[Path, Path]] = lambda path: {}) -> Path:
    """`path`, or the first of ``name 2``, ``name 3`` ... that is free or already holds just what `content` does.

    `companions` gives the files that will stand beside it, and what each will hold: none of them may be the user's, or
    belong to another version, such as a file of the same name in another format.
    """

    def taken(candidate: Path) -> bool:
        beside = companions(candidate)
        if not all(map(is_ours, beside)):
            return True
        if candidate.exists():
            return not _same(candidate, content)
        return any(place.exists() and not _same(place, made) for place, made in beside.items())

    number, candidate = 1, path
    while taken(candidate):
        number += 1
        candidate = path.with_name(f"{path.stem} {number}{path.suffix}")
    return candidate


def _same(path: Path, content: Path) -> bool:
    """Whether the file at `path` is that content, signed again or not."""
    if not path.is_file():
        return False
    if filecmp.cmp(path, content, shallow=False):
        return True
    made = unsigned_hash(content)
    return made is not None and made == unsigned_hash(path)


def publish(artifact: Path, path: Path) -> Path:
    """Copy `artifact` to `path` in one step: `path` holds the whole file or what it held before."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # not tempfile.mkstemp: its files are private, and a process's umask can only be read by setting it, which
        # other threads of the user's program would notice
        temporary = path.with_name(f".understudy-{secrets.token_hex(8)}{path.suffix}")
        try:
            shutil.copyfile(artifact, temporary)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise explained(path, error) from error
    return path
