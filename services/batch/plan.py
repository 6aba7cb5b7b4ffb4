"""From the rows of a chart to jobs: everything that can be wrong is found here, before the first second of work."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.audio.files import LIMITS, probe
from understudy.audio.libav import check_readable
from understudy.errors import UnderstudyError
from understudy.pipeline.nodes import file_external
from understudy.pipeline.publish import check_replaceable, check_writable
from understudy.pipeline.separation.settings import SeparationSettings
from understudy.pipeline.settings import CoverSettings, load_settings
from understudy.services.batch.chart import Row

SEPARATING = 0.12
"""Wall seconds per second of song that the separation takes on 2 cores with the embedded separator
(`benchmarks/cover.py`), once for all voices of a song."""

SINGING = 0.12
"""And all that is done anew for each voice."""

_MOST_TOLD = 12


Singer = tuple[str, str]
"""A voice (or several, as ``--voice`` takes them): the name for files, and a hash or id of how it sounds."""


@dataclass(frozen=True)
class Item:
    """One cover of a batch. `who`: the voice as it was asked for, `singer`: what it is called. `output`: the file that
    is to be written. `identity`: a hash of all that decides how it sounds, and of its place. `duration`: of the song
    in seconds, None where its file doesn't say. `content`: the song's SHA-256."""

    number: int
    place: str
    song: Path
    content: str
    duration: float | None
    who: str
    singer: str
    settings: CoverSettings
    output: Path
    identity: str

    @property
    def title(self) -> str:
        return self.output.stem


def plan(
    rows: Sequence[Row],
    folder: Path,
    preset: str | None,
    options: Mapping[str, Any],
    overwrite: bool,
    find: Callable[[str], Singer],
    separate: Callable[[SeparationSettings], object] | None = None,
) -> list[Item]:
    """An item for every row, its cover to be written into `folder`. `find` looks a voice up and raises
    `UnderstudyError` for one that isn't there, and so does `separate` for a separation whose models aren't.

    Raises `UnderstudyError` ``batch-invalid`` that lists all rows that can't be made: a song that is missing or can't
    be read, a voice that doesn't exist or is damaged, a setting that is wrong, a file in the way.
    """
    check_writable(folder)
    problems: dict[str, list[str]] = {}
    songs: dict[Path, tuple[str, float | None]] = {}
    singers: dict[str, Singer] = {}
    separated: set[str] = set()
    items: list[Item] = []
    names: set[str] = set()
    for number, row in enumerate(rows, start=1):
        try:
            if row.song not in songs:
                songs[row.song] = _song(row.song)
            if row.voice not in singers:
                singers[row.voice] = find(row.voice)
            settings = load_settings(preset, {**options, **row.options})
            separation = settings.separation.model_dump_json()
            if separate is not None and separation not in separated:
                separate(settings.separation)
                separated.add(separation)
            name, sound = singers[row.voice]
            output = folder / _free(f"{row.song.stem} ({name})", settings, names)
            check_replaceable(output, overwrite)
        except UnderstudyError as error:
            if error.code in ("model-missing", "models-missing"):
                raise  # says for all rows how to get them
            problems.setdefault(f"{error.message.rstrip('.')}", []).append(row.place)
            continue
        content, duration = songs[row.song]
        described = [content, sound, settings.model_dump(mode="json"), output.name]
        identity = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:32]
        items.append(Item(number, row.place, row.song, content, duration, row.voice, name, settings, output, identity))
    if problems:
        told = [f"{_places(places)}: {message}" for message, places in list(problems.items())[:_MOST_TOLD]]
        more = f"; and {len(problems) - _MOST_TOLD} more" if len(problems) > _MOST_TOLD else ""
        raise UnderstudyError(
            "batch-invalid",
            f"{sum(map(len, problems.values()))} of {len(rows)} covers can't be made. {'; '.join(told)}{more}.",
            "Correct that and run the same command again; nothing was made yet.",
        )
    return items


def estimate(items: Sequence[Item]) -> float:
    """Wall seconds that `items` will take, about, on 2 cores with the embedded separator."""
    lengths = [item.duration or 240.0 for item in items]
    separated = {item.song: length for item, length in zip(items, lengths, strict=True)}
    return SEPARATING * sum(separated.values()) + SINGING * sum(lengths)


def _song(path: Path) -> tuple[str, float | None]:
    check_readable(path, LIMITS.bytes)
    found = probe(path)
    return file_external(path).content_hash, found.duration


def _free(name: str, settings: CoverSettings, taken: set[str]) -> str:
    """`name` with the format's extension, numbered where another item of the batch has it."""
    extension = settings.output.encoding.extension
    number, free = 1, f"{name}{extension}"
    while free.casefold() in taken:
        number += 1
        free = f"{name} {number}{extension}"
    taken.add(free.casefold())
    return free


def _places(places: Sequence[str]) -> str:
    shown = ", ".join(dict.fromkeys(places[:3]))
    return shown + (f" and {len(places) - 3} more" if len(places) > 3 else "")
