"""From the rows of a chart to covers to make. All checks happen here, before any work begins."""

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
from understudy.services.batch.chart import Row, listed
from understudy.wording import counted

SEPARATING = 0.12
"""Wall seconds per second of song that the separation takes on 2 cores with the embedded separator
(`benchmarks/cover.py`), once for all voices of a song."""

SINGING = 0.12
"""And all that is done anew for each voice."""


@dataclass(frozen=True)
class FoundVoice:
    """A voice (or several, as ``--voice`` takes them). `name`: for files; `version`: a hash or id that changes with its
    sound."""

    name: str
    version: str


@dataclass(frozen=True)
class Item:
    """One cover of a batch. `source`: where it was requested, e.g. ``chart.csv line 3``. `voice`: as requested,
    `voice_name`: the voice's name. `output`: the file to write. `identity`: a hash of all that decides its sound and of
    its file's name. `content`: the song's SHA-256. `duration`: of the song in seconds, None where its file doesn't say.
    """

    number: int
    source: str
    song: Path
    content: str
    duration: float | None
    voice: str
    voice_name: str
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
    find: Callable[[str], FoundVoice],
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
    voices: dict[str, FoundVoice] = {}
    separated: set[str] = set()
    items: list[Item] = []
    names: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, start=1):
        try:
            if row.song not in songs:
                songs[row.song] = _song(row.song)
            if row.voice not in voices:
                voices[row.voice] = find(row.voice)
            settings = load_settings(preset, {**options, **row.options})
            separation = settings.separation.model_dump_json()
            if separate is not None and separation not in separated:
                separate(settings.separation)
                separated.add(separation)
            voice = voices[row.voice]
            output = folder / _free(f"{row.song.stem} ({voice.name})", songs[row.song][0], settings, names)
            check_replaceable(output, overwrite)
        except UnderstudyError as error:
            if error.code in ("model-missing", "models-missing"):
                raise  # says for all rows how to get them
            problems.setdefault(f"{error.message.rstrip('.')}", []).append(row.source)
            continue
        content, duration = songs[row.song]
        described = [content, voice.version, settings.model_dump(mode="json"), output.name]
        identity = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:32]
        items.append(
            Item(number, row.source, row.song, content, duration, row.voice, voice.name, settings, output, identity)
        )
    if problems:
        found = listed([f"{_shown(sources)}: {message}" for message, sources in problems.items()])
        raise UnderstudyError(
            "batch-invalid",
            f"{sum(map(len, problems.values()))} of {counted(len(rows), 'cover')} can't be made. {found}.",
            "Correct that and run the same command again; nothing was made yet.",
        )
    return items


def estimate(items: Sequence[Item]) -> float:
    """About how many wall seconds `items` will take, on 2 cores with the embedded separator."""
    lengths = [item.duration or 240.0 for item in items]
    separated = {item.song: length for item, length in zip(items, lengths, strict=True)}
    return SEPARATING * sum(separated.values()) + SINGING * sum(lengths)


def _song(path: Path) -> tuple[str, float | None]:
    check_readable(path, LIMITS.bytes)
    found = probe(path)
    return file_external(path).content_hash, found.duration


def _free(name: str, content: str, settings: CoverSettings, taken: dict[str, dict[str, str]]) -> str:
    """`name` with the format's extension, numbered where another item of the batch has it. `taken`: by name, what the
    item of each extension is. Another format of the same cover has the same name, because it has the same report."""
    extension = settings.output.encoding.extension
    version = f"{content} {settings.model_dump_json(exclude={'output'})}"
    number, free = 1, name
    while others := taken.get(free.casefold()):
        if extension not in others and version in others.values():
            break
        number += 1
        free = f"{name} {number}"
    taken.setdefault(free.casefold(), {})[extension] = version
    return free + extension


def _shown(sources: Sequence[str]) -> str:
    shown = ", ".join(dict.fromkeys(sources[:3]))
    return shown + (f" and {len(sources) - 3} more" if len(sources) > 3 else "")
