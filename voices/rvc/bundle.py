"""The source of an RVC import: a model file, a folder, or a zip as voices are shared; and which of its files to use."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from understudy.context import Context
from understudy.disk import reading
from understudy.errors import UnderstudyError
from understudy.models.unpacking import Archive, Limits, opened
from understudy.voices.names import printable

LIMITS = Limits(bytes=6 << 30, entries=2000)
_MODELS = (".pth", ".pt", ".safetensors")
_MOST_FILES = 5000
_FOLDERS_DOWN = 3
# files of training and of other networks, which are in some folders beside the voice
_BESIDE = re.compile(
    r"(f0)?[DG](_?\d+)?(k|_latest)?(_v2)?|rmvpe|hubert.*|contentvec.*|fcpe|pretrained.*", re.IGNORECASE
)
_DISCRIMINATOR = re.compile(r"(f0)?D(_?\d+)?(k|_latest)?(_v2)?", re.IGNORECASE)  # judges a training, never sings
PACKED_HINT = "Ask whoever packed it for another copy, or unpack it yourself, look at it, and import the folder."


@dataclass(frozen=True)
class Bundle:
    """`path`: as given by the user. `files`: the files on disk by their names in it, or else `archive`."""

    path: Path
    files: Mapping[str, Path]
    archive: Archive | None = None

    @property
    def names(self) -> list[str]:
        """Names of the files in it, without those that file managers create."""
        found = self.files if self.archive is None else self.archive.entries
        return [name for name in found if not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))]

    def shown(self, name: str) -> str:
        """The name of a file in it for messages."""
        return f"{self.path}:{name}" if self.archive else str(self.files[name])

    def fetch(self, name: str, target: Path, context: Context) -> None:
        """Copy the file `name` to `target`."""
        if self.archive:
            self.archive.copy(name, target, context)
        else:
            shutil.copyfile(self.files[name], target)

    def model(self, wanted: str | None) -> str:
        """The name of its only model, or of the model `wanted`. Raises `UnderstudyError`."""
        if self.path.name in self.files and self.path.is_file():
            return self.path.name  # a single file is taken as the model, whatever its name is
        models = [name for name in self.names if PurePosixPath(name).suffix.lower() in _MODELS]
        if wanted is not None:
            return _meant(wanted, models, "model", "--model")
        singing = [name for name in models if not _DISCRIMINATOR.fullmatch(PurePosixPath(name).stem)]
        voices = [name for name in singing if not _BESIDE.fullmatch(PurePosixPath(name).stem)] or singing
        if len(voices) > 1:
            raise UnderstudyError(
                "several-models",
                f"There are {len(voices)} models in {self.path}: {_listed(voices)}.",
                "Choose one with --model NAME. For several voices import once for each.",
            )
        if not voices:
            raise UnderstudyError(
                "no-model",
                f"There is no model in {self.path}"
                + (f", only {_listed(self.names)}." if self.names else ": it is empty."),
                "An RVC voice is a .pth (or .safetensors) file, usually with an added_….index.",
            )
        return voices[0]

    def index(self, model: str, wanted: str | None) -> str | None:
        """The name of the index that belongs to `model`, or of the index `wanted`; None where there is none."""
        indexes = [name for name in self.names if PurePosixPath(name).suffix.lower() == ".index"]
        if wanted is not None:
            return _meant(wanted, indexes, "index", "--index")
        # training leaves two files; the one named trained_ is empty
        filled = [name for name in indexes if not PurePosixPath(name).name.lower().startswith("trained_")] or indexes
        stem = PurePosixPath(model).stem.casefold()
        for choice in (
            filled,
            [name for name in filled if stem in PurePosixPath(name).stem.casefold()],
            [name for name in filled if PurePosixPath(name).parent == PurePosixPath(model).parent],
        ):
            if len(choice) == 1:
                return choice[0]
        if filled:
            raise UnderstudyError(
                "several-indexes",
                f"There are {len(filled)} indexes in {self.path}: {_listed(filled)}.",
                "Choose the one that belongs to the model with --index NAME.",
            )
        return None


@contextlib.contextmanager
def opened_bundle(path: Path) -> Iterator[Bundle]:
    """The model file, the folder or the zip at `path`. Raises `UnderstudyError` as
    `understudy.models.unpacking.opened` does."""
    if path.is_dir():
        yield Bundle(path, dict(_files(path)))
    elif _is_packed(path):
        with opened(path, LIMITS, PACKED_HINT) as archive:
            if any(name.count("/") == 1 and name.endswith("/data.pkl") for name in archive.entries):
                yield Bundle(path, {path.name: path})  # a .pth is a zip itself
            else:
                yield Bundle(path, {}, archive)
    else:
        yield Bundle(path, {path.name: path})


def _is_packed(path: Path) -> bool:
    if path.suffix.lower() in _MODELS:
        return False  # read as a model, whose limits are others
    with reading(path, "Check the path."), path.open("rb") as file:
        return file.read(4) == b"PK\3\4"


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    count, waiting = 0, [folder]
    while waiting:
        here = waiting.pop()
        with reading(here, "Check its permissions."):
            entries = sorted(here.iterdir())
        for entry in entries:
            count += 1
            if count > _MOST_FILES:
                raise UnderstudyError(
                    "folder-too-large",
                    f"There are more than {_MOST_FILES} files in {folder}.",
                    "Name the .pth itself, and its index with --index.",
                )
            if entry.is_file():
                yield entry.relative_to(folder).as_posix(), entry
            elif entry.is_dir() and not entry.is_symlink() and len(entry.relative_to(folder).parts) < _FOLDERS_DOWN:
                waiting.append(entry)


def _meant(wanted: str, names: list[str], what: str, option: str) -> str:
    """The one of `names` that equals `wanted`: with its folders, without them, or without its suffix."""
    for form in (lambda name: name, lambda name: PurePosixPath(name).name, lambda name: PurePosixPath(name).stem):
        found = [name for name in names if form(name) == wanted]
        if len(found) == 1:
            return found[0]
    raise UnderstudyError(
        f"no-such-{what}",
        f"There is no {what} named {wanted[:80]!r} in it" + (f", but {_listed(names)}." if names else "."),
        f"Give {option} one of these names." if names else f"Leave {option} out.",
    )


def _listed(names: Iterable[str]) -> str:
    shown = [printable(name[:80]) for name in names]
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")
