"""`Figures`: all measurements of a cover; `measure_figures` adds those that depend on the mix to the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.audio.loudness import Loudness, LoudnessSummary
from understudy.context import Context
from understudy.pipeline.report.assessment import Assessment, Faults
from understudy.pipeline.report.bands import BandLevels, analyse, short_term
from understudy.pipeline.report.inputs import ReportInputs
from understudy.pipeline.report.mixture import Mixture, unmix


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
