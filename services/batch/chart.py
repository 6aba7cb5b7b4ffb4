"""Reading the covers of a batch: a CSV, JSON lines, folders, globs or songs, times the requested voices."""

from __future__ import annotations

import csv
import difflib
import glob
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from understudy.audio.tags import made_by_understudy
from understudy.errors import UnderstudyError
from understudy.links import LinkedSong, is_link
from understudy.pipeline.settings import CoverSettings, is_setting, parse_value

SONGS = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".aac", ".aif", ".aiff", ".wma", ".mp4", ".mkv", ".webm")
"""Endings of what counts as a song in a folder; a file that is named is taken whatever it ends in."""

_CHARTS = (".csv", ".tsv", ".jsonl", ".ndjson")
_LARGEST = 50_000_000  # bytes; a hundred thousand rows
_ALIKE = 0.8  # from this ratio of `difflib` on, an unknown column is taken for a misspelt one
_DOTTED = re.compile(r"[a-z_]+(\.[a-z_]+)+")  # meant as the full name of a setting; "Nr." is not
_BETWEEN_VOICES = re.compile(r"[;|\n]")

_Entry = tuple[str, dict[str, Any], tuple[str, ...]]
"""A song that a source names: where, the cells by column, and what is wrong with it."""

Fetch = Callable[[str], Sequence[LinkedSong]]
"""Gets the songs behind a link."""

_OWN = ("song", "voice", "engine", "preset")
"""The columns that aren't settings."""


@dataclass(frozen=True)
class Singers:
    """Who sings a cover. `voice`: as in ``--voice``, empty where none is named. `engine`: None for what the voice sings
    with by default. `transposes`: semitones by voice as in ``--transpose A=-12,B=auto``, empty for none."""

    voice: str
    engine: str | None = None
    transposes: str = ""


@dataclass(frozen=True)
class Row:
    """One requested cover. `source`: where it was requested, e.g. ``chart.csv line 3``. `song`: None where none is
    named. `options`: settings by their dotted names, over those of the whole batch; `preset`: in place of the batch's.
    `swept`: the settings that only this rendering of song and voice has, as the
    sweep names them. `carried`: cells that mean nothing to the cover, by column. `problems`: why it can't be made."""

    source: str
    song: Path | None
    singers: Singers
    options: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None
    swept: Mapping[str, Any] = field(default_factory=dict)
    carried: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chart:
    """What the sources of a batch request. `problems`: of a source as a whole, such as a misspelt column: with one of
    them nothing can be made. `empty`: that there is no song in a source."""

    rows: tuple[Row, ...]
    problems: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()


def read_chart(
    sources: Sequence[str],
    voices: Sequence[str],
    engine: str | None = None,
    transposes: str = "",
    columns: Mapping[str, str] | None = None,
    sweeps: Mapping[str, Sequence[Any]] | None = None,
    fetch: Fetch | None = None,
) -> Chart:
    """All covers that `sources` request, in their order.

    A source is a CSV (any of ``, ; tab`` between the cells; columns ``song``, ``voice``, ``engine``, ``preset`` and any
    setting), JSON lines with the same names, a folder (every song in it, sorted), a glob, or a song. Songs in a chart
    are found from the chart's own folder. A row without a voice, and every other song, is made once with each of
    `voices`; `engine` and `transposes` (see `Singers`) hold for rows without their own. `columns`: what the charts call
    our columns. `sweeps`: values by setting (see `parse_sweeps`); each pair of song and voice is made with every
    combination of those that its row doesn't set.

    A link is the song or the songs of a playlist that `fetch` gets, which raises `UnderstudyError` where it can't.
    Files in folders and globs that Understudy made are no songs.
    """
    problems: list[str] = []
    empty: list[str] = []
    rows: list[Row] = []
    for source in sources:
        names = _Columns(columns or {})
        for where, cells, wrong in _followed(_entries(source, names, problems, empty), names, fetch):
            rows += _rows(where, cells, wrong, names, voices, Singers("", engine, transposes), sweeps or {})
        problems += names.problems
    if not rows and not problems and not empty:
        empty.append(f"there is no song in {', '.join(sources)}")
    return Chart(_without_duplicates(rows), tuple(problems), tuple(empty))


def parse_columns(text: str | None) -> dict[str, str]:
    """``song=Titel,artist=Interpret`` as a mapping from our columns to the chart's. Raises `UnderstudyError`."""
    pairs = [pair.partition("=") for pair in (text or "").split(",") if pair.strip()]
    found = {ours.strip(): theirs.strip() for ours, _, theirs in pairs}
    if not all(found) or not all(found.values()) or len(found) < len(pairs):
        raise UnderstudyError(
            "option-invalid",
            f"--columns {text!r} doesn't pair names with columns.",
            "Write it as --columns song=Titel,artist=Interpret: our name, and the column of the chart.",
        )
    return found


def parse_sweeps(texts: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """``index_rate=0.25,0.5`` as values by the name of the setting, as given. Raises `UnderstudyError`."""
    found: dict[str, tuple[Any, ...]] = {}
    for text in texts:
        name, _, values = text.partition("=")
        name = name.strip()
        listed = parse_value(name, f"[{values}]")
        if not name or not isinstance(listed, list) or not listed or name in found:
            raise UnderstudyError(
                "option-invalid",
                f"--sweep {text!r} doesn't give one setting several values.",
                "Write it as --sweep index_rate=0.25,0.5,0.75, once for each setting.",
            )
        if _setting(name) is None:
            raise UnderstudyError(
                "setting-unknown", f"--sweep {text!r}: {_unknown(name)}.", "See 'understudy presets' for all settings."
            )
        found[name] = tuple(listed)
    return found


class _Columns:
    """What the columns of one source mean. `problems` gets those that mean nothing and look misspelt."""

    def __init__(self, mapped: Mapping[str, str]) -> None:
        self.mapped = mapped
        self.problems: list[str] = []
        self._ours = {theirs: ours for ours, theirs in mapped.items()}
        self._meanings: dict[str, str | None] = {}

    def meaning(self, column: str) -> str | None:
        """Our name: ``song``, ``voice``, the dotted name of a setting; None for a column that is only carried."""
        if column not in self._meanings:
            self._meanings[column] = self._look_up(column)
        return self._meanings[column]

    def name(self, column: str) -> str:
        """What a carried column is called in the table."""
        return self._ours.get(column, column)

    def _look_up(self, column: str) -> str | None:
        if column in self._ours:  # a name of the user's own choice is carried under it
            return _setting(self._ours[column])
        if self._plain(column) in self.mapped:
            return None  # another column has this meaning
        found = _setting(column) or _setting(self._plain(column))
        if found is None and (_DOTTED.fullmatch(column) or _nearest(column)):
            self.problems.append(_unknown(column))
        return found

    @staticmethod
    def _plain(column: str) -> str:
        return re.sub(r"[\s-]+", "_", column.strip().lower())


def _setting(name: str) -> str | None:
    """The full name of a column that means something to a cover: ``vocal_gain`` is ``remix.vocal_gain``."""
    full = setting_names().get(name, name)
    return full if full in _OWN or is_setting(full) else None


def _nearest(column: str) -> str | None:
    short = setting_names()
    known = [*_OWN, *short, *short.values(), *CoverSettings.model_fields]
    return next(iter(difflib.get_close_matches(_Columns._plain(column), known, 1, _ALIKE)), None)


def _unknown(column: str) -> str:
    near = _nearest(column)
    return f"{column!r} is no setting" + (f" (did you mean {near!r}?)" if near else "")


def _entries(source: str, names: _Columns, problems: list[str], empty: list[str]) -> Iterator[_Entry]:
    """What one source names."""
    path = Path(source)
    if is_link(source):
        yield source, {"song": source}, ()
    elif path.is_dir():
        songs = [entry for entry in sorted(path.iterdir()) if _is_song(entry)]
        if not songs:
            empty.append(f"there is no song in the folder {source}")
        yield from ((song.name, {"song": song}, ()) for song in songs)
    elif path.suffix.lower() in _CHARTS:
        yield from _chart(path, names, problems)
    elif path.exists() or not glob.has_magic(source):
        yield source, {"song": path}, ()
    else:
        found = [Path(name) for name in sorted(glob.glob(source, recursive=True))]
        songs = [song for song in found if song.is_file() and not _is_cover(song)]
        if not songs:
            empty.append(f"no song is named like {source}")
        yield from ((str(song), {"song": song}, ()) for song in songs)


def _followed(entries: Iterable[_Entry], names: _Columns, fetch: Fetch | None) -> Iterator[_Entry]:
    """The entries; one whose song is a link becomes one for each song that is behind it, with its tags unless the
    entry has its own."""
    for where, cells, wrong in entries:
        column = next((name for name in cells if names.meaning(name) == "song"), "")
        if fetch is None or not is_link(cells.get(column)):
            yield where, cells, wrong
            continue
        try:
            songs = fetch(cells[column])
        except UnderstudyError as error:
            if error.code == "cancelled":
                raise
            yield where, {}, (error.message.rstrip("."),)
            continue
        given = {names.meaning(name) for name in cells}
        for song in songs:
            tags = {name: text for name, text in song.tags.items() if name not in given}
            yield where, {**cells, column: song.path, **tags}, wrong


def _is_song(path: Path) -> bool:
    """Whether a file that a folder holds is a song to cover: not hidden (as what macOS puts beside files on other
    disks), and none of our own covers."""
    named = path.suffix.lower() in SONGS and not path.name.startswith(".")
    return named and path.is_file() and not _is_cover(path)


def _is_cover(path: Path) -> bool:
    status = path.stat()
    return _has_our_mark(path, status.st_size, status.st_mtime_ns)


@lru_cache(100_000)
def _has_our_mark(path: Path, size: int, changed: int) -> bool:
    return made_by_understudy(path)  # opens the file: a watched folder is listed again and again


def _chart(path: Path, names: _Columns, problems: list[str]) -> Iterator[_Entry]:
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
    json_lines = path.suffix.lower() in (".jsonl", ".ndjson")
    lines = _json_lines(text) if json_lines else _csv(text, path, names, problems)
    for line, cells, wrong in lines:
        for column, value in cells.items():
            if names.meaning(column) == "song" and isinstance(value, str) and value.strip():
                cells[column] = value.strip() if is_link(value.strip()) else _located(path.parent, value.strip())
            elif names.meaning(column) == "tags.artwork" and value not in ("song", "none"):
                cells[column] = str(path.parent / str(value))
        yield f"{path.name} line {line}", cells, wrong


def _located(folder: Path, written: str) -> Path:
    """The song that a chart names: its path, written on whatever system, or its name without the ending."""
    texts = dict.fromkeys([written, written.replace("\\", "/")])
    paths = [folder / unicodedata.normalize(form, text) for text in texts for form in ("NFC", "NFD")]
    paths.insert(0, folder / written)
    if "\0" not in written:
        for path in paths:
            if path.is_file():
                return path
            ended = [
                entry for entry in path.parent.glob(f"{glob.escape(path.name)}.*") if entry.suffix.lower() in SONGS
            ]
            if len(ended) == 1:
                return ended[0]
    return paths[0]


def _csv(
    text: str, path: Path, names: _Columns, problems: list[str]
) -> Iterator[tuple[int, dict[str, Any], tuple[str, ...]]]:
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    columns = [(name or "").strip() for name in reader.fieldnames or []]
    shown = ", ".join(filter(None, columns)) or "empty"
    missing = [theirs for theirs in names.mapped.values() if theirs not in columns]
    problems += [f"{path.name} has no column {theirs!r} in its first line ({shown})" for theirs in missing]
    meanings = [names.meaning(name) for name in columns if name]
    if "song" not in meanings and not missing:
        problems.append(f"{path.name} has no column 'song' in its first line ({shown}); --columns song=NAME names it")
    twice = [name for name, count in Counter(columns).items() if count > 1 and name]
    problems += [f"{path.name} has the column {name!r} twice" for name in twice]
    if "song" not in meanings or twice:
        return
    reader.fieldnames = columns
    try:
        for cells in reader:
            wrong = ("it has more cells than there are columns",) if None in cells else ()
            given = {name: text.strip() for name, text in cells.items() if name and text and text.strip()}
            if given:
                yield reader.line_num, given, wrong
    except csv.Error as error:
        problems.append(f"{path.name} line {reader.line_num} isn't CSV ({error})")


def _json_lines(text: str) -> Iterator[tuple[int, dict[str, Any], tuple[str, ...]]]:
    for line, written in enumerate(text.splitlines(), start=1):
        if not written.strip():
            continue
        try:
            cells = json.loads(written)
        except ValueError as error:
            yield line, {}, (f"it isn't JSON ({error})",)
            continue
        if isinstance(cells, dict):
            yield line, cells, ()
        else:
            yield line, {}, ("it isn't an object",)


def _rows(
    source: str,
    cells: Mapping[str, Any],
    wrong: tuple[str, ...],
    names: _Columns,
    voices: Sequence[str],
    default: Singers,
    sweeps: Mapping[str, Sequence[Any]],
) -> Iterable[Row]:
    """The covers that one entry requests: with each of its voices, or else all `voices`, and each combination of the
    swept settings. `default`: how they sing where it doesn't say."""
    if wrong:
        return [Row(source, None, Singers(""), problems=wrong)]
    problems: list[str] = []
    own: dict[str, Any] = {}
    options: dict[str, Any] = {}
    carried: dict[str, str] = {}
    for column, value in cells.items():
        meaning = names.meaning(column)
        if meaning is None:
            carried[names.name(column)] = str(value)
            continue
        if meaning == "transpose" and isinstance(value, str) and "=" in value:
            meaning = "transposes"  # of single voices
        place = own if meaning in (*_OWN, "transposes") else options
        if meaning in place:
            problems.append(f"it gives {meaning} twice")
        try:
            place[meaning] = parse_value(meaning, value) if place is options and isinstance(value, str) else value
        except UnderstudyError as error:
            problems.append(error.message.rstrip("."))
    song = own.get("song")
    if not isinstance(song, Path) or "\0" in str(song):
        problems.append("it names no song")
        song = None
    if "voice" in own:
        voices = _voices(own["voice"], problems)
    elif not voices:
        problems.append("it names no voice, and there is no --voice for all")
    told = {name: str(own[name]) for name in ("engine", "transposes") if name in own}
    free = {name: values for name, values in sweeps.items() if _setting(name) not in options}
    made = []
    for voice in voices or [""]:
        singers = replace(default, voice=voice, **told)
        for values in product(*free.values()):
            swept = dict(zip(free, values, strict=True))
            varied = options | {_setting(name) or name: value for name, value in swept.items()}
            made.append(Row(source, song, singers, varied, own.get("preset"), swept, carried, tuple(problems)))
    return made


def _voices(cell: Any, problems: list[str]) -> list[str]:
    """The voices of a cell: names with ``;`` or ``|`` between them, or in JSON a list."""
    found = _BETWEEN_VOICES.split(cell) if isinstance(cell, str) else cell
    if not isinstance(found, list) or not all(isinstance(voice, str) for voice in found):
        problems.append("the voice must be a name or a list of names")
        return []
    named = list(dict.fromkeys(voice.strip() for voice in found if voice.strip()))
    if not named:
        problems.append("it names no voice")
    return named


def _without_duplicates(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows; one that requests the same cover as an earlier one has that as its problem."""
    seen: dict[str, Row] = {}
    checked = []
    for row in rows:
        if row.song is not None:
            same = json.dumps(
                [str(row.song.resolve()), vars(row.singers), row.options, row.preset], sort_keys=True, default=str
            )
            first = seen.setdefault(same, row)
            if first is not row:
                told = f"it is the same cover as {first.source} ({row.song.name}, {row.singers.voice or 'no voice'})"
                row = replace(row, problems=(*row.problems, told))
        checked.append(row)
    return tuple(checked)


def setting_names() -> dict[str, str]:
    """The short names under which a column may give a setting, to its dotted name: ``vocal_gain`` for
    ``remix.vocal_gain``, ``title`` and ``artist`` for those of the song. A short name that two groups have stands for
    neither."""
    found: list[tuple[str, str]] = []
    for group, info in CoverSettings.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += [(name, f"{group}.{name}") for name in kind.model_fields]
    count = Counter(short for short, _ in found)
    own = {"title": "tags.song_title", "artist": "tags.song_artist"}
    unique = {short: name for short, name in found if count[short] == 1 and short not in CoverSettings.model_fields}
    return {**unique, **own}
