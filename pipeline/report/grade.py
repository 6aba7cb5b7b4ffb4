"""The grade of a cover: how many of 100 points are left when each figure has taken its loss.

Every figure has a `Scale`: from `best` on, nothing is lost; at `good`, the limit of what goes unnoticed, `AT_GOOD`
percent; at `wrong`, where the cover is spoilt by this alone, `AT_WRONG`; in between linearly, and beyond it ever less
of what is left.
The largest loss counts in full and each further one for `FURTHER` of the one before: one cause shows in several
figures. What one figure leaves, the next one takes its share of, so a figure that gets worse always lowers the grade,
however bad the rest is. A scale comes from a standard where there is one, else from covers with
known faults (`benchmarks/verdict.py`); `reason` says which.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp
from typing import Literal, Protocol, TypeAlias, TypeVar

import numpy as np

STAGES = ("separate", "pitch", "transpose", "convert", "finish", "remix")
"""The stages that can be blamed, in the order of the graph."""

AT_GOOD, AT_WRONG, MOST = 10.0, 55.0, 99.9
FURTHER = 0.6
GOOD, USABLE = 75.0, 50.0
"""Grades from which on a cover is called good, and usable."""

Severity: TypeAlias = Literal["good", "mind", "wrong"]


@dataclass(frozen=True)
class Scale:
    """`name`: of the figure, as in the JSON. `label`: for people. `unit`: as printed, and that of `best`, `good` and
    `wrong`."""

    name: str
    label: str
    unit: str
    best: float
    good: float
    wrong: float
    reason: str

    @property
    def more_is_better(self) -> bool:
        return self.best > self.wrong

    def loss(self, value: float) -> float:
        """Percent of the grade that this figure takes, from 0, below 100."""
        sign = -1.0 if self.more_is_better else 1.0
        points = [sign * point for point in (self.best, self.good, self.wrong)]
        beyond = (sign * value - points[2]) / (points[2] - points[1])
        if beyond <= 0:
            return float(np.interp(sign * value, points, (0.0, AT_GOOD, AT_WRONG)))
        return min(MOST, 100 - (100 - AT_WRONG) * exp(-beyond))

    def measured(self, value: float) -> str:
        """The figure in words, with what is good: ``Sung on the note: 71 % (good: ≥ 88 %)``."""
        return f"{self.label}: {number(value, self.unit)} (good: {self.limit})"

    @property
    def limit(self) -> str:
        """From where on it is good."""
        return f"{'≥' if self.more_is_better else '≤'} {number(self.good, self.unit)}"

    def verdict(self, value: float) -> Severity:
        """What a cover would be called if all else was perfect; ``good`` up to the limit `good`."""
        loss = self.loss(value)
        return "good" if loss <= AT_GOOD else "mind" if loss < AT_WRONG else "wrong"


def grade_of(losses: Iterable[float]) -> float:
    """0 to 100, from the losses of all figures."""
    return float(100 * np.prod([(1 - loss / 100) ** FURTHER**n for n, loss in enumerate(sorted(losses, reverse=True))]))


def word_of(grade: float) -> Severity:
    return "good" if grade >= GOOD else "mind" if grade >= USABLE else "wrong"


def number(value: float, unit: str) -> str:
    """As printed: as many decimals as the unit deserves."""
    if unit in ("samples", "ms", "per minute", "%"):
        text = f"{value:.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.1f}"
    elif unit == "":
        text = f"{value:.2f}"
    else:
        text = f"{value:.1f}"
    text = text.replace("-", "−")
    return f"{text} {unit}".strip()


class Graded(Protocol):
    @property
    def grade(self) -> float | None:
        """Of a cover; None where there is none."""


Cover = TypeVar("Cover", bound=Graded)


def rank(covers: Iterable[Cover]) -> list[Cover]:
    """The best first, those without a grade last; equals stay in their order."""
    return sorted(covers, key=lambda cover: -1.0 if cover.grade is None else cover.grade, reverse=True)


SCALES = {
    scale.name: scale
    for scale in (
        Scale(
            "singing", "Sign of a singer", "dB", -10.0, -14.0, -19.0,
            "Level of the separated vocal against the song, less 15 dB times the share of it on which two pitch "
            "trackers don't agree. What a separator takes for a singer where nobody sings is soft and has no clear "
            "melody: mostly below −19 dB; songs that are sung mostly have −4 to −10.",
        ),
        Scale(
            "fit", "Vocals found again in the song", "%", 97.0, 85.0, 50.0,
            "How much of the vocals is in the song at the same time. Separated vocals have 95 % and more; vocals of "
            "another song, or late by 50 ms, next to none.",
        ),
        Scale(
            "missing_of_song", "Song that is in neither stem", "dB", -40.0, -25.0, -6.0,
            "The song minus both stems, against the song. Separated stems sum to it; stems of elsewhere don't.",
        ),
        Scale(
            "cutoff", "End of the instrumental", "kHz", 18.0, 14.0, 6.0,
            "Above it the instrumental holds nothing although the song goes on: the cover sounds dull.",
        ),
        Scale(
            "bleed", "Instruments left in the separated vocal", "dB", -25.0, -12.0, 0.0,
            "Estimated level of the leaked instruments against the vocal: within 8 dB in four of five songs, since the "
            "true stems aren't known. Far down they hide behind the new voice; nearly as loud as the voice, the engine "
            "sings the instruments instead.",
        ),
        Scale(
            "leftover", "Original singer left in the cover", "dB", -22.0, -8.0, -1.0,
            "Estimated level of the original singer against the new vocal: within 2 dB on two of three songs with the "
            "embedded separator, within 8 dB with others. Nearly as loud as the new vocal, the old singer sings along.",
        ),
        Scale(
            "tracking_octaves", "Octave errors of the pitch track", "%", 1.0, 4.0, 20.0,
            "Share of the sung frames in which two other trackers agree that the pitch is an octave away from where "
            "the pitch track has it.",
        ),
        Scale(
            "tracking_agreement", "Pitch track confirmed by another tracker", "%", 95.0, 75.0, 30.0,
            "Share of the sung frames in which Praat finds the same note in the original vocal: over 90 % on a clean "
            "single voice, 50 to 75 % with harmonies in it. Bleed lowers it too.",
        ),
        Scale(
            "off_key", "Vocal against the key of the band", "semitones", 0.0, 0.1, 1.0,
            "Whole octaves keep the key. Anything else is another key than the band's: a fault from the first note on.",
        ),
        Scale(
            "range", "Melody beyond the voice's range", "semitones", 4.0, 9.0, 17.0,
            "How far the highest or lowest notes lie beyond those of the recordings, 5 semitones above granted, since "
            "every voice sings higher than it speaks.",
        ),
        Scale(
            "on_note", "Sung on the note", "%", 99.0, 88.0, 65.0,
            "Share of the voiced frames within half a semitone of the transposed original. The goal is 92 to 95 %; "
            "two trackers agree on about 95 % of the same clean vocal.",
        ),
        Scale(
            "out_of_tune", "Out of tune by", "cents", 5.0, 25.0, 60.0,
            "Median deviation from the notes. From about 20 cents on it is heard against a band.",
        ),
        Scale(
            "octave_errors", "Octave errors in the cover", "%", 0.5, 3.0, 15.0,
            "Share of the voiced frames that are sung an octave off. The goal is under 1 %.",
        ),
        Scale(
            "unsung", "Notes without a clear pitch", "%", 8.0, 25.0, 60.0,
            "Share of the original's voiced frames in which Praat finds no pitch in the cover: hoarse or whispered "
            "instead of sung. Trackers differ by about 10 % on where a note ends.",
        ),
        Scale(
            "missing", "Singing that went missing", "%", 0.0, 1.0, 6.0,
            "Share of the singing during which the new vocal is as good as silent. A lost word a minute is about 1 %.",
        ),
        Scale(
            "vocal_delay", "Delay of the vocal", "ms", 5.0, 20.0, 70.0,
            "Beyond about 20 ms singing is perceived as behind or ahead of the beat. Measured in steps of 10 ms.",
        ),
        Scale(
            "voice", "Way from the singer to the voice", "%", 60.0, 12.0, 0.0,
            "Similarity to the voice's recordings (cosine of speaker embeddings): 0 % is what the unconverted singer "
            "has, 100 % what two recordings of one voice have, .90. Singers differ in where they begin (.55 to .77), "
            "which says nothing of the cover.",
        ),
        Scale(
            "clicks", "Clicks in the new vocal", "per minute", 0.0, 3.0, 60.0,
            "Jumps of the waveform within a sample or two, which no singer makes.",
        ),
        Scale(
            "hiss", "Steady noise in the new vocal", "dB", -40.0, -32.0, -18.0,
            "What never falls away above 5 kHz while there is singing, against the vocal. Sibilants come and go; "
            "hiss stays.",
        ),
        Scale(
            "brightness", "Brightness of the new vocal, change", "dB", 4.0, 9.0, 25.0,
            "Sung tones from 3 to 10 kHz against those below, compared with the original vocal. Voices differ by "
            "several dB, and a song may lack its treble.",
        ),
        Scale(
            "crests", "Crests of the new vocal that are cut flat", "per second", 0.0, 5.0, 200.0,
            "Runs of equal samples at the highest level: distortion.",
        ),
        Scale(
            "unsteadiness", "Vocal level wandering", "dB", 1.0, 3.0, 6.0,
            "How far the new vocal's level strays from the original's, over 3 s. Up to 3 dB goes unnoticed in a mix.",
        ),
        Scale(
            "balance_shift", "Vocal against instrumental, change", "dB", 1.0, 3.0, 10.0,
            "Difference between the vocal's place in the mix before and after, less the requested change. Listeners "
            "notice about 2 dB on a lead vocal.",
        ),
        Scale(
            "loudness_difference", "Loudness, cover against song", "LU", 0.2, 1.0, 6.0,
            "The cover's integrated loudness is the song's, or the requested one. 1 LU is clearly audible.",
        ),
        Scale(
            "shortfall", "Softer than the song, for its dynamics", "LU", 0.5, 4.0, 20.0,
            "A loud song's peaks fit together by its mastering; those of other stems don't. To be as loud, the cover "
            "would have to be limited by more than 3 dB during over 1 % of the time.",
        ),
        Scale(
            "limiting", "Time with more than 3 dB of limiting", "%", 0.5, 2.0, 20.0,
            "Short reductions of a few dB go unnoticed; where they are frequent, the sound becomes flat and dull.",
        ),
        Scale(
            "distortion", "Cover that is neither vocal nor instrumental", "dB", -40.0, -20.0, -6.0,
            "What of the cover its two parts don't explain, however loud they are: noise, clipping, hard limiting.",
        ),
        Scale(
            "true_peak", "True peak of the cover", "dBTP", -1.0, -0.96, 1.0,
            "The ceiling is −1 dBTP (EBU R 128), so that lossy formats don't clip; above 0 the sound is cut. The "
            "0.04 dB are the measurement's own error.",
        ),
        Scale(
            "clipped", "Clipped samples in the cover", "per second", 0.0, 1.0, 500.0,
            "Runs of equal samples at full scale: the wave's top is cut off.",
        ),
        Scale(
            "bad_samples", "Samples that are not numbers", "samples", 0.0, 0.5, 1.0,
            "A NaN or infinite sample is silence or a crack in any player.",
        ),
        Scale(
            "delay", "Delay of the instrumental", "ms", 0.02, 0.05, 1.5,
            "The instrumental stays where it was in the song, to the sample.",
        ),
    )
}  # fmt: skip
