"""The stage that checks the cover and writes its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.audio.song_analysis import SongAnalysis
from understudy.audio.stored import AudioFile
from understudy.audio.tags import read_tags
from understudy.context import Context
from understudy.pipeline.cast import Cast, as_cast
from understudy.pipeline.report.assessment import Assessment
from understudy.pipeline.report.inputs import ReportInputs
from understudy.pipeline.report.make import ReportFiles, make_report
from understudy.pipeline.separation.chain import StepReport
from understudy.pipeline.separation.quality import Quality
from understudy.pipeline.separation.settings import SeparationSettings
from understudy.pipeline.stages.cast import VoicePart
from understudy.pipeline.stages.remix import CoverMix, RemixSettings
from understudy.voices.transpose import Transposition
from understudy.voices.voice import Voice


def report(
    context: Context,
    assessment: Assessment,
    vocals: AudioFile,
    instrumental: AudioFile,
    transposition: Transposition,
    mix: CoverMix,
    quality: Quality,
    analysis: SongAnalysis,
    key: int,
    remix: RemixSettings,
    separation: SeparationSettings | None,
    settings: Mapping[str, Mapping[str, Any]],
    voice: Voice | Cast,
    original: Path,
    warnings: Sequence[tuple[str, str]],
    singers: Sequence[VoicePart] = (),
    chain: Sequence[StepReport] = (),
) -> ReportFiles:
    """The report of the cover that `mix` made of `vocals` and `instrumental`; `original` is the file with the tags.

    `singers`: who sings what, where several voices do; `chain`: what the separation's steps did, where it has any.
    `quality`: of the separation, whose settings are `separation`, or of the user's own stems (None). `analysis`: tempo
    and key of the song. `settings`: all of the cover's, by group, to be shown."""
    tags = read_tags(original)
    inputs = ReportInputs(
        assessment=assessment,
        cover=mix.cover,
        vocals=vocals,
        instrumental=instrumental,
        loudness=mix.loudness,
        transpose=transposition.semitones,
        transpose_reason=transposition.reason,
        key=key,
        title=tags.title or original.stem,
        artist=tags.artist,
        voice=" and ".join(singer.name for singer in as_cast(voice).voices),
        settings=settings,
        warnings=tuple(warnings),
        wanted_balance=remix.vocal_gain - remix.instrumental_gain,
        wanted_lufs=remix.target_lufs,
        singers=tuple(singers),
        quality=quality,
        analysis=analysis,
        separation=separation,
        chain=tuple(chain),
    )
    return make_report(context, inputs)
