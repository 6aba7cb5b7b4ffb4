"""Values that stages hand to each other, written into an artifact's folder and read back.

A value is plain data, an `AudioFile`, a `PitchTrack`, an array, a `Path` to a file in the folder, a dataclass
that was registered with `stored`, or tuples and string-keyed mappings of these. Arrays are files of their own; the tree
around them is JSON, in which a mapping with the key ``$`` says which kind of value it stands for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from understudy.audio.chorus import Chorus
from understudy.audio.loudness import LoudnessSummary
from understudy.audio.pitch import PitchTrack
from understudy.audio.song_analysis import SongAnalysis
from understudy.audio.stored import AudioFile
from understudy.voices.transpose import Transposition

Kind = TypeVar("Kind", bound=type)

_TAG = "$"
_KINDS: dict[str, type] = {}
_BUILT_IN = ("audio", "pitch", "array", "file", "mapping")


def stored(kind: Kind) -> Kind:
    """Let stages return values of this dataclass. Its name is what the store knows it by: a field that is
    renamed, added or removed makes older artifacts unreadable, so raise the versions of the stages that return it."""
    known = _KINDS.setdefault(kind.__name__, kind)
    if kind.__name__ in _BUILT_IN or (known.__module__, known.__qualname__) != (kind.__module__, kind.__qualname__):
        raise TypeError(f"the store knows another {kind.__name__} already: {known.__module__}.{known.__qualname__}")
    if not dataclasses.is_dataclass(kind):
        raise TypeError(f"{kind.__name__} is no dataclass")
    return kind


for below in (Chorus, LoudnessSummary, SongAnalysis, Transposition):  # of packages that know nothing of the store
    stored(below)


def to_tree(value: Any, folder: Path) -> Any:
    """`value` as JSON data; files that it refers to must lie in `folder`, and arrays are written there.

    Raises `TypeError` that names the place of what can't be stored.
    """
    return _tree(value, folder, "value", count())


def from_tree(tree: Any, folder: Path) -> Any:
    """The value that `to_tree` wrote; lists come back as tuples."""
    match tree:
        case {"$": "audio", "file": str(file), "rate": int(rate)}:
            return AudioFile.open(folder / file, rate)
        case {"$": "pitch", "file": str(file), "hop": float(hop)}:
            return PitchTrack(np.load(folder / file), hop)
        case {"$": "array", "file": str(file)}:
            return np.load(folder / file)
        case {"$": "file", "file": str(file)}:
            return folder / file
        case {"$": "mapping", "items": dict(items)}:
            return {key: from_tree(item, folder) for key, item in items.items()}
        case {"$": str(kind), "fields": dict(fields)}:
            return _KINDS[kind](**{name: from_tree(item, folder) for name, item in fields.items()})
        case dict():
            return {key: from_tree(item, folder) for key, item in tree.items()}
        case list():
            return tuple(from_tree(item, folder) for item in tree)
        case _:
            return tree


def _tree(value: Any, folder: Path, place: str, numbers: Iterator[int]) -> Any:
    """`place`: where the value stands in the whole, for errors. `numbers`: of the arrays' files."""
    kind = type(value)
    if _KINDS.get(kind.__name__) is kind:
        names = [field.name for field in dataclasses.fields(kind)]
        fields = {name: _tree(getattr(value, name), folder, f"{place}.{name}", numbers) for name in names}
        return {_TAG: kind.__name__, "fields": fields}
    match value:
        case None | bool() | int() | float() | str() if kind in (type(None), bool, int, float, str, np.float64):
            return value
        case AudioFile():
            return {_TAG: "audio", "file": _inside(value.path, folder, place), "rate": value.rate}
        case PitchTrack():
            return {_TAG: "pitch", "file": _saved(value.f0, folder, numbers), "hop": value.hop}
        case np.ndarray() if not value.dtype.hasobject:
            return {_TAG: "array", "file": _saved(value, folder, numbers)}
        case Path():
            return {_TAG: "file", "file": _inside(value, folder, place)}
        case Mapping() if all(isinstance(key, str) for key in value):
            items = {key: _tree(item, folder, f"{place}[{key!r}]", numbers) for key, item in value.items()}
            return {_TAG: "mapping", "items": items} if _TAG in items else items
        case list() | tuple() if kind in (list, tuple):
            return [_tree(item, folder, f"{place}[{number}]", numbers) for number, item in enumerate(value)]
    what = f"{kind.__module__}.{kind.__qualname__}"
    if dataclasses.is_dataclass(kind):
        what += ", which isn't registered with `stored`"
    raise TypeError(f"a stage can't return {place}: it is a {what}")


def _saved(array: np.ndarray, folder: Path, numbers: Iterator[int]) -> str:
    name = f"array{next(numbers)}.npy"
    np.save(folder / name, array, allow_pickle=False)
    return name


def _inside(path: Path, folder: Path, place: str) -> str:
    if not path.is_relative_to(folder):
        raise TypeError(f"a stage can't return {place}: {path} lies outside its folder {folder}")
    return path.relative_to(folder).as_posix()
