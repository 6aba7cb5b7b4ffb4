"""Random melodies, and how well notes match a score: the note F1 of transcription (Bay, Ehmann, Downie 2009), onsets
within 50 ms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from tests.support import signals
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


def melody(count: int, seed: int, shortest: float = 0.2) -> list[signals.Note]:
    """A random walk with rests; a note of the same pitch as the one before begins with a consonant."""
    random = np.random.default_rng(seed)
    notes: list[signals.Note] = []
    pitch = 57
    while len([note for note in notes if note.pitch is not None]) < count:
        if random.random() < 0.15:
            notes.append(signals.Note(None, float(random.uniform(0.15, 0.5))))
        step = int(random.choice([-4, -2, -1, 0, 1, 2, 3]))
        pitch = int(np.clip(pitch + step, 48, 70))
        onset = "s" if step == 0 or random.random() < 0.3 else ""
        notes.append(signals.Note(pitch, float(random.uniform(shortest, 0.8)), "aeiou"[random.integers(5)], onset))
    return notes


def score(notes: list[signals.Note]) -> list[tuple[float, float]]:
    """(onset in seconds, MIDI number) of each note."""
    found, now = [], 0.0
    for note in notes:
        if note.pitch is not None:
            found.append((now + (0.12 if note.onset == "s" else 0.0), note.pitch))
        now += note.seconds
    return found
