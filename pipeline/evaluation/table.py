"""The tables of an evaluation: text for the terminal, ``evaluation.csv``, ``.json`` and ``.html``."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from understudy.pipeline.evaluation.page import page
from understudy.pipeline.evaluation.run import Row
from understudy.pipeline.evaluation.score import VERSION
from understudy.pipeline.evaluation.summary import (
    COLUMNS,
    STEM_ORDER,
    Comparison,
    Summary,
    comparisons,
    speeds,
    summaries,
)
from understudy.wording import counted

_FIGURES = ("sdr", "si_sdr", "leak", "bss_sdr", "isr", "sir", "sar", "windows")
_CSV = (
    "model", "song", "subset", "state", "stem", *_FIGURES, "duration", "rate", "seconds", "rtf", "peak_mib", "device",
    "notices", "code", "reason",
)  # fmt: skip


def write_tables(folder: Path, title: str, rows: Sequence[Row], passed_over: Sequence[str]) -> dict[str, Path]:
    """Write the three files into `folder`, each at once; returns their paths by kind."""
    data = as_data(title, rows, passed_over)
    texts = {
        "csv": _csv(rows),
        "json": json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        "html": page(title, rows, passed_over),
    }
    files = {}
    for kind, text in texts.items():
        files[kind] = folder / f"evaluation.{kind}"
        part = folder / f".evaluation.{kind}.part"
        part.write_text(text, "utf-8", "replace", newline="")
        os.replace(part, files[kind])
    return files


def as_data(title: str, rows: Sequence[Row], passed_over: Sequence[str]) -> dict[str, Any]:
    """The evaluation for machines: plain JSON data, figures in dB."""
    return {
        "format": "understudy-evaluation",
        "version": VERSION,
        "title": title,
        "summaries": [_renamed(asdict(one)) for one in summaries(rows)],
        "speeds": [_renamed(asdict(one)) for one in speeds(rows)],
        "comparisons": [_renamed(asdict(one)) for one in comparisons(rows)],
        "songs": [_renamed(asdict(row)) for row in rows],
        "passed_over": list(passed_over),
    }


def _renamed(fields: dict[str, Any]) -> dict[str, Any]:
    return {"model" if name == "candidate" else name: value for name, value in fields.items()}


def text_table(rows: Sequence[Row]) -> str:
    """A line per stem and separator, for a terminal of 100 columns."""
    heads = "".join(f"{column.title:>9}" for column in COLUMNS)
    lines = [f"{'':28}{'songs':>6}{heads}"]
    found = summaries(rows)
    for stem in (stem for stem in STEM_ORDER if any(one.stem == stem for one in found)):
        lines.append(stem)
        for one in (one for one in found if one.stem == stem):
            cells = "".join(f"{_number(one.values[column.field]):>9}" for column in COLUMNS)
            lines.append(f"  {_short(one.candidate, 26):26}{one.songs:>6}{cells}{_spread(one)}")
    lines.append(f"{'':28}{'songs':>6}{'failed':>9}{'seconds':>9}{'RTF':>9}{'MiB':>9}")
    for speed in speeds(rows):
        seconds, rtf, peak = _number(speed.seconds), _number(speed.rtf, 3), _number(speed.peak_mib, 0)
        lines.append(f"  {_short(speed.candidate, 26):26}{speed.done:>6}{speed.failed:>9}{seconds:>9}{rtf:>9}{peak:>9}")
    for pair in comparisons(rows):
        songs = counted(len(pair.differences), "song")
        lines.append(
            f"{pair.candidate} against {pair.against}, {pair.stem}: {pair.mean:+.2f} dB SDR"
            f"{_spread(pair)}, ahead in {pair.better} of {songs}, behind in {pair.worse}"
        )
    return "\n".join(lines)


def _spread(one: Summary | Comparison) -> str:
    return "" if one.low is None or one.high is None else f" ({one.low:+.2f} to {one.high:+.2f})"


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_CSV)
    for row in rows:
        shared = {**asdict(row), "model": row.candidate, "notices": " ".join(row.notices)}
        for stem, figures in row.stems.items() or [("", None)]:
            cells = {**shared, "stem": stem, **(asdict(figures) if figures else {})}
            writer.writerow([_cell(cells.get(name)) for name in _CSV])
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"  # a song's name must not become a formula in a spreadsheet
    return "" if value is None else value


def _number(value: float | None, decimals: int = 2) -> str:
    return "–" if value is None else f"{value:.{decimals}f}"


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
