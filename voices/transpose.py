"""How many semitones higher or lower a voice sings a song."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from audio.pitch import PitchTrack
from voices.voice import PitchRange


@dataclass(frozen=True)
class Transposition:
    """`semitones`: what the vocal moves by in all, the key included. `octaves`: the part of it that `auto` chose.
    `reason`: a sentence for the report. `warnings`: sentences for the user."""

    semitones: float
    octaves: int
    reason: str
    warnings: tuple[str, ...] = ()


def voice_pitch_range(tracks: Iterable[PitchTrack]) -> PitchRange | None:
    """5th percentile, median and 95th percentile of all voiced frames in Hz; None when nothing is voiced."""
    voiced = [track.f0[track.voiced] for track in tracks]
    f0 = np.concatenate(voiced) if voiced else np.zeros(0, np.float32)
    if len(f0) == 0:
        return None
    low, median, high = (float(hz) for hz in np.percentile(f0, [5, 50, 95]))
    return PitchRange(low=low, median=median, high=high)


def choose_transpose(
    source: PitchTrack, voice: PitchRange | None, *, requested: int | Literal["auto"] = "auto", key: int = 0
) -> Transposition:
    """What the voice's vocal moves by so that the song suits the voice."""
    if requested != "auto":
        return Transposition(requested + key, 0, f"The vocal was moved by {requested:+d} semitones, as asked.")
    sung = voice_pitch_range([source])
    if sung is None or voice is None:
        return Transposition(key, 0, "No pitch was heard, so the vocal keeps its octave.")
    octaves = int(np.clip(round(float(np.log2(voice.median / sung.median))), -2, 2))
    return Transposition(12 * octaves + key, octaves, f"The vocal moves by {octaves:+d} octaves.")
