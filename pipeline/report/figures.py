"""What the report is made from (`ReportInputs`), and all measurements of a cover (`Figures`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.audio.downmix import fold
from understudy.audio.loudness import Loudness, LoudnessSummary
from understudy.audio.samples import AudioSource
from understudy.audio.song_analysis import SongAnalysis
from understudy.audio.stored import AudioFile
from understudy.context import Context
from understudy.pipeline.report.assessment import Assessment, Faults
from understudy.pipeline.report.bands import BandLevels, analyse, short_term
from understudy.pipeline.report.delay import SECONDS, delay_between, mono_part
from understudy.pipeline.separation.chain import StepReport
from understudy.pipeline.separation.quality import NOTHING, Quality
from understudy.pipeline.separation.settings import SeparationSettings
from understudy.pipeline.stages.cast import VoicePart
from understudy.pipeline.stages.remix import CoverLoudness
from understudy.voices.transpose import Transposition

_PIECES = 16  # evenly spread over the cover: more say the same
_SPOTS = 3  # of them: where the delay is looked for

LEFTOVER_ERROR = 2.0
"""dB within which the estimated leftover was right on two of three songs with known stems."""


@dataclass(frozen=True)
class ReportInputs:
    """What was assessed before the mix, and the mix.

    `cover` is aligned with `vocals` and `instrumental`, the parts that were mixed. `loudness`: what remix measured.
    `transposition`: how the vocal was moved in all, `key` included. `key`: semitones by which the whole song was moved.
    `title`: the song's where the tags of the file `original` have none; `artist` is theirs. `settings`: all settings by
    stage, plain values only. `warnings`: (stage, sentence), in order. `wanted_balance`: requested gain of the vocal
    against the instrumental in dB; `wanted_lufs`: the requested loudness, None for the song's own. `singers`: where
    several voices sing, all of them. `chain`: what each step of the separation's chain did. `quality`: of the
    separation; `separation`: its settings, None for own stems. `analysis`: tempo and key of the song.
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


@dataclass(frozen=True)
class Mixture:
    """What remix did, read back from the cover. `vocal_gain` and `instrumental_gain`: the parts' levels in the cover
    against their own files in dB, by least squares. `residual`: dB of the cover that the two don't explain, against the
    cover; limiting shows here too. `delay`, `vocal_delay`: frames by which the instrumental and the vocals are late in
    the cover. None where a part is silent."""

    vocal_gain: float | None
    instrumental_gain: float | None
    residual: float | None
    delay: int | None
    vocal_delay: int | None = None


@dataclass(frozen=True, eq=False)
class Figures:
    """`before`: what was measured before the mix. `wrong_length`: names of parts that aren't as long as the song.
    `faults`: by part, ``cover`` among them. `balance_after`: vocal against instrumental in the cover while there is
    singing, in dB; None without either. `vocal_level`: the new vocal against the old one in dB, each beside its
    instrumental, less the requested change. `leftover`: what is left of the original singer in the cover against the
    new vocal in dB, as if no change was requested, estimated within `LEFTOVER_ERROR`; None where the separator gives no
    hint. `levels`: of the cover."""

    before: Assessment
    wrong_length: tuple[str, ...]
    levels: BandLevels
    faults: dict[str, Faults]
    song_loudness: Loudness
    cover_loudness: Loudness
    mixture: Mixture
    balance_after: float | None
    vocal_level: float | None
    leftover: float | None = None


def measure_figures(context: Context, inputs: ReportInputs) -> Figures:
    """The measurements that depend on the mix. Integrated loudness and true peak are those that remix measured."""
    before, cover = inputs.assessment, inputs.cover
    levels = analyse(cover, context.part(0.0, 0.7))
    mixture = unmix(cover, inputs.vocals, inputs.instrumental, context.part(0.7, 1.0))
    after = None
    if before.balance.unmixed is not None and mixture.vocal_gain is not None and mixture.instrumental_gain is not None:
        after = before.balance.unmixed + mixture.vocal_gain - mixture.instrumental_gain
    old = before.balance.before
    change = None if after is None or old is None else after - old - inputs.wanted_balance
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
        vocal_level=change,
        leftover=_leftover(inputs, change),
    )


def _leftover(inputs: ReportInputs, change: float | None) -> float | None:
    """`Figures.leftover`: from what the separator's mask tells; without one, from the estimate of the voice in the
    instrumental, as if the new vocal was as loud as the old one."""
    balance, residue = inputs.assessment.balance, inputs.quality.residue
    if balance.leftover is not None:
        return None if change is None else balance.leftover - balance.removed - change
    return None if residue is None or balance.before is None else residue.estimate - balance.before


def _loudness(measured: LoudnessSummary, curve: NDArray[np.float32]) -> Loudness:
    return Loudness(measured.integrated, measured.range, measured.true_peak, np.zeros(0, np.float32), curve)


def unmix(cover: AudioSource, vocals: AudioSource, instrumental: AudioSource, context: Context) -> Mixture:
    """From evenly spread pieces of all three; neither time nor memory grows with their length."""
    weights = fold(context.part(0, 0.1), vocals).weights
    if vocals.channels != cover.channels:
        weights = fold(context.part(0, 0.1), cover).weights
    products = np.zeros((3, 3))  # of vocals, instrumental, cover with each other
    size = round(SECONDS * cover.rate)
    all_starts = range(0, cover.frames, size)
    count = min(_PIECES, len(all_starts))
    starts = [all_starts[piece * len(all_starts) // count] for piece in range(count)]
    power: list[tuple[float, float]] = []
    for start in starts:
        context.progress(start / cover.frames)
        stop = min(start + size, cover.frames)
        # in double precision: what the two don't explain is a small difference of large sums
        stack = np.stack([mono_part(part, start, stop, weights) for part in (vocals, instrumental, cover)])
        stack = stack.astype(np.float64)
        own = np.einsum("if,jf->ij", stack, stack)
        products += own
        power.append((float(own[0, 0]), float(own[1, 1])))
    delays = []
    for number, part in enumerate((vocals, instrumental)):
        order = np.argsort([-both[number] for both in power], kind="stable")[:_SPOTS]
        spots = [starts[spot] for spot in sorted(order) if power[spot][number] > 0]
        delays.append(delay_between(part, cover, spots, weights))
    vocal_delay, delay = delays

    whole = products[2, 2]
    present = [part for part in (0, 1) if products[part, part] > max(1e-9 * whole, 1e-12)]
    if whole <= 1e-9 or not present:
        return Mixture(None, None, None, delay, vocal_delay)
    gains = np.linalg.lstsq(products[np.ix_(present, present)], products[present, 2], rcond=1e-9)[0]
    rest = max(0.0, whole - float(gains @ products[present, 2]))
    decibels = {part: _decibels(float(gain) ** 2) for part, gain in zip(present, gains, strict=True)}
    return Mixture(decibels.get(0), decibels.get(1), _decibels(rest / whole), delay, vocal_delay)


def _decibels(power: float) -> float:
    return float(10 * np.log10(max(power, 1e-12)))
