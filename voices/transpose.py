"""How many semitones higher or lower than the original singer a voice sings a song."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from understudy.audio.pitch import PitchTrack
from understudy.voices.voice import PitchRange

_LIFT = 5  # semitones between the middle of a voice's recordings and the middle of what it sings at ease
_RELUCTANCE = (0, 4, 12)  # semitones nearer that the song must come for 0, 1, 2 octaves to be worth the change
_STRAIN_ABOVE = _LIFT + 4  # semitones beyond what was heard of a voice at which a warning is due: every voice sings
_STRAIN_BELOW = 4  # higher than it speaks, and none much lower


@dataclass(frozen=True)
class Transposition:
    """`semitones`: what the vocal moves by in all, the key included. `octaves`: the octaves of it that were chosen here
    (0 when a number was asked for). `reason`: one plain sentence or two for the report. `warnings`: sentences for the
    user."""

    semitones: int
    octaves: int
    reason: str
    warnings: tuple[str, ...] = ()


def voice_pitch_range(tracks: Iterable[PitchTrack]) -> PitchRange | None:
    """5th percentile, median and 95th percentile in Hz of the voiced frames of all tracks together; None when nothing
    is voiced. The tracks must share one hop, so that every second counts alike."""
    voiced = [track.f0[track.voiced] for track in tracks]
    f0 = np.concatenate(voiced) if voiced else np.zeros(0, np.float32)
    if len(f0) == 0:
        return None
    low, median, high = (float(hz) for hz in np.percentile(f0, [5, 50, 95]))
    return PitchRange(low=low, median=median, high=high)


def choose_transpose(
    source: PitchTrack, voice: PitchRange | None, *, requested: int | Literal["auto"] = "auto", key: int = 0
) -> Transposition:
    """What a voice's vocal moves by against the original, whose pitch is `source`.

    `requested`: semitones that only the voice moves by, or ``auto``: whole octaves, -2 to 2, so that the song's key
    stays. `key`: semitones that the entire song moves by, the voice with it, on top of that.

    ``auto`` puts the song's median near the place where the voice sings at ease. Recordings are mostly speech, and
    people speak near the bottom of what they can sing: that place lies about 5 semitones above their median. Without
    this lift a man who speaks at 115 Hz would growl a man's song of 233 Hz an octave too low, and a woman who speaks at
    205 Hz a woman's song of 350 Hz. An octave is only left when that brings the song at least 4 semitones nearer
    (12 for two octaves): the original octave is what a listener expects, so it wins near ties. In sum it stays where
    the song's median lies 3 semitones below to 13 above that of the recordings.
    """
    sung = voice_pitch_range([source])
    if requested != "auto":
        octaves = 0
        reason = f"The voice sings {_moved(requested)}, as asked."
    elif sung is None:
        octaves = 0
        reason = "The voice keeps the octave of the song, in which no sung pitch was heard."
    elif voice is None:
        octaves = 0
        reason = "The voice keeps the octave of the song, because its own range is not known."
    else:
        octaves = _octaves(_semitones(sung.median, voice.median))
        reason = (
            f"The voice sings {_moved(12 * octaves)}: the song is sung around {note(sung.median)}, "
            f"the voice's recordings lie around {note(voice.median)}."
        )
    if key:
        reason += f" The entire song moves {abs(key)} {_plural(key)} {'up' if key > 0 else 'down'}, the voice with it."
    semitones = (12 * octaves if requested == "auto" else requested) + key
    warnings = list(_strain(sung, voice, semitones)) if sung and voice else []
    if requested != "auto" and requested % 12:
        warnings.append(
            f"The voice moves by {abs(requested)} {_plural(requested)} and the instrumental doesn't, so they are in "
            "different keys; set the key instead to move both."
        )
    return Transposition(semitones, octaves, reason, tuple(warnings))


def note(hz: float) -> str:
    """The nearest note's name in twelve-tone equal temperament (A4 = 440 Hz), with the pitch: ``A3 (220 Hz)``."""
    number = round(69 + 12 * float(np.log2(hz / 440)))
    names = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
    return f"{names[number % 12]}{number // 12 - 1} ({hz:.0f} Hz)"


def _octaves(above: float) -> int:
    """The octaves to move when the song's median lies `above` semitones over that of the recordings."""
    candidates = (0, -1, 1, -2, 2)  # the first of equals wins
    return min(candidates, key=lambda octaves: abs(above + 12 * octaves - _LIFT) + _RELUCTANCE[abs(octaves)])


def _strain(sung: PitchRange, voice: PitchRange, semitones: int) -> Iterable[str]:
    above = round(_semitones(sung.high, voice.high) + semitones)
    below = round(_semitones(voice.low, sung.low) - semitones)
    if above >= _STRAIN_ABOVE:
        yield (
            f"The highest notes lie {above} semitones above what the voice was heard to reach, "
            "so they may sound thin or strained; recordings with higher notes would help."
        )
    if below >= _STRAIN_BELOW:
        yield (
            f"The lowest notes lie {below} semitones below what the voice was heard to reach, "
            "so they may sound rough; recordings with lower notes would help."
        )


def _semitones(hz: float, reference: float) -> float:
    return 12 * float(np.log2(hz / reference))


def _moved(semitones: int) -> str:
    if semitones == 0:
        return "at the song's own pitch"
    octaves, rest = divmod(abs(semitones), 12)
    amount = f"{abs(semitones)} {_plural(semitones)}" if rest else "an octave" if octaves == 1 else f"{octaves} octaves"
    return f"{amount} {'higher' if semitones > 0 else 'lower'}"


def _plural(semitones: int) -> str:
    return "semitone" if abs(semitones) == 1 else "semitones"
