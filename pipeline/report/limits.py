"""Where a figure stops being good: every limit with its reason, in one place.

A figure between `good` and `wrong` deserves attention; beyond `wrong` something is wrong. Limits come from standards
where there is one, else from measurements of covers that are known to be good or bad; `reason` says which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from understudy.pipeline.separation.quality import CLEAN

STAGES = ("separate", "pitch", "convert", "finish", "remix")
"""The stages that can be blamed, in the order of the graph."""


Severity: TypeAlias = Literal["good", "mind", "wrong"]


@dataclass(frozen=True)
class Limit:
    """`name`: of the figure, as in the JSON. `label`: for people. `unit`: as printed. `more_is_better`: which
    way is good. `good` and `wrong`: the two limits, in `unit`."""

    name: str
    label: str
    unit: str
    more_is_better: bool
    good: float
    wrong: float
    reason: str

    def verdict(self, value: float) -> Severity:
        """``good``, ``mind`` or ``wrong``."""
        sign = 1 if self.more_is_better else -1
        if sign * value >= sign * self.good:
            return "good"
        return "wrong" if sign * value < sign * self.wrong else "mind"


LIMITS = {
    limit.name: limit
    for limit in (
        Limit(
            "bleed", "Instruments left in the separated vocal", "dB", False, CLEAN, -3.0,
            "Estimated level of the leaked instruments against the vocal: within 8 dB in four of five songs, since the "
            "true stems aren't known. Far down they hide behind the new voice; nearly as loud as the voice, the engine "
            "sings the instruments instead. In between a cover may well be good.",
        ),
        Limit(
            "residue", "Voice left in the instrumental", "dB", False, CLEAN, -3.0,
            "Estimated level of the original singer that is left in the instrumental, against it. It is audible "
            "beside the new voice where that one pauses or sings something else.",
        ),
        Limit(
            "leftover", "Original singer left in the cover", "dB", False, -8.0, -1.0,
            "Estimated level of the original singer against the new vocal, after the singer removal: within 2 dB on "
            "two of three songs with known stems, where the embedded separator left −4 to −12 dB. Nearly as loud as "
            "the new vocal, the old singer sings along.",
        ),
        Limit(
            "brightness", "Brightness of the new vocal, change", "dB", False, 8.0, 30.0,
            "Sung tones from 3 to 10 kHz against those below, compared with the original vocal. Voices differ by "
            "several dB, and a song may lack its treble.",
        ),
        Limit(
            "tracking_octaves", "Octave errors of the pitch track", "%", False, 5.0, 25.0,
            "Share of the sung frames in which Praat and the pitch track disagree by an octave on the original vocal: "
            "3 to 4 % on a clean single voice, where either may err; 13 % on a duet in octaves.",
        ),
        Limit(
            "tracking_agreement", "Pitch track confirmed by a second tracker", "%", True, 80.0, 35.0,
            "Share of the sung frames in which Praat finds the same note in the original vocal: over 90 % on a clean "
            "single voice, 50 to 75 % with harmonies in it. Bleed lowers it too.",
        ),
        Limit(
            "on_note", "Sung on the note", "%", True, 90.0, 75.0,
            "Share of the voiced frames within half a semitone of the transposed original. The goal is 92 to 95 %; "
            "two trackers agree on about 95 % of the same clean vocal.",
        ),
        Limit(
            "octave_errors", "Octave errors in the cover", "%", False, 1.0, 4.0,
            "Share of the voiced frames that are sung an octave off. The goal is under 1 %.",
        ),
        Limit(
            "unsung", "Notes without a clear pitch", "%", False, 20.0, 40.0,
            "Share of the original's voiced frames in which Praat finds no pitch in the cover: hoarse or whispered "
            "instead of sung. Trackers differ by about 10 % on where a note ends.",
        ),
        Limit(
            "missing", "Singing that went missing", "%", False, 1.0, 5.0,
            "Share of the singing during which the new vocal is as good as silent. A lost word a minute is about 1 %.",
        ),
        Limit(
            "missing_finished", "Singing lost in finishing", "%", False, 1.0, 5.0,
            "Share of the singing that the engine sang but that is as good as silent after the finish stage.",
        ),
        Limit(
            "vocal_delay", "Delay of the vocal", "ms", False, 15.0, 40.0,
            "Beyond about 20 ms singing is perceived as behind or ahead of the beat. Measured in steps of 10 ms.",
        ),
        Limit(
            "voice", "Likeness to the voice", "", True, 0.68, 0.60,
            "Cosine of speaker embeddings (of the loudest 40 s). Two recordings of one speaker reach about .90, an "
            "unconverted singer .59; the goal is .70.",
        ),
        Limit(
            "voice_lead", "Nearer to the voice than to the singer by", "", True, 0.0, -0.2,
            "Difference of the two likenesses. Below zero, the original singer shows through the new voice; a "
            "vocal that was only moved in pitch stands at −.23 to −.33.",
        ),
        Limit(
            "clicks", "Clicks in the new vocal", "per minute", False, 2.0, 15.0,
            "Jumps of the waveform within a sample or two, which no singer makes.",
        ),
        Limit(
            "unsteadiness", "Vocal level wandering", "dB", False, 3.0, 6.0,
            "How far the new vocal's level strays from the original's, over 3 s. Up to 3 dB goes unnoticed in a mix.",
        ),
        Limit(
            "balance_shift", "Vocal against instrumental, change", "dB", False, 2.5, 6.0,
            "Difference between the vocal's place in the mix before and after, less the requested change. Listeners "
            "notice about 2 dB on a lead vocal.",
        ),
        Limit(
            "loudness_difference", "Loudness, cover against song", "LU", False, 0.3, 1.0,
            "The cover's integrated loudness is the song's, or the requested one. 1 LU is clearly audible.",
        ),
        Limit(
            "shortfall", "Softer than the song, for its dynamics", "LU", False, 2.0, 10.0,
            "A loud song's peaks fit together by its mastering; those of other stems don't. To be as loud, the cover "
            "would have to be limited by more than 3 dB during over 1 % of the time.",
        ),
        Limit(
            "limiting", "Time with more than 3 dB of limiting", "%", False, 1.5, 10.0,
            "Short reductions of a few dB go unnoticed; where they are frequent, the sound becomes flat and dull.",
        ),
        Limit(
            "true_peak", "True peak of the cover", "dBTP", False, -0.96, 0.0,
            "The ceiling is −1 dBTP (EBU R 128), so that lossy formats don't clip; above 0 the sound is cut. The "
            "0.04 dB are the measurement's own error.",
        ),
        Limit(
            "clipped", "Clipped samples in the cover", "samples", False, 0.0, 20.0,
            "Runs of equal samples at full scale: the wave's top is cut off.",
        ),
        Limit(
            "bad_samples", "Samples that are not numbers", "samples", False, 0.0, 0.0,
            "A NaN or infinite sample is silence or a crack in any player.",
        ),
        Limit(
            "delay", "Delay of the instrumental", "samples", False, 0.0, 2.0,
            "The instrumental stays where it was in the song, to the sample.",
        ),
    )
}  # fmt: skip
