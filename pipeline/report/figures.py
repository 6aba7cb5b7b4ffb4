"""`Figures`: everything that is known of a cover, in one value; `measure_figures` measures what its mix decides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.audio.loudness import Loudness, LoudnessSummary
from understudy.context import Context
from understudy.pipeline.report.assessment import Assessment, Faults
from understudy.pipeline.report.bands import Heard, hear, short_term
from understudy.pipeline.report.inputs import ReportInputs
from understudy.pipeline.report.mixture import Mixture, unmix


@dataclass(frozen=True, eq=False)
class Figures:
    """`before`: what was found before the mix. `wrong_length`: names of parts that aren't as long as the song.
    `faults`: by part, ``cover`` among them. `balance_after`: vocal against instrumental in the cover while there is
    singing, in dB; None without either. `heard`: the cover."""

    before: Assessment
    wrong_length: tuple[str, ...]
    heard: Heard
    faults: dict[str, Faults]
    song_loudness: Loudness
    cover_loudness: Loudness
    mixture: Mixture
    balance_after: float | None


def measure_figures(context: Context, inputs: ReportInputs) -> Figures:
    """What the mix decides, measured on the cover; its integrated loudness and true peak are what remix measured."""
    before, cover = inputs.assessment, inputs.cover
    heard = hear(cover, context.part(0.0, 0.7))
    mixture = unmix(cover, inputs.vocals, inputs.instrumental, context.part(0.7, 1.0))
    after = None
    if before.balance.unmixed is not None and mixture.vocal_gain is not None and mixture.instrumental_gain is not None:
        after = before.balance.unmixed + mixture.vocal_gain - mixture.instrumental_gain
    as_long = (cover.rate, cover.frames) == (before.rate, round(before.duration * before.rate))
    return Figures(
        before=before,
        wrong_length=before.wrong_length if as_long else (*before.wrong_length, "cover"),
        heard=heard,
        faults={**before.faults, "cover": Faults.of(heard)},
        song_loudness=_loudness(inputs.loudness.song, before.curve),
        cover_loudness=_loudness(inputs.loudness.cover, short_term(heard, cover.duration)),
        mixture=mixture,
        balance_after=after,
    )


def _loudness(measured: LoudnessSummary, curve: NDArray[np.float32]) -> Loudness:
    return Loudness(measured.integrated, measured.range, measured.true_peak, np.zeros(0, np.float32), curve)
