"""The stage `rebalance`: the song with its stems at other levels, for practice and karaoke.

What is louder than the song by it is turned down as a whole to the song's loudness, so that a boost needs no squeezing;
what is quieter stays so. The true peak is kept by the limiter that keeps a cover's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import Field

from understudy.audio.loudness import LoudnessSummary, measure
from understudy.audio.stored import AudioFile
from understudy.audio.views import Sum
from understudy.context import Context
from understudy.pipeline.separation.settings import FrozenModel
from understudy.pipeline.stages.remix import Stacked, write_limited
from understudy.pipeline.values import stored

CEILING = -1.0
"""Highest true peak of the result in dBTP."""

_HEADROOM = 0.1  # dB below the ceiling that the limiter is set to: true-peak meters differ
_TRIES = 4
_HARD = 8.0  # dB of limiting that is audible


class Balance(FrozenModel):
    """`levels`: dB by stem, None for a stem that is left out. `rest`: whether what none of these stems holds stays as
    it is in the song, or is left out."""

    levels: Mapping[str, float | None] = Field(min_length=1)
    rest: bool = True

    def gains(self) -> dict[str, float]:
        """The linear gain of each stem."""
        return {name: 0.0 if level is None else float(10 ** (level / 20)) for name, level in self.levels.items()}


@stored
@dataclass(frozen=True)
class RebalancedLoudness:
    """Of the `song` and of the `mix`; the mix's `true_peak` in dBTP, the `gain` that it was given and the most that the
    limiter took (`reduction`), in dB."""

    song: LoudnessSummary
    mix: LoudnessSummary
    true_peak: float
    gain: float
    reduction: float


@stored
@dataclass(frozen=True)
class Rebalanced:
    """`sound`: as long as the song, with its rate and channels."""

    sound: AudioFile
    loudness: RebalancedLoudness


def rebalance(context: Context, song: AudioFile, balance: Balance, stems: Mapping[str, AudioFile]) -> Rebalanced:
    """The `song` with its `stems` at the levels of `balance`, and no louder than it was.

    With `balance.rest` the result is the song plus each stem times (its gain - 1), so that what no stem changes is the
    song's to the last bit; otherwise the stems' sum. `stems`: those of the balance, each of the song's shape.
    """
    gains = balance.gains()
    files = tuple(stems[name] for name in gains)
    parts = Sum((song, *files), (1.0, *(gain - 1 for gain in gains.values())))
    if not balance.rest:
        parts = Sum((song, *files), (0.0, *gains.values()))
    original = measure(song, context.part(0.0, 0.1))
    plain = measure(parts, context.part(0.1, 0.25))
    gain = 0.0
    if not (original.silent or plain.silent):
        gain = min(0.0, original.integrated - plain.integrated)
    source = Stacked((parts,), (float(10 ** (gain / 20)),), parts.rate, parts.channels, parts.frames)
    ceiling = CEILING - _HEADROOM
    for attempt in range(1, _TRIES + 1):
        # the number of tries is not known: each gets half of the progress that is left
        part = context.part(1 - 0.75 * 0.5 ** (attempt - 1), 1 - 0.75 * 0.5**attempt)
        made = write_limited(part, source, ceiling, context.folder / "mix.npy")
        measured, reduction = made.loudness, made.reduction
        excess = measured.true_peak - CEILING
        if excess <= 0:
            break
        ceiling -= excess + 0.02
    context.progress(1.0)
    if reduction.most > _HARD:
        context.warn(
            f"The mix's peaks had to be turned down by up to {reduction.most:.0f} dB; "
            "lower levels would leave it more open."
        )
    loudness = RebalancedLoudness(
        song=original.summary(),
        mix=measured.summary(),
        true_peak=round(measured.true_peak, 2),
        gain=round(gain, 2) + 0.0,
        reduction=round(reduction.most, 2) + 0.0,
    )
    return Rebalanced(AudioFile.open(context.folder / "mix.npy", song.rate), loudness)
