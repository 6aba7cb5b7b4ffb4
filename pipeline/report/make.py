"""The report stage: measures a finished cover, judges it, and writes `report.html` and `report.json`."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from audio.context import Context
from audio.samples import AudioSource
from audio.windows import ordered_map
from pipeline.report.clips import Clip, encode_clip
from pipeline.report.figures import PARTS, Figures, measure_figures
from pipeline.report.inputs import ReportInputs
from pipeline.report.page import Track, render
from pipeline.report.verdict import Verdict, judge

VERSION = 1
"""Of the JSON's form; raised when a field changes its meaning or goes."""

_LONGEST = 600.0  # seconds that are embedded whole
_EXCERPT = 240.0


def make_report(context: Context, inputs: ReportInputs) -> dict[str, Any]:
    """Write `report.html` and `report.json` into `context.folder`.

    Returns ``html`` and ``json`` (paths), ``verdict`` (``good``, ``mind`` or ``wrong``), ``blame`` (a stage's name, or
    empty) and ``reason`` (a sentence). The same inputs give the same bytes: neither file holds a time or a path.
    """
    figures = measure_figures(context.part(0, 0.65), inputs)
    verdict = judge(figures, inputs)
    excerpt = excerpt_of(figures)
    tracks = _tracks(context.part(0.65, 0.95), inputs, excerpt)
    html, data = context.folder / "report.html", context.folder / "report.json"
    page = render(inputs, figures, verdict, tracks, excerpt)
    html.write_text(page, encoding="utf-8", newline="\n")
    text = json.dumps(as_data(inputs, figures, verdict), indent=2, ensure_ascii=False, allow_nan=False)
    data.write_text(text + "\n", encoding="utf-8", newline="\n")
    context.progress(1.0)
    return {"html": html, "json": data, "verdict": verdict.overall, "blame": verdict.blame, "reason": verdict.reason}


def excerpt_of(figures: Figures) -> tuple[float, float] | None:
    """None when all of the song is embedded; otherwise the four minutes with most voice in them."""
    if figures.duration <= _LONGEST:
        return None
    heard = figures.heard["original_vocals"]
    size = round(_EXCERPT / heard.step)
    total = np.concatenate(([0.0], np.cumsum(heard.weighted, dtype=np.float64)))
    first = int(np.argmax(total[size:] - total[:-size])) if heard.columns > size else 0
    start = min(float(math.floor(first * heard.step)), figures.duration - _EXCERPT)
    return start, start + _EXCERPT


def _tracks(context: Context, inputs: ReportInputs, excerpt: tuple[float, float] | None) -> list[Track]:
    start, stop = excerpt or (0.0, inputs.song.duration)
    wanted: list[tuple[str, str, AudioSource, bool]] = [
        ("Cover", "the result", inputs.cover, False),
        ("Song", "the original, to compare", inputs.song, False),
        ("New vocal", "the voice alone, as it is in the cover", inputs.vocals, True),
        ("Original vocal", "as separated from the song", inputs.original_vocals, True),
        ("Band", "the instrumental, as separated from the song", inputs.instrumental, False),
    ]
    quiet = Context(context.folder, context.device, 1, cancelled=context.cancelled, warnings=context.warnings)

    def encode(one: tuple[str, str, AudioSource, bool]) -> Clip:
        return encode_clip(one[2], quiet, start=start, stop=stop, mono=one[3])

    tracks: list[Track] = []
    for (name, words, _, _), clip in zip(wanted, ordered_map(encode, wanted, context.workers), strict=True):
        tracks.append(Track(len(tracks) + 1, name, words, clip))
        context.progress(len(tracks) / len(wanted))
    return tracks


def as_data(inputs: ReportInputs, figures: Figures, verdict: Verdict) -> dict[str, Any]:
    """The report for machines: plain JSON data, every number finite; what wasn't measured is null."""
    data = {
        "format": "understudy-report",
        "version": VERSION,
        "title": inputs.title,
        "artist": inputs.artist,
        "voice": inputs.voice,
        "duration": figures.duration,
        "sample_rate": inputs.song.rate,
        "channels": inputs.song.channels,
        "transpose": inputs.transpose,
        "transpose_reason": inputs.transpose_reason,
        "key": inputs.key,
        "verdict": {
            "overall": verdict.overall,
            "blame": verdict.blame,
            "headline": verdict.headline,
            "reason": verdict.reason,
            "stages": verdict.stages,
        },
        "findings": [dataclasses.asdict(finding) for finding in verdict.findings],
        "figures": [
            {
                "name": one.limit.name,
                "stage": one.stage,
                "label": one.limit.label,
                "unit": one.limit.unit,
                "value": one.value,
                "good": one.limit.good,
                "wrong": one.limit.wrong,
                "more_is_better": one.limit.more_is_better,
                "verdict": one.verdict,
                "reason": one.limit.reason,
            }
            for one in verdict.measured
        ],
        "loudness": {
            "song": figures.song_loudness.summary(),
            "cover": figures.cover_loudness.summary(),
            "remix": dict(inputs.loudness or {}),
            "curves": {
                "step": 1.0,
                "song": figures.song_loudness.short_term[9::10].tolist(),
                "cover": figures.cover_loudness.short_term[9::10].tolist(),
            },
        },
        "pitch": {
            "sung_share": figures.sung_share,
            "cover": dataclasses.asdict(figures.intonation),
            "tracking": dataclasses.asdict(figures.tracking),
            "vocal_delay": figures.vocal_delay,
        },
        "voice_likeness": dataclasses.asdict(figures.likeness),
        "mixture": dataclasses.asdict(figures.mixture),
        "balance": dataclasses.asdict(figures.balance),
        "bleed": dataclasses.asdict(figures.bleed),
        "parts": {name: {**dataclasses.asdict(figures.faults[name])} for name in PARTS},
        "wrong_length": list(figures.wrong_length),
        "warnings": [{"stage": stage, "sentence": sentence} for stage, sentence in inputs.warnings],
        "settings": {stage: dict(values) for stage, values in (inputs.settings or {}).items()},
    }
    return _plain(data)  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    """JSON data: six decimals are plenty for every figure here, and what isn't finite becomes null."""
    match value:
        case None | bool() | int() | str():
            return value
        case float() | np.floating():
            return round(float(value), 6) if math.isfinite(value) else None
        case np.integer():
            return int(value)
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case Path():
            return value.name
    return str(value)
