"""What the report is made from (`ReportInputs`), and all measurements of a cover (`Figures`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.audio.loudness import Loudness, LoudnessSummary
from understudy.audio.song_analysis import SongAnalysis
from understudy.audio.stored import AudioFile
from understudy.context import Context
from understudy.pipeline.report.assessment import Assessment, Faults
from understudy.pipeline.report.bands import BandLevels, analyse, short_term
from understudy.pipeline.report.mixture import Mixture, unmix
from understudy.pipeline.separation.chain import StepReport
from understudy.pipeline.separation.quality import NOTHING, Quality
from understudy.pipeline.separation.settings import SeparationSettings
from understudy.pipeline.stages.cast import VoicePart
from understudy.pipeline.stages.remix import CoverLoudness
from understudy.voices.transpose import Transposition


@dataclass(frozen=True)
class ReportInputs:
    """What was assessed before the mix, and the mix.

    `cover` is aligned with `vocals` and `instrumental`, the parts that were mixed. `loudness`: what remix measured.
    `transposition`: how the vocal was moved in all, `key` included. `key`: semitones by which the whole song was moved.
    `original`: the file whose tags give `title` and `artist`. `settings`: all settings by stage, plain values only.
    `warnings`: (stage, sentence), in order. `wanted_balance`: requested gain of the vocal against the instrumental in
    dB; `wanted_lufs`: the requested loudness, None for the song's own. `singers`: where several voices sing, all of
    them. `chain`: what each step of the separation's chain did. `quality`: of the separation; `separation`: its
    settings, None for own stems. `analysis`: tempo and key of the song.
    """

    assessment: Assessment
    cover: AudioFile
    vocals: AudioFile
    instrumental: AudioFile
    loudness: CoverLoudness
    transposition: Transposition
    key: int
    voice: str
    title: str = ""
    artist: str = ""
    original: Path | None = None
    settings: Mapping[str, Mapping[str, Any]] | None = None
    warnings: Sequence[tuple[str, str]] = ()
    wanted_balance: float = 0.0
    wanted_lufs: float | None = None
    singers: tuple[VoicePart, ...] = ()
    quality: Quality = NOTHING
    analysis: SongAnalysis = field(default_factory=SongAnalysis)
    separation: SeparationSettings | None = None
    chain: tuple[StepReport, ...] = ()


@dataclass(frozen=True, eq=False)
class Figures:
    """`before`: what was measured before the mix. `wrong_length`: names of parts that aren't as long as the song.
    `faults`: by part, ``cover`` among them. `balance_after`: vocal against instrumental in the cover while there is
    singing, in dB; None without either. `levels`: of the cover."""

    before: Assessment
    wrong_length: tuple[str, ...]
    levels: BandLevels
    faults: dict[str, Faults]
    song_loudness: Loudness
    cover_loudness: Loudness
    mixture: Mixture
    balance_after: float | None


def measure_figures(context: Context, inputs: ReportInputs) -> Figures:
    """The measurements that depend on the mix. Integrated loudness and true peak are those that remix measured."""
    before, cover = inputs.assessment, inputs.cover
    levels = analyse(cover, context.part(0.0, 0.7))
    mixture = unmix(cover, inputs.vocals, inputs.instrumental, context.part(0.7, 1.0))
    after = None
    if before.balance.unmixed is not None and mixture.vocal_gain is not None and mixture.instrumental_gain is not None:
        after = before.balance.unmixed + mixture.vocal_gain - mixture.instrumental_gain
    as_long = (cover.rate, cover.frames) == (before.rate, round(before.duration * before.rate))
    return Figures(
        before=before,
        wrong_length=before.wrong_length if as_long else (*before.wrong_length, "cover"),
        levels=levels,
        faults={**before.faults, "cover": Faults.of(levels)},
        song_loudness=_loudness(inputs.loudness.song, before.curve),
        cover_loudness=_loudness(inputs.loudness.cover, short_term(levels, cover.duration)),
        mixture=mixture,
        balance_after=after,
    )


def _loudness(measured: LoudnessSummary, curve: NDArray[np.float32]) -> Loudness:
    return Loudness(measured.integrated, measured.range, measured.true_peak, np.zeros(0, np.float32), curve)
