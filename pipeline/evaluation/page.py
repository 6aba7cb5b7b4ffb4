"""The HTML page of an evaluation: one file, no outside links, everything in it escaped by the template engine."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from understudy.pipeline.evaluation.plots import HUES, differences, strips
from understudy.pipeline.evaluation.run import Row
from understudy.pipeline.evaluation.summary import (
    COLUMNS,
    by_song,
    candidates_of,
    comparisons,
    speeds,
    stems_of,
    summaries,
)

_HERE = Path(__file__).parent
_STYLE = _HERE.parent / "report" / "report.css"


def page(title: str, rows: Sequence[Row], passed_over: Sequence[str]) -> str:
    """The page as text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["decibels"] = _decibels
    style = _STYLE.read_text("utf-8") + (_HERE / "evaluation.css").read_text("utf-8")
    found, names = summaries(rows), candidates_of(rows)
    plotted = []
    for stem in stems_of(rows):
        for column in (COLUMNS[0], COLUMNS[3]):
            values = {name: by_song(rows, name, stem, column.field) for name in names}
            words = f"{column.title} of the {stem} by separator, a dot for each song"
            drawing = strips(values, "dB", words)
            if drawing:
                plotted.append((f"{stem}: {column.title}", column.words, Markup(drawing)))
    compared = [
        (one, Markup(differences(one.differences, "dB", f"SDR of the {one.stem}, {one.candidate} less {one.against}")))
        for one in comparisons(rows)
    ]
    return environment.get_template("evaluation.html").render(
        title=title,
        style=Markup(style),
        style_hash="sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        songs=len({row.song for row in rows}),
        names=[(name, f"hue{number % HUES}") for number, name in enumerate(names)],
        stems=stems_of(rows),
        columns=COLUMNS,
        best=_best(rows),
        summaries=found,
        speeds=speeds(rows),
        plotted=plotted,
        compared=compared,
        rows=rows,
        failed=[row for row in rows if row.state == "failed"],
        notices=list(_notices(rows).items()),
        passed_over=passed_over,
    )


def _best(rows: Sequence[Row]) -> dict[tuple[str, str], float]:
    """The highest of each figure, where several separators have it: by stem and field."""
    best: dict[tuple[str, str], list[float]] = {}
    for one in summaries(rows):
        for field, value in one.values.items():
            if value is not None:
                best.setdefault((one.stem, field), []).append(value)
    return {key: max(values) for key, values in best.items() if len(values) > 1}


def _notices(rows: Sequence[Row]) -> dict[tuple[str, str], list[str]]:
    """The separators that each notice was given with: by song and notice."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for notice in row.notices:
            found.setdefault((row.song, notice), []).append(row.candidate)
    return found


def _decibels(value: float | None, decimals: int = 2) -> str:
    return "–" if value is None else f"{value:.{decimals}f}".replace("-", "−")
