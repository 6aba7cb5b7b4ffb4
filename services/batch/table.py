"""The batch as a table: ``batch.csv`` for spreadsheets, and ``batch.html`` with a player for each cover."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from urllib.parse import quote

from understudy.services.batch.plan import Item
from understudy.services.batch.run import Outcome
from understudy.wording import length

_HERE = Path(__file__).parent
_COLUMNS = ("number", *(field.name for field in fields(Outcome) if field.name not in ("identity", "report")))


def write_table(folder: Path, items: Sequence[Item], outcomes: Mapping[str, Outcome]) -> dict[str, Path]:
    """Write both files into `folder`, atomically; returns their paths. Items without an outcome are "waiting"."""
    rows = [(item, outcomes.get(item.identity)) for item in items]
    files = {"csv": folder / "batch.csv", "html": folder / "batch.html"}
    for name, text in (("csv", _csv(rows)), ("html", _html(folder, rows))):
        part = folder / f".{files[name].name}.part"
        part.write_text(text, "utf-8", "replace", newline="")
        os.replace(part, files[name])
    return files


def _csv(rows: Sequence[tuple[Item, Outcome | None]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for item, outcome in rows:
        cells = {
            **({} if outcome is None else {**vars(outcome), "warnings": " ".join(outcome.warnings)}),
            "number": item.number,
            "song": item.song.name,
            "voice": item.voice_name,
            "state": "waiting" if outcome is None else outcome.state,
        }
        writer.writerow([_cell(cells.get(column)) for column in _COLUMNS])
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"  # a song's name must not become a formula of whoever opens the table
    return "" if value is None else value


def _html(folder: Path, rows: Sequence[tuple[Item, Outcome | None]]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    def address(path: str) -> str:
        return quote(os.path.relpath(path, folder).replace(os.sep, "/"))

    environment = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined)
    environment.filters.update(clock=length, address=address)
    states = [outcome.state if outcome else "waiting" for _, outcome in rows]
    return environment.get_template("table.html").render(
        rows=rows, counts={state: states.count(state) for state in ("done", "failed", "waiting")}
    )
