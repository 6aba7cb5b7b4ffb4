"""The batch as a table: ``batch.csv`` for spreadsheets, ``batch.html`` with a player for each cover, and as a track
list for players, ``batch.m3u8``."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

from understudy.disk import replacing
from understudy.pipeline.report.grade import rank
from understudy.pipeline.report.words import HEADLINES
from understudy.services.batch.plan import Item, Plan, Skipped
from understudy.services.batch.run import Outcome
from understudy.wording import clock

_HERE = Path(__file__).parent
_KINDS = {
    "good": HEADLINES["good"].lower(),
    "mind": HEADLINES["mind"].lower(),
    "wrong": HEADLINES["wrong"].lower(),
    "failed": "failed",
    "skipped": "skipped",
    "waiting": "waiting",
}
"""What the page calls a verdict, or the state of what has none; the best first."""
_COLUMNS = tuple(field.name for field in fields(Outcome) if field.name != "identity")


@dataclass(frozen=True)
class Line:
    """One row of the table. `state`: ``done``, ``failed``, ``waiting`` or ``skipped``. `song`: its absolute path, None
    where none is named. `rank`: among the covers of one song and voice, 1 the best; None where there is only one."""

    number: int
    state: str
    song: Path | None
    title: str
    artist: str
    voice: str
    outcome: Outcome | None
    reason: str
    rank: int | None
    swept: str
    carried: Mapping[str, str]

    @property
    def words(self) -> str:
        """What the page finds it by."""
        texts = (self.title, self.artist, self.voice, self.swept, self.reason, str(self.song or ""))
        return " ".join([*texts, *self.carried.values()]).lower()


def write_table(folder: Path, plan: Plan, outcomes: Mapping[str, Outcome]) -> dict[str, Path]:
    """Write the files into `folder`, each atomically; returns their paths. Items without an outcome are "waiting"."""
    lines = table_lines(plan, outcomes)
    texts = {"csv": _csv(lines), "html": _html(folder, lines), "m3u8": _track_list(folder, lines)}
    files = {name: folder / f"batch.{name}" for name in texts}
    for name, path in files.items():
        with replacing(path) as part:
            part.write_text(texts[name], "utf-8", "replace", newline="")
    return files


def tracks(lines: Sequence[Line]) -> list[Line]:
    """The covers of a track list: those that were made, and of several of one song and voice the best."""
    return [line for line in lines if line.state == "done" and line.rank in (None, 1)]


def total_time(lines: Sequence[Line]) -> float:
    """Seconds that `lines` play."""
    return sum(line.outcome.duration or 0.0 for line in lines if line.outcome is not None)


def table_lines(plan: Plan, outcomes: Mapping[str, Outcome]) -> list[Line]:
    """All rows of the plan, in the order of the chart; renderings of the same song and voice by their rank."""
    ranks = _ranks(plan.items, outcomes)
    lines = [_table_line(item, outcomes.get(item.identity), ranks.get(item.identity)) for item in plan.items]
    lines += [_skipped(one) for one in plan.skipped]
    # a pair stands where its first cover does
    first: dict[object, int] = {}
    for line in lines:
        pair = _pair(line)
        first[pair] = min(first.get(pair, line.number), line.number)
    return sorted(lines, key=lambda line: (first[_pair(line)], line.rank or len(lines), line.number))


def _pair(line: Line) -> object:
    return line.number if line.state == "skipped" else (line.song, line.voice)


def _ranks(items: Sequence[Item], outcomes: Mapping[str, Outcome]) -> dict[str, int]:
    pairs: dict[tuple[str, str], list[Outcome]] = {}
    for item in items:
        outcome = outcomes.get(item.identity)
        if outcome is not None and outcome.state == "done":
            pairs.setdefault((item.content, item.voice_name), []).append(outcome)
    return {
        outcome.identity: place
        for covers in pairs.values()
        if len(covers) > 1
        for place, outcome in enumerate(rank(covers), start=1)
    }


def _table_line(item: Item, outcome: Outcome | None, place: int | None) -> Line:
    return Line(
        item.number,
        outcome.state if outcome else "waiting",
        item.song.absolute(),
        item.title,
        item.artist,
        item.voice_name,
        outcome,
        outcome.reason if outcome else "",
        place,
        ", ".join(f"{name} {value}" for name, value in item.row.swept.items()),
        item.row.carried,
    )


def _skipped(one: Skipped) -> Line:
    row = one.row
    song = row.song.absolute() if row.song else None
    reason = "; ".join(one.problems)
    return Line(
        one.number,
        "skipped",
        song,
        song.stem if song else "",
        "",
        row.singers.voice,
        None,
        reason,
        None,
        "",
        row.carried,
    )


def _csv(lines: Sequence[Line]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    carried = _carried(lines)
    own = ("number", *_COLUMNS, "title", "artist", "song_path", "rank", "swept")
    writer.writerow([*own, *(f"chart {name}" if name in own else name for name in carried)])
    for line in lines:
        cells: dict[str, Any] = {**vars(line), **(vars(line.outcome) if line.outcome else {})}
        cells |= {
            "song": line.song.name if line.song else "",
            "song_path": str(line.song or ""),
            "voice": line.voice,
            "state": line.state,
            "reason": line.reason,
        }
        if line.outcome is not None:
            cells["warnings"] = " ".join(line.outcome.warnings)
            cells |= {name: _absolute(getattr(line.outcome, name)) for name in ("cover", "report", "video")}
        values = [*(cells.get(column) for column in own), *(line.carried.get(name) for name in carried)]
        writer.writerow(map(_cell, values))
    return text.getvalue()


def _carried(lines: Sequence[Line]) -> list[str]:
    """The chart's own columns."""
    return list(dict.fromkeys(name for line in lines for name in line.carried))


def _track_list(folder: Path, lines: Sequence[Line]) -> str:
    """Extended M3U, in UTF-8; the covers by their paths from `folder`."""
    played = tracks(lines)
    text = ["#EXTM3U", f"#PLAYLIST:{_one_line(folder.resolve().name)} ({clock(total_time(played))})"]
    for line in played:
        if line.outcome is not None:
            name = " - ".join(filter(None, (line.artist, f"{line.title} ({line.voice} cover)")))
            text += [f"#EXTINF:{round(line.outcome.duration or -1)},{_one_line(name)}"]
            text += [os.path.relpath(line.outcome.cover, folder).replace(os.sep, "/")]
    return "\n".join([*text, ""])


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _absolute(path: str) -> str:
    return str(Path(path).absolute()) if path else ""


def _cell(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"  # a song's name must not become a formula of whoever opens the table
    return "" if value is None else value


def _html(folder: Path, lines: Sequence[Line]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    def address(path: str) -> str:
        return quote(os.path.relpath(path, folder).replace(os.sep, "/"))

    environment = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined)

    def order(line: Line) -> str:
        """A number by which the page sorts: the grade, the best first."""
        if line.outcome is None or line.state != "done":
            return f"{200 + list(_KINDS).index(line.state)}"
        return f"{100 - (line.outcome.grade or 0.0):.1f}"

    environment.filters.update(clock=clock, address=address, absolute=_absolute)
    environment.globals.update(order=order)
    counts = {state: sum(line.state == state for line in lines) for state in ("done", "failed", "waiting", "skipped")}
    return environment.get_template("table.html").render(
        lines=lines,
        counts=counts,
        total=total_time(tracks(lines)),
        carried=_carried(lines),
        kinds=_KINDS,
        script=(_HERE / "table.js").read_text("utf-8"),
    )
