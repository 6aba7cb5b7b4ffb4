"""Values that stages hand to each other, written into an artifact's folder and read back.

A value is plain JSON data, or an `AudioFile`, a `PitchTrack`, an array, a `Path` to a file in the folder, one of
`DATACLASSES`, or lists and string-keyed dicts of these. Everything big is a file; the tree around it is JSON.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from understudy.audio.pitch import PitchTrack
from understudy.audio.stored import AudioFile
from understudy.voices.transpose import Transposition

DATACLASSES = {kind.__name__: kind for kind in (Transposition,)}


def to_tree(value: Any, folder: Path, name: str = "value") -> Any:
    """`value` as JSON data; files that it refers to must lie in `folder`, arrays are written there by `name`."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case AudioFile():
            return {"$": "audio", "file": _inside(value.path, folder), "rate": value.rate}
        case PitchTrack():
            np.save(folder / f"{name}.f0.npy", value.f0)
            return {"$": "pitch", "file": f"{name}.f0.npy", "hop": value.hop}
        case np.ndarray():
            np.save(folder / f"{name}.npy", value, allow_pickle=False)
            return {"$": "array", "file": f"{name}.npy"}
        case Path():
            return {"$": "file", "file": _inside(value, folder)}
        case dict():
            return {key: to_tree(item, folder, f"{name}.{key}") for key, item in value.items()}
        case list() | tuple():
            return [to_tree(item, folder, f"{name}.{position}") for position, item in enumerate(value)]
        case _ if type(value).__name__ in DATACLASSES:
            fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
            return {"$": type(value).__name__, "fields": to_tree(fields, folder, name)}
        case _:
            raise TypeError(f"a stage can't hand on a {type(value).__name__}")


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
        case {"$": str(kind), "fields": dict(fields)}:
            return DATACLASSES[kind](**from_tree(fields, folder))
        case dict():
            return {key: from_tree(item, folder) for key, item in tree.items()}
        case list():
            return tuple(from_tree(item, folder) for item in tree)
        case _:
            return tree


def _inside(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
