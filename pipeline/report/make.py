"""The second half of the report: measures a finished cover, rates it, and writes `report.html` and `report.json`."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from understudy.audio.tags import read_tags
from understudy.audio.windows import ordered_map
from understudy.context import Context
from understudy.pipeline.report.clips import encode_clip
from understudy.pipeline.report.figures import LEFTOVER_ERROR, Figures, ReportInputs, measure_figures
from understudy.pipeline.report.grade import Severity
from understudy.pipeline.report.page import Track, render
from understudy.pipeline.report.verdict import Verdict, Weakness, judge
from understudy.pipeline.separation.advice import precision_note
from understudy.pipeline.values import stored

VERSION = 3
"""Of the JSON's form; raised when a field changes its meaning or goes."""


@stored
@dataclass(frozen=True)
class ReportFiles:
    """`verdict`: ``good``, ``mind`` or ``wrong``. `blame`: the stage to look at first, or empty. `reason`: a
    sentence. `grade`: 0 to 100. `weaknesses`: what to do better, the worst first. `vocal_level`, `leftover`: as
    `understudy.pipeline.report.figures.Figures` has them; `brightness`: as
    `understudy.pipeline.report.assessment.Balance`."""

    html: Path
    json: Path
    verdict: Severity
    blame: str
    reason: str
    vocal_level: float | None = None
    leftover: float | None = None
    brightness: float | None = None
    grade: float = 0.0
    weaknesses: tuple[Weakness, ...] = ()


def make_report(context: Context, inputs: ReportInputs) -> ReportFiles:
    """Write `report.html` and `report.json` into `context.folder`.

    The same inputs give the same bytes: neither file holds a time or a path.
    """
    if inputs.original is not None:
        tags = read_tags(inputs.original)
        inputs = dataclasses.replace(inputs, title=tags.title or inputs.title, artist=tags.artist)
    quiet = Context(context.folder, context.device, 1, cancelled=context.cancelled, warnings=context.warnings)
    jobs: tuple[Callable[[Context, ReportInputs], Any], ...] = (_encode_cover, measure_figures)
    clip, figures = ordered_map(lambda job: job(quiet, inputs), jobs, context.workers)
    context.progress(0.9)
    verdict = judge(figures, inputs)
    tracks = _tracks(inputs, clip)
    html, data = context.folder / "report.html", context.folder / "report.json"
    page = render(inputs, figures, verdict, tracks)
    # a title may come from a file's name, which needs not be text
    html.write_text(page, encoding="utf-8", errors="replace", newline="\n")
    text = json.dumps(as_data(inputs, figures, verdict), indent=2, ensure_ascii=False, allow_nan=False)
    data.write_text(text + "\n", encoding="utf-8", errors="replace", newline="\n")
    context.progress(1.0)
    level, left, bright = map(_plain, (figures.vocal_level, figures.leftover, figures.before.balance.brightness))
    return ReportFiles(
        html,
        data,
        verdict.overall,
        verdict.blame,
        verdict.reason,
        level,
        left,
        bright,
        verdict.grade,
        verdict.findings,
    )


def _encode_cover(context: Context, inputs: ReportInputs) -> bytes:
    start, stop = inputs.assessment.excerpt or (0.0, inputs.assessment.duration)
    return encode_clip(inputs.cover, context, start=start, stop=stop, mono=False)


def _tracks(inputs: ReportInputs, cover: bytes) -> list[Track]:
    others = (
        ("Song", "the original, to compare", "song"),
        ("New vocal", "the voice alone, as it goes into the mix", "vocals"),
        ("Original vocal", "as separated from the song", "original_vocals"),
        ("Instrumental", "as separated from the song", "instrumental"),
    )
    clips = ((name, words, inputs.assessment.clips[part].read_bytes()) for name, words, part in others)
    return [Track(key, *each) for key, each in enumerate((("Cover", "the result", cover), *clips), start=1)]


def as_data(inputs: ReportInputs, figures: Figures, verdict: Verdict) -> dict[str, Any]:
    """The report for machines: plain JSON data, every number finite; what wasn't measured is null."""
    data = {
        "format": "understudy-report",
        "version": VERSION,
        "title": inputs.title,
        "artist": inputs.artist,
        "voice": inputs.voice,
        "duration": figures.before.duration,
        "sample_rate": figures.before.rate,
        "channels": figures.before.channels,
        "transpose": inputs.transposition.semitones,
        "transpose_reason": inputs.transposition.reason,
        "key": inputs.key,
        "bpm": inputs.analysis.bpm,
        "bpm_confidence": inputs.analysis.bpm_confidence,
        "song_key": inputs.analysis.key,
        "song_key_confidence": inputs.analysis.key_confidence,
        "verdict": {
            name: getattr(verdict, name) for name in ("grade", "overall", "blame", "headline", "reason", "stages")
        },
        "findings": [{**dataclasses.asdict(finding), "advice": finding.action.text} for finding in verdict.findings],
        "figures": [
            {
                "name": one.scale.name,
                "stage": one.stage,
                "label": one.scale.label,
                "unit": one.scale.unit,
                "value": one.value,
                "best": one.scale.best,
                "good": one.scale.good,
                "wrong": one.scale.wrong,
                "more_is_better": one.scale.more_is_better,
                "loss": one.loss,
                "verdict": one.verdict,
                "reason": one.scale.reason,
            }
            for one in verdict.measured
        ],
        "loudness": {
            "song": dataclasses.asdict(figures.song_loudness.summary()),
            "cover": dataclasses.asdict(figures.cover_loudness.summary()),
            "remix": dataclasses.asdict(inputs.loudness),
            "curves": {
                "step": 1.0,
                "song": figures.song_loudness.short_term[9::10].tolist(),
                "cover": figures.cover_loudness.short_term[9::10].tolist(),
            },
        },
        "pitch": {
            "sung_share": figures.before.sung_share,
            "cover": dataclasses.asdict(figures.before.intonation),
            "tracking": dataclasses.asdict(figures.before.tracking),
            "vocal_delay": figures.before.vocal_delay,
        },
        "voice_likeness": dataclasses.asdict(figures.before.likeness),
        "mixture": dataclasses.asdict(figures.mixture),
        "balance": {
            **dataclasses.asdict(figures.before.balance),
            "after": figures.balance_after,
            "change": figures.vocal_level,
            "leftover_in_cover": figures.leftover,
            "leftover_error": LEFTOVER_ERROR,
        },
        "separation": {**dataclasses.asdict(inputs.quality), "number_format": precision_note(inputs.separation)},
        "parts": {name: dataclasses.asdict(faults) for name, faults in figures.faults.items()},
        "wrong_length": list(figures.wrong_length),
        **_voices(inputs, figures),
        **({"chain": [dataclasses.asdict(step) for step in inputs.chain]} if inputs.chain else {}),
        "warnings": [{"stage": stage, "sentence": sentence} for stage, sentence in inputs.warnings],
        "settings": {stage: dict(values) for stage, values in (inputs.settings or {}).items()},
    }
    return _plain(data)  # type: ignore[no-any-return]


def _voices(inputs: ReportInputs, figures: Figures) -> dict[str, Any]:
    """``voices``, where several sing: each with its part, transpose and likeness."""
    if not inputs.singers:
        return {}
    likenesses = figures.before.likenesses or {inputs.singers[0].voice: figures.before.likeness}
    voices = []
    for singer in inputs.singers:
        likeness = likenesses.get(singer.voice) if singer.part == "lead" else None
        voices.append({**singer.to_dict(), "likeness": dataclasses.asdict(likeness) if likeness else None})
    return {"voices": voices}


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
