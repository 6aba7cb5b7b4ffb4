"""Songs with known stems in a folder: the layout of MUSDB18-HQ (a folder per song with a file per stem), and that of
MUSDB18 (``.stem.mp4`` files with a sound track per stem). Z. Rafii et al., "The MUSDB18 corpus for music separation"
(2017).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from understudy.errors import UnderstudyError
from understudy.pipeline.separation.stems import INSTRUMENTS

TRACKS = ("mixture", "drums", "bass", "other", "vocals")
"""What the sound tracks of a ``.stem.mp4`` hold, in order."""

_NAMES = {
    "mixture": "mixture", "mix": "mixture", "vocals": "vocals",
    "instrumental": "instrumental", "accompaniment": "instrumental", "no_vocals": "instrumental",
    **{name: name for name in INSTRUMENTS},
}  # fmt: skip
_SOUND = (".wav", ".flac", ".mp3", ".m4a", ".mp4", ".ogg", ".opus", ".aiff", ".aif")
_SUBSETS = ("train", "test", "valid", "validation")


@dataclass(frozen=True)
class Part:
    """A sound: a file, or its sound track `track`, from 0."""

    path: Path
    track: int | None = None

    @property
    def name(self) -> str:
        return self.path.name if self.track is None else f"{self.path.name}, track {self.track + 1}"


@dataclass(frozen=True)
class Song:
    """`name`: its place below the folder. `subset`: ``train``, ``test``, or empty. `truth`: by stem, ``vocals``,
    ``instrumental`` and those of `INSTRUMENTS`, as far as they are there."""

    name: str
    subset: str
    mixture: Part
    truth: Mapping[str, Part]


@dataclass(frozen=True)
class Dataset:
    """`passed_over`: a sentence for each place that looks like a song but is none."""

    folder: Path
    songs: tuple[Song, ...]
    passed_over: tuple[str, ...]


def find_songs(folder: Path) -> Dataset:
    """The songs at any depth below `folder`, by name; reads names only.

    Raises `UnderstudyError`: ``folder-not-found``, and ``dataset-empty`` where there is no song.
    """
    if not folder.is_dir():
        raise UnderstudyError(
            "folder-not-found",
            f"There is no folder {folder}.",
            "Give the folder that holds the songs with their stems.",
        )
    songs, passed_over = [], []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(place)
        paths = [here / name for name in sorted(files) if not name.startswith(".")]
        songs += [_stem_file(folder, path) for path in paths if path.name.lower().endswith(".stem.mp4")]
        stems, doubles = _stems_in(path for path in paths if not path.name.lower().endswith(".stem.mp4"))
        label = _label(folder, here)
        passed_over += [f"{label}: {double} was passed over, there is another file of that stem." for double in doubles]
        mixture = stems.pop("mixture", None)
        if mixture and stems:
            songs.append(Song(label, _subset(folder, here), mixture, stems))
        elif mixture:
            passed_over.append(f"{label} was passed over: it has a mixture but no stems.")
        elif "vocals" in stems and len(stems) > 1:
            passed_over.append(f"{label} was passed over: it has stems but no mixture.")
    if not songs:
        example = f" {passed_over[0]}" if passed_over else ""
        raise UnderstudyError(
            "dataset-empty",
            f"{folder} holds no songs with known stems.{example}",
            "A song is a folder with the files mixture, vocals and either instrumental or drums, bass and other "
            "(.wav, .flac, ...), or a file NAME.stem.mp4.",
        )
    return Dataset(folder, tuple(sorted(songs, key=lambda song: song.name)), tuple(passed_over))


def _stems_in(paths: Iterable[Path]) -> tuple[dict[str, Part], list[str]]:
    """The stems by name, and the names of files of stems that were there already."""
    stems: dict[str, Part] = {}
    doubles = []
    for path in paths:
        name = _NAMES.get(path.stem.lower())
        if name is None or path.suffix.lower() not in _SOUND:
            continue
        if name in stems:
            doubles.append(path.name)
        else:
            stems[name] = Part(path)
    return stems, doubles


def _stem_file(folder: Path, path: Path) -> Song:
    parts = {name: Part(path, number) for number, name in enumerate(TRACKS)}
    mixture = parts.pop("mixture")
    name = _label(folder, path.with_name(path.name[: -len(".stem.mp4")]))
    return Song(name, _subset(folder, path.parent), mixture, parts)


def _label(folder: Path, place: Path) -> str:
    inside = place.relative_to(folder).as_posix()
    return place.resolve().name if inside == "." else inside


def _subset(folder: Path, place: Path) -> str:
    return next((part for part in place.relative_to(folder).parts if part.lower() in _SUBSETS), "").lower()
