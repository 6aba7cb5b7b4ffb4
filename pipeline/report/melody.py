"""The plot of the melody: what should have been sung, and what was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.audio.pitch import PitchTrack
from understudy.pipeline.report.assessment import Melody
from understudy.pipeline.report.intonation import at_times
from understudy.pipeline.report.svg import Curve, plot

_MOST_POINTS = 24000  # about 200 kB of page


def draw_melody(file: Path, wanted: PitchTrack, sung: PitchTrack, duration: float, on_note: float) -> Melody:
    """Draw both tracks into the SVG `file`. `on_note`: share 0..1, for those who can't see the plot."""
    hop = max(0.02, duration / _MOST_POINTS)
    frames = int(duration / hop) + 1
    lines = [_notes(track, frames, hop) for track in (wanted, sung)]
    both = lines[0][np.isfinite(lines[0])]
    low, high = np.percentile(both, (0.5, 99.5)) if both.size else (57.0, 69.0)
    low, high = float(np.floor(low) - 2), float(np.ceil(high) + 2)
    step = 1 if high - low <= 14 else 2 if high - low <= 28 else 4
    names = [(float(note), _name(int(note))) for note in np.arange(low, high + 1) if (int(note) - 60) % step == 0]
    width = int(np.clip(duration * 24, 960, 28000))
    label = (
        f"Melody over time: the original, moved to where the voice sings, and the cover. "
        f"{100 * on_note:.0f} percent of the cover is on the note."
    )
    drawing = plot(
        [Curve("song", lines[0], hop), Curve("cover", lines[1], hop)],
        duration,
        low=low,
        high=high,
        marks=names,
        label=label,
        width=width,
        height=300,
        ticks=width // 90,
    )
    file.write_text(drawing, encoding="utf-8", newline="\n")
    return Melody(file, width, tuple(((high - value) / (high - low), name) for value, name in names))


def _notes(track: PitchTrack, frames: int, hop: float) -> NDArray[np.float64]:
    f0 = at_times(track, np.arange(frames) * hop)
    with np.errstate(divide="ignore"):
        notes = np.where(f0 > 0, 69 + 12 * np.log2(np.maximum(f0, 1e-9) / 440), np.nan)
    # between far notes nothing was sung: a line there would look as if it was
    notes[1:][np.abs(np.diff(notes)) > 3] = np.nan
    return notes


def _name(note: int) -> str:
    return f"{('C', 'C♯', 'D', 'D♯', 'E', 'F', 'F♯', 'G', 'G♯', 'A', 'A♯', 'B')[note % 12]}{note // 12 - 1}"
