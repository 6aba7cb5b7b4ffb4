"""The transposition of a voice against the original singer, in semitones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from understudy.audio.pitch import PitchTrack
from understudy.voices.voice import PitchRange
from understudy.wording import counted

_LIFT = 5  # semitones between the median of a voice's recordings and the middle of its comfortable singing range
_RELUCTANCE = (0, 4, 12)  # semitones nearer that 0, 1, 2 octaves must bring the song to be chosen
# Semitones beyond the recordings' range from which on there is a warning: every voice sings higher than it speaks, and
# none much lower.
_STRAIN_ABOVE = _LIFT + 4
_STRAIN_BELOW = 4


@dataclass(frozen=True)
class Transposition:
    """`semitones`: the total transposition of the vocal, the key included. `octaves`: the octaves that were chosen
    automatically (0 for a requested number). `reason`: sentences for the report. `warnings`: for the user."""

    semitones: int
    octaves: int
    reason: str
    warnings: tuple[str, ...] = ()


def track_pitch_range(track: PitchTrack) -> PitchRange | None:
    """The 5th percentile, median and 95th percentile in Hz of the voiced frames; None when nothing is voiced."""
    if not track.voiced.any():
        return None
    low, median, high = (float(hz) for hz in np.percentile(track.f0[track.voiced], [5, 50, 95]))
    return PitchRange(low=low, median=median, high=high)


def choose_transpose(
    source: PitchTrack, voice: PitchRange | None, *, requested: int | Literal["auto"] = "auto", key: int = 0
) -> Transposition:
    """The transposition of a voice against the original, whose pitch is `source`.

    `requested`: semitones for the voice only, or ``auto``: whole octaves, -2 to 2, so that the song's key stays. `key`:
    semitones by which the entire song is transposed, including the voice, in addition.

    ``auto`` brings the song's median near the middle of the voice's comfortable range. Recordings are mostly speech,
    and people speak near the bottom of their singing range: the middle lies about 5 semitones above their median.
    Without this offset a man who speaks at 115 Hz would sing a man's song of 233 Hz an octave too low, and a woman who
    speaks at 205 Hz a woman's song of 350 Hz. The octave only changes when that brings the song at least 4 semitones
    nearer (12 for two octaves), because listeners expect the original octave. It stays where the song's median lies
    between 3 semitones below and 13 above that of the recordings.
    """
    sung = track_pitch_range(source)
    octaves = 0
    if requested != "auto":
        reason = f"The voice sings {_moved(requested)}, as requested."
    elif sung is None:
        reason = "The voice keeps the octave of the song, in which no sung pitch was found."
    elif voice is None:
        reason = "The voice keeps the octave of the song, because its own range is not known."
    else:
        octaves = _octaves(_semitones(sung.median, voice.median))
        reason = (
            f"The voice sings {_moved(12 * octaves)}: the song is sung around {note(sung.median)}, "
            f"the voice's recordings lie around {note(voice.median)}."
        )
    if key:
        moves = f"{counted(abs(key), 'semitone')} {'up' if key > 0 else 'down'}"
        reason += f" The entire song moves {moves}, the voice with it."
    semitones = (12 * octaves if requested == "auto" else requested) + key
    warnings = list(_strain(sung, voice, semitones)) if sung and voice else []
    if sung is None:
        warnings.append(
            "No singing was found: there is nothing that the voice could sing. Choose a song or a part with singing, "
            "or give the vocal itself with --vocals."
        )
    if requested != "auto" and requested % 12:
        warnings.append(
            f"The voice moves by {counted(abs(requested), 'semitone')} and the instrumental doesn't, so they are in "
            f"different keys. --key {requested + key} moves both."
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
    above, below = (round(distance) for distance in _distances(sung, voice, semitones))
    if above >= _STRAIN_ABOVE:
        yield (
            f"The highest notes lie {above} semitones above those of the voice's recordings, "
            "so they may sound thin or strained; recordings with higher notes would help."
        )
    if below >= _STRAIN_BELOW:
        yield (
            f"The lowest notes lie {below} semitones below those of the voice's recordings, "
            "so they may sound rough; recordings with lower notes would help."
        )


def beyond(sung: PitchRange, voice: PitchRange) -> float:
    """Semitones by which singing reaches above a voice's recordings, `_LIFT` granted, or below them (negative)."""
    above, below = _distances(sung, voice)
    return max(0.0, above - _LIFT) if above - _LIFT > below else -max(0.0, below)


def _distances(sung: PitchRange, voice: PitchRange, semitones: int = 0) -> tuple[float, float]:
    """How far the singing, moved by `semitones`, lies above the voice's highest notes, and below its lowest."""
    return _semitones(sung.high, voice.high) + semitones, _semitones(voice.low, sung.low) - semitones


def _semitones(hz: float, reference: float) -> float:
    return 12 * float(np.log2(hz / reference))


def _moved(semitones: int) -> str:
    if semitones == 0:
        return "at the song's own pitch"
    octaves, rest = divmod(abs(semitones), 12)
    amount = counted(abs(semitones), "semitone") if rest else "an octave" if octaves == 1 else f"{octaves} octaves"
    return f"{amount} {'higher' if semitones > 0 else 'lower'}"
