"""The stage that checks the cover and writes its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.audio.stored import AudioFile
from understudy.audio.tags import read_tags
from understudy.context import Context
from understudy.pipeline.cast import Cast, as_cast
from understudy.pipeline.report.assessment import Assessment
from understudy.pipeline.report.inputs import ReportInputs
from understudy.pipeline.report.make import make_report
from understudy.pipeline.separation.quality import NOTHING, Quality
from understudy.pipeline.settings import CoverSettings
from understudy.voices.transpose import Transposition
from understudy.voices.voice import Voice


def report(
    context: Context,
    assessment: Mapping[str, Any],
    vocals: AudioFile,
    instrumental: AudioFile,
    transposition: Transposition,
    mix: Mapping[str, Any],
    settings: CoverSettings,
    voice: Voice | Cast,
    original: Path,
    warnings: Sequence[tuple[str, str]],
    singers: Sequence[Mapping[str, Any]] = (),
    chain: Sequence[Mapping[str, Any]] = (),
    quality: Mapping[str, Any] | None = None,
    own_stems: bool = False,
) -> Mapping[str, Any]:
    """The report's files ``html`` and ``json``, and its ``verdict``, ``blame`` and ``reason``.

    `assessment` is what `assess` found, `mix` what `remix` made of `vocals` and `instrumental`; `original` is the file
    with the tags. `singers`: what `roll` said, where several voices sing; `chain`: what the separation's steps
    found and did, where it has any. `quality`: what the stage of that name said of the separation, or of `own_stems`.
    """
    tags = read_tags(original)
    groups = settings.model_dump(mode="json", exclude={"output"})
    loose = {name: groups.pop(name) for name in ("transpose", "key", "backing")}
    if loose["backing"] is None:
        del loose["backing"]
    inputs = ReportInputs(
        assessment=Assessment.of_value(assessment),
        cover=mix["cover"],
        vocals=vocals,
        instrumental=instrumental,
        loudness=mix["loudness"],
        transpose=transposition.semitones,
        transpose_reason=transposition.reason,
        key=settings.key,
        title=tags.title or original.stem,
        artist=tags.artist,
        voice=" and ".join(singer.name for singer in as_cast(voice).voices),
        settings={"transpose": loose, **groups},
        warnings=tuple(warnings),
        wanted_balance=settings.remix.vocal_gain - settings.remix.instrumental_gain,
        wanted_lufs=settings.remix.target_lufs,
        singers=tuple(singers),
        quality=Quality.of_value(quality) if quality else NOTHING,
        separation=None if own_stems else settings.separation,
        chain=tuple(chain),
    )
    return make_report(context, inputs)
