"""Reading the covers of a batch: a CSV, JSON lines, folders, globs or songs, times the requested voices."""

from __future__ import annotations

import csv
import glob
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from understudy.errors import UnderstudyError
from understudy.pipeline.settings import CoverSettings, parse_value

SONGS = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".aac", ".aif", ".aiff", ".wma", ".mp4", ".mkv", ".webm")
"""Endings of what counts as a song in a folder; a file that is named is taken whatever it ends in."""

_CHARTS = (".csv", ".tsv", ".jsonl", ".ndjson")
_LARGEST = 50_000_000  # bytes; a hundred thousand rows
_MOST_LISTED = 12  # problems that an error lists


@dataclass(frozen=True)
class Row:
    """One requested cover. `source`: where it was requested, e.g. ``chart.csv line 3``. `options`: settings by their
    dotted names, over those of the whole batch."""

    source: str
    song: Path
    voice: str
    options: Mapping[str, Any] = field(default_factory=dict)


def read_chart(sources: Sequence[str], voices: Sequence[str]) -> list[Row]:
    """All covers that `sources` request, in their order.

    A source is a CSV (any of ``, ; tab`` between the cells; columns ``song``, ``voice`` and any setting), JSON lines
    with the same names, a folder (every song in it, sorted), a glob, or a song. Songs in a chart are found from the
    chart's own folder. A row without a voice, and every other song, is made once with each of `voices`.

    Raises `UnderstudyError` ``chart-invalid`` that lists what is wrong, each with its line, before anything is made.
    """
    problems: list[str] = []
    rows: list[Row] = []
    for source in sources:
        for entry, cells in _entries(source, problems):
            rows += _rows(entry, cells, voices, problems)
    problems += _duplicates(rows)
    if not rows and not problems:
        problems.append("there is no song in it")
    if problems:
        raise UnderstudyError(
            "chart-invalid",
            f"{', '.join(sources)} can't be made into covers: {listed(problems)}.",
            "Correct that and run the same command again; nothing was made yet.",
        )
    return rows


def listed(problems: Sequence[str]) -> str:
    """The first of the problems, and how many more there are."""
    more = len(problems) - _MOST_LISTED
    return "; ".join([*problems[:_MOST_LISTED], *([f"and {more} more"] if more > 0 else [])])


def _entries(source: str, problems: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where it stands, its cells) of each song that one source names."""
    path = Path(source)
    if path.is_dir():
        songs = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in SONGS and entry.is_file())
        if not songs:
            problems.append(f"there is no song in the folder {source}")
        yield from ((song.name, {"song": song}) for song in songs)
    elif path.suffix.lower() in _CHARTS:
        yield from _chart(path, problems)
    elif path.exists() or not glob.has_magic(source):
        yield source, {"song": path}
    else:
        songs = [Path(found) for found in sorted(glob.glob(source, recursive=True)) if Path(found).is_file()]
        if not songs:
            problems.append(f"nothing is named like {source}")
        yield from ((str(song), {"song": song}) for song in songs)


def _chart(path: Path, problems: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else "it isn't UTF-8 text"
        problems.append(f"{path} can't be read: {reason}")
        return
    if len(data) > _LARGEST:
        problems.append(f"{path} is larger than {_LARGEST // 1_000_000} MB, which no chart is")
        return
    lines = (
        _json_lines(text, path, problems)
        if path.suffix.lower() in (".jsonl", ".ndjson")
        else _csv(text, path, problems)
    )
    for line, cells in lines:
        song = cells.get("song")
        if isinstance(song, str) and song.strip():
            cells["song"] = path.parent / song.strip()
        yield f"{path.name} line {line}", cells


def _csv(text: str, path: Path, problems: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    names = [(name or "").strip() for name in reader.fieldnames or []]
    if "song" not in names:
        problems.append(
            f"{path.name} has no column 'song' in its first line ({', '.join(filter(None, names)) or 'empty'})"
        )
        return
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        problems.append(f"{path.name} has the column {twice[0]!r} twice")
        return
    reader.fieldnames = names
    try:
        for cells in reader:
            if None in cells:
                problems.append(f"{path.name} line {reader.line_num} has more cells than there are columns")
                continue
            given = {name: text.strip() for name, text in cells.items() if name and text and text.strip()}
            if given:
                yield reader.line_num, given
    except csv.Error as error:
        problems.append(f"{path.name} line {reader.line_num} isn't CSV ({error})")


def _json_lines(text: str, path: Path, problems: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, written in enumerate(text.splitlines(), start=1):
        if not written.strip():
            continue
        try:
            cells = json.loads(written)
        except ValueError as error:
            problems.append(f"{path.name} line {line} isn't JSON ({error})")
            continue
        if not isinstance(cells, dict):
            problems.append(f"{path.name} line {line} isn't an object")
            continue
        yield line, cells


def _rows(source: str, cells: Mapping[str, Any], voices: Sequence[str], problems: list[str]) -> Iterable[Row]:
    song, own = cells.get("song"), cells.get("voice")
    if not isinstance(song, Path) or "\0" in str(song):
        problems.append(f"{source} names no song")
        return []
    named: dict[str, Any] = {}
    for name, value in cells.items():
        if name in ("song", "voice"):
            continue
        dotted = setting_names().get(name, name)
        if dotted in named:
            problems.append(f"{source} gives {dotted} twice")
        try:
            named[dotted] = parse_value(name, value) if isinstance(value, str) else value
        except UnderstudyError as error:
            problems.append(f"{source}: {error.message.rstrip('.')}")
    chosen = voices if own is None else [own] if isinstance(own, str) else own
    if not isinstance(chosen, Sequence) or not all(isinstance(voice, str) and voice for voice in chosen):
        problems.append(f"{source}: the voice must be a name or a list of names")
        return []
    if not chosen:
        problems.append(f"{source} names no voice, and there is no --voice for all")
    return [Row(source, song, voice, named) for voice in chosen]


def _duplicates(rows: Sequence[Row]) -> Iterator[str]:
    seen: dict[str, Row] = {}
    for row in rows:
        same = json.dumps([str(row.song.resolve()), row.voice, row.options], sort_keys=True, default=str)
        if same in seen:
            yield f"{row.source} is the same cover as {seen[same].source} ({row.song.name}, {row.voice})"
        else:
            seen[same] = row


def setting_names() -> dict[str, str]:
    """The short names under which a column may give a setting, to its dotted name: ``vocal_gain`` for
    ``remix.vocal_gain``. A short name that two groups have stands for neither."""
    found: list[tuple[str, str]] = []
    for group, info in CoverSettings.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += [(name, f"{group}.{name}") for name in kind.model_fields]
    count = Counter(short for short, _ in found)
    return {short: dotted for short, dotted in found if count[short] == 1 and short not in CoverSettings.model_fields}
