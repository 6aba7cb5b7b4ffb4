"""How well notes match a score: the note F1 of transcription (Bay, Ehmann, Downie 2009), onsets within 50 ms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from understudy.audio.midi import Note


def note_f1(score: Sequence[tuple[float, float]], notes: Sequence[Note], tolerance: float = 0.05) -> float:
    """Score: (onset in seconds, MIDI number) of each note; pitches within 50 cents match."""
    if not score or not notes:
        return float(len(score) == len(notes))
    match = np.array(
        [[abs(at - n.start) <= tolerance and abs(pitch - n.pitch) <= 0.5 for n in notes] for at, pitch in score], float
    )
    rows, columns = linear_sum_assignment(-match)
    return float(2 * match[rows, columns].sum() / (len(score) + len(notes)))
