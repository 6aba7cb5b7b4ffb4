"""Accuracy of the transcription of stems whose score is known.

    python -m benchmarks.notes

The demo song's vocals (lead with doubles, second part, reverb and consonants), true and as separated by the embedded
separator; random melodies of a synthesised singer; the demo song's bass; and, if basic-pitch is installed, random
chords of plucked strings. F1 of notes (Bay, Ehmann, Downie 2009): a note is correct if it begins within 50 ms and has
the semitone of the score; its end is ignored. All random numbers are seeded: the same machine prints the same table,
except for the seconds.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from demo import instruments
from demo.score import BEAT, CHORDS, LINES, PROGRESSION
from tests.support.note_scores import melody, note_f1, score
from tests.support.signals import pluck, singing
from understudy.audio.files import decode
from understudy.audio.midi import Note
from understudy.audio.pitch import PitchSettings, track
from understudy.audio.samples import Audio, AudioSource
from understudy.audio.transcription.polyphonic import polyphonic_notes
from understudy.audio.transcription.sung import levels, sung_notes
from understudy.context import Context
from understudy.models import usable
from understudy.pipeline.separation.embedded.separate import separate_embedded
from understudy.pipeline.stages.transcribe import BASS

DEMO = Path(__file__).parents[1] / "demo"
RATE = 44100
Score = list[tuple[float, float]]


def sung(context: Context, source: AudioSource, settings: PitchSettings) -> list[Note]:
    pitch = track(context, source, settings)
    return sung_notes(pitch, levels(context, source, pitch.hop, pitch.frames))


def bass_score() -> Score:
    """The notes of `demo.instruments.bass`."""
    found: Score = []
    for bar, (name, section) in enumerate(zip(PROGRESSION, instruments.sections(), strict=True)):
        root = CHORDS[name][0] - 12 * (CHORDS[name][0] > 43)
        beats = {"verse": (0, 1.5, 2.5, 3.5), "chorus": tuple(n / 2 for n in range(8))}.get(section, (0,))
        fifth = len(beats) - 2 if section == "verse" else -1
        found += [((4 * bar + beat) * BEAT, root + 7 * (n == fifth)) for n, beat in enumerate(beats)]
    return found


def plucked(seed: int, seconds: int = 30) -> tuple[Audio, Score]:
    """Three random strings at a time, which includes clusters that no guitarist would play."""
    random = np.random.default_rng(seed)
    sound, found, at = np.zeros((seconds + 2) * RATE), list[tuple[float, float]](), 0.5
    while at < seconds - 2:
        for pitch in random.choice(np.arange(40, 76), 3, replace=False).tolist():
            tone = pluck(pitch, RATE, 1.0, random)
            begin = round(at * RATE)
            sound[begin : begin + len(tone)] += 0.2 * tone
            found.append((at, pitch))
        at += float(random.choice([0.4, 0.6, 0.9]))
    return Audio.of(sound[: seconds * RATE], RATE), found


def rows(context: Context) -> Iterator[tuple[str, Score, list[Note], float]]:
    lead: Score = [(note.start * BEAT, note.pitch) for line in LINES for note in line.notes]
    vocals = decode(context, DEMO / "stems" / "vocals.m4a", context.folder / "true.npy")
    song = decode(context, DEMO / "song.mp3", context.folder / "song.npy")
    separated = separate_embedded(context, song)["vocals"]
    melodies = [melody(40, seed) for seed in range(4)]
    singers = [singing(notes, seed=seed, vibrato=80.0 if seed > 1 else 30.0)[0] for seed, notes in enumerate(melodies)]
    cases: list[tuple[str, AudioSource, Score, PitchSettings | None]] = [
        ("demo song, true vocals", vocals, lead, PitchSettings()),
        ("demo song, separated by 'embedded'", separated, lead, PitchSettings()),
        *((f"singer {n}", singers[n], score(melodies[n]), PitchSettings()) for n in range(4)),
        ("demo song, bass", Audio.of(instruments.bass(), RATE), bass_score(), BASS),
    ]
    if usable("basic-pitch"):
        cases.append(("demo song, bass (basic-pitch)", Audio.of(instruments.bass(), RATE), bass_score(), None))
        cases += [(f"plucked chords {seed} (basic-pitch)", *plucked(seed), None) for seed in (3, 4)]
    for name, sound, true, settings in cases:
        begun = time.perf_counter()
        notes = polyphonic_notes(context, sound) if settings is None else sung(context, sound, settings)
        yield name, true, notes, (time.perf_counter() - begun) / sound.frames * sound.rate


def main() -> None:
    print(f"{'':40}{'notes':>7}{'found':>7}{'F1':>8}{'100 ms':>8}{'s per s':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for name, true, notes, seconds in rows(Context(Path(folder), workers=2)):
            f1, wide = note_f1(true, notes), note_f1(true, notes, 0.1)
            print(f"{name:40}{len(true):7}{len(notes):7}{f1:8.3f}{wide:8.3f}{seconds:9.3f}")


if __name__ == "__main__":
    main()
