"""From the rows of a chart to covers to make. All checks happen here, before any work begins."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from threading import Event
from typing import Any, Protocol, TypeVar

from understudy.audio.files import LIMITS, FileInfo, probe
from understudy.audio.libav import check_readable
from understudy.errors import UnderstudyError
from understudy.pipeline.executor import StageEvent
from understudy.pipeline.naming import cover_name
from understudy.pipeline.nodes import file_external
from understudy.pipeline.publish import check_replaceable, check_writable
from understudy.pipeline.settings import CoverSettings, load_settings
from understudy.services.batch.chart import Chart, Row, Singers, setting_names
from understudy.services.batch.timing import Work
from understudy.wording import counted

_MOST_LISTED = 200  # problems that an error lists

T = TypeVar("T")


@dataclass(frozen=True)
class FoundVoice:
    """A voice (or several, as ``--voice`` takes them). `name`: for files; `version`: a hash or id that changes with its
    sound."""

    name: str
    version: str


class Maker(Protocol):
    """Makes the covers of a batch: `understudy.services.batch.run.LocalMaker`, or
    `understudy.services.batch.remote.Server`."""

    def find(self, singers: Singers) -> FoundVoice:
        """Look up the voice; raises `UnderstudyError` if it doesn't exist."""

    def check(self, item: Item) -> Sequence[Work]:
        """The stages that are to be run for `item`; raises `UnderstudyError` if its settings can't be made."""

    def make(self, item: Item, notify: Callable[[StageEvent], None], stop: Event) -> Mapping[str, Any]:
        """Make one cover; returns what `CoverResult.to_dict` gives. `stop` cancels it. Called from several threads."""


@dataclass(frozen=True)
class Item:
    """One cover of a batch. `row`: as it was requested. `content`: the song's SHA-256. `duration`: of the song in
    seconds, None where its file doesn't say. `title` and `artist`: of the song, from the chart or its
    tags. `output`: the file to
    write. `identity`: a hash of all that decides its sound and of its file's name. `works`: what is to be done."""

    number: int
    row: Row
    song: Path
    content: str
    duration: float | None
    title: str
    artist: str
    voice_name: str
    settings: CoverSettings
    output: Path
    identity: str
    works: tuple[Work, ...] = ()

    @property
    def label(self) -> str:
        return self.output.stem

    @property
    def length(self) -> float:
        """Seconds of sound that the cover will have, as far as the song's file says."""
        part = self.settings.song
        whole = max(0.0, (self.duration or 240.0) - part.start)
        return whole if part.duration is None else min(whole, part.duration)


@dataclass(frozen=True)
class Skipped:
    """A row that can't be made, and its `problems`."""

    number: int
    row: Row
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What a batch makes and what it can't make. `problems`: of the chart as a whole."""

    items: tuple[Item, ...]
    skipped: tuple[Skipped, ...]
    problems: tuple[str, ...]

    def without(self, rows: Sequence[Row]) -> Plan:
        """The rest of it, where `rows` are planned anew."""
        again = {(row.source, row.singers) for row in rows}
        items = tuple(item for item in self.items if (item.row.source, item.row.singers) not in again)
        skipped = tuple(one for one in self.skipped if (one.row.source, one.row.singers) not in again)
        return Plan(items, skipped, self.problems)

    def check(self, skip_invalid: bool) -> None:
        """Raise one `UnderstudyError` that lists all problems of all rows, ``chart-invalid`` for those of the chart as
        it is written, else ``batch-invalid``. With `skip_invalid` only if the chart as a whole is wrong or no cover is
        left."""
        if not self.problems and (not self.skipped or (skip_invalid and self.items)):
            return
        sources: dict[str, list[str]] = {}
        for one in self.skipped:
            for problem in one.problems:
                sources.setdefault(problem, []).append(one.row.source)
        listed = [
            *self.problems,
            # what isn't from a chart is called as its song, which the problem may name
            *(problem if where[0] in problem else f"{_shown(where)}: {problem}" for problem, where in sources.items()),
        ]
        more = len(listed) - _MOST_LISTED
        listed = [*listed[:_MOST_LISTED], *([f"and {more} more"] if more > 0 else [])]
        written = self.problems or any(one.row.problems for one in self.skipped)
        hint = "Correct that and run the same command again; nothing was made yet."
        if self.items and not self.problems:
            hint += " Or add --skip-invalid to make the others."
        rows = counted(len(self.items) + len(self.skipped), "cover")
        what = f"{len(self.skipped)} of {rows}" if self.skipped else "The covers"
        raise UnderstudyError(
            "chart-invalid" if written else "batch-invalid",
            f"{what} can't be made:" + "".join(f"\n- {problem}" for problem in listed),
            hint,
        )


def plan(
    chart: Chart,
    folder: Path,
    preset: str | None,
    options: Mapping[str, Any],
    overwrite: bool,
    maker: Maker,
    before: Sequence[Item] = (),
) -> Plan:
    """An item for every row that can be made, its cover to be written into `folder`, and the problems of the others: a
    song that is missing or can't be read, a voice that doesn't exist or is damaged, settings that are wrong or don't
    fit the voice, a file in the way. `before`: items of earlier plans, whose names are taken.

    Raises `UnderstudyError` ``model-missing`` or ``models-missing`` if a model has to be fetched first.
    """
    check_writable(folder)
    song, voice = cache(_tried(_song)), cache(_tried(maker.find))
    items: list[Item] = []
    skipped: list[Skipped] = []
    names: dict[str, dict[str, str]] = {}
    for item in before:
        names.setdefault(item.label.casefold(), {})[item.output.suffix] = _version(item.content, item.settings)
    first = 1 + max((item.number for item in before), default=0)
    for number, row in enumerate(chart.rows, start=first):
        found = song(row.song) if row.song else None
        singer = voice(row.singers) if row.singers.voice else None
        settings = _tried(load_settings)(row.preset or preset, {**options, **row.options})
        problems = [
            *row.problems,
            *(_sentence(one) for one in (found, singer, settings) if isinstance(one, UnderstudyError)),
        ]
        if not problems and found and singer:
            made = _tried(_item)(number, row, found, singer, settings, folder, names, overwrite, maker)
            if isinstance(made, Item):
                items.append(made)
                continue
            problems.append(_sentence(made))
        skipped.append(Skipped(number, row, tuple(dict.fromkeys(problems))))
    return Plan(tuple(items), tuple(skipped), (*chart.problems, *chart.empty))


def _item(
    number: int,
    row: Row,
    song: _Song,
    voice: FoundVoice,
    settings: CoverSettings,
    folder: Path,
    names: dict[str, dict[str, str]],
    overwrite: bool,
    maker: Maker,
) -> Item:
    singers = (row.singers.engine, row.singers.transposes)
    swept = [setting_names().get(name, name) for name in row.swept]
    name = cover_name(settings, song.path, voice.name, filter(None, singers), swept)
    output = folder / _free(name, song.content, settings, names)
    check_replaceable(output, overwrite)
    described: list[Any] = [song.content, voice.version, settings.model_dump(mode="json"), output.name]
    if row.singers.transposes:
        described.append(row.singers.transposes)
    item = Item(
        number=number,
        row=row,
        song=song.path,
        content=song.content,
        duration=song.info.duration,
        title=settings.tags.song_title or song.info.tags.title or song.path.stem,
        artist=settings.tags.song_artist or song.info.tags.artist,
        voice_name=voice.name,
        settings=settings,
        output=output,
        identity=hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:32],
    )
    return replace(item, works=tuple(maker.check(item)))


def _tried(function: Callable[..., T]) -> Callable[..., T | UnderstudyError]:
    """`function`, which returns its errors, other than those that say for all rows how to get missing models."""

    def call(*arguments: Any) -> T | UnderstudyError:
        try:
            return function(*arguments)
        except UnderstudyError as error:
            if error.code in ("model-missing", "models-missing"):
                raise
            return error

    return call


def _sentence(error: UnderstudyError) -> str:
    return error.message.rstrip(".")


@dataclass(frozen=True)
class _Song:
    path: Path
    content: str
    info: FileInfo


def _song(path: Path) -> _Song:
    check_readable(path, LIMITS.bytes)
    info = probe(path)
    return _Song(path, file_external(path).content_hash, info)


def _free(name: str, content: str, settings: CoverSettings, taken: dict[str, dict[str, str]]) -> str:
    """`name` with the format's extension, numbered where another item of the batch has it. `taken`: by name, what the
    item of each extension is. Another format of the same cover has the same name."""
    extension = settings.output.encoding.extension
    version = _version(content, settings)
    number, free = 1, name
    while others := taken.get(free.casefold()):
        if extension not in others and version in others.values():
            break
        number += 1
        free = f"{name} {number}"
    taken.setdefault(free.casefold(), {})[extension] = version
    return free + extension


def _version(content: str, settings: CoverSettings) -> str:
    return f"{content} {settings.model_dump_json(exclude={'output'})}"


def _shown(sources: Sequence[str]) -> str:
    shown = ", ".join(dict.fromkeys(sources[:3]))
    return shown + (f" and {len(sources) - 3} more" if len(sources) > 3 else "")
