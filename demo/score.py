"""The score of the demo song: lyrics, melody, chords and form. All of it was written for this project.

"Understudy", A major, 96 beats per minute, 4/4. Form in bars: intro 2, verse 4, chorus 4, break 2, chorus 4, end 1.
"""

from __future__ import annotations

from dataclasses import dataclass

TITLE, ARTIST, ALBUM = "Understudy", "The Prompt Corner", "Made by a script"
TEMPO = 96.0
BEAT = 60.0 / TEMPO
BAR = 4 * BEAT
TAIL = 1.9  # seconds of decay after the last bar
SECTIONS = (("intro", 0, 2), ("verse", 2, 6), ("chorus", 6, 10), ("break", 10, 12), ("chorus", 12, 16), ("end", 16, 17))
BARS = 17
DURATION = BARS * BAR + TAIL

# one chord per bar: name, bass note, notes of the keys and guitar (MIDI numbers)
CHORDS = {
    "F#m": (42, (54, 57, 61, 66)),
    "D": (38, (54, 57, 62, 66)),
    "A": (45, (52, 57, 61, 64)),
    "E": (40, (52, 56, 59, 64)),
}
VERSE, CHORUS = ("F#m", "D", "A", "E"), ("D", "E", "F#m", "A")
PROGRESSION = ("F#m", "D", *VERSE, *CHORUS, "F#m", "D", *CHORUS, "A")


@dataclass(frozen=True)
class Sung:
    """The note of one syllable: `pitch` as a MIDI number, `start` and length in beats, and `harmony`, the pitch of the
    second part, if any."""

    pitch: int
    start: float
    beats: float
    harmony: int | None = None


@dataclass(frozen=True)
class Line:
    """A phrase. One note for each vowel of `text`, in order. `loud`: dynamics in dB."""

    text: str
    notes: tuple[Sung, ...]
    loud: float


def _line(text: str, bar: int, loud: float, *steps: tuple[int | None, float] | tuple[int, float, int]) -> Line:
    at, notes = 4.0 * bar, []
    for step in steps:
        pitch, beats = step[0], step[1]
        if pitch is not None:
            notes.append(Sung(pitch, at, beats, step[2] if len(step) == 3 else None))
        at += beats
    return Line(text, tuple(notes), loud)


LINES = (
    _line(
        "I learned your lines when the lights were low",
        *(2, -0.8, (None, 0.5), (61, 0.5), (61, 1), (59, 0.5), (57, 1.5)),
        *((57, 0.5), (59, 0.5), (61, 1), (59, 0.5), (57, 1.1)),
    ),
    _line(
        "humming in the wings where no one goes",
        *(4, -0.5, (None, 0.5), (61, 0.5), (61, 0.5), (62, 0.5), (64, 0.5), (64, 1.5)),
        *((64, 0.5), (62, 0.5), (61, 1), (59, 1.6)),
    ),
    _line(
        "so let me sing it sing it for you",
        *(6, 0.0, (66, 1), (66, 0.5), (64, 0.5), (66, 1), (69, 1)),
        *((71, 1), (68, 0.5), (64, 0.5), (68, 1.5)),
    ),
    _line(
        "every word every line I knew",
        *(8, 0.5, (69, 0.5), (68, 0.5), (66, 2), (64, 0.5), (61, 0.5)),
        *((64, 1.5), (61, 1), (64, 1.4)),
    ),
    _line(
        "so let me sing it sing it for you",
        *(12, 0.5, (66, 1, 62), (66, 0.5, 62), (64, 0.5, 61), (66, 1, 62), (69, 1, 66)),
        *((71, 1, 68), (68, 0.5, 64), (64, 0.5, 59), (68, 1.5, 64)),
    ),
    _line(
        "same old song in a voice brand new",
        *(14, 1.0, (69, 1, 66), (68, 1, 64), (66, 1.5, 61), (64, 0.5, 61)),
        *((61, 0.5, 57), (64, 1.5, 61), (68, 1, 64), (69, 3.5, 64)),
    ),
)

SENTENCES = (
    "Every theatre keeps somebody who knows the whole play by heart, and hopes to be needed one evening.",
    "The lamps go down, the curtain moves, and a quiet figure joins the choir in the blue light.",
)
# the voice to clone sings a scale up and down, then a phrase, an octave below the lead of the song
SCALE_LINES = (
    _line(
        "now we all go on up and may be low",
        *(
            0,
            0.0,
            (None, 0.5),
            (45, 1),
            (47, 1),
            (49, 1),
            (50, 1),
            (52, 1),
            (54, 1),
            (57, 1),
            (61, 1),
            (57, 1),
            (45, 2),
        ),
    ),
    _line(
        "hear me sing your lines in a voice of my own",
        *(0, 0.5, (None, 0.5), (57, 1), (56, 0.5), (54, 1.5), (52, 0.5), (54, 1.5), (49, 0.5), (50, 0.5)),
        *((52, 1.5), (49, 0.5), (47, 0.5), (45, 2.5)),
    ),
)
