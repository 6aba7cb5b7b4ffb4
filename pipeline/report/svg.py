"""Curves over time as inline SVG, coloured by the page's style sheet so that they follow light and dark."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.audio.pitch import PitchTrack
from understudy.pipeline.report.assessment import Melody
from understudy.pipeline.report.intonation import at_times
from understudy.wording import clock

_MOST_POINTS = 24000  # of the melody: about 200 kB of page


@dataclass(frozen=True, eq=False)
class Curve:
    """`values` ``[points]`` every `step` seconds; NaN breaks the line. `kind`: style class, ``song`` or ``cover``."""

    kind: str
    values: NDArray[np.floating]
    step: float


def time_ticks(duration: float, most: int) -> list[float]:
    """Round times from 0 up to `duration`, at most `most` steps."""
    for step in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200):
        if duration / step <= most:
            break
    return [float(at) for at in np.arange(0, duration + 1e-9, step)]


def plot(
    curves: Sequence[Curve],
    duration: float,
    *,
    low: float,
    high: float,
    marks: Sequence[tuple[float, str]],
    label: str,
    width: int = 1000,
    height: int = 220,
    ticks: int = 10,
) -> str:
    """An SVG of `curves` between values `low` and `high`; `marks` are (value, text) lines on the scale.

    `label` tells a screen reader what is to be seen.
    """

    def x(seconds: float) -> str:
        return f"{width * seconds / max(duration, 1e-9):.1f}"

    def y(value: float) -> str:
        return f"{height * (high - value) / (high - low):.1f}"

    parts = [
        f'<svg class="plot" viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}">'
    ]
    for value, _ in marks:
        parts.append(f'<line class="grid" x1="0" x2="{width}" y1="{y(value)}" y2="{y(value)}"/>')
    for at in time_ticks(duration, ticks):
        parts.append(f'<line class="grid" x1="{x(at)}" x2="{x(at)}" y1="0" y2="{height}"/>')
    for curve in curves:
        lines = "".join(_path(curve, x, y, low, high))
        if lines:
            parts.append(f'<path class="curve {curve.kind}" d="{lines}"/>')
    parts.append("</svg>")
    return "".join(parts)


def _path(curve: Curve, x: Callable[[float], str], y: Callable[[float], str], low: float, high: float) -> Iterator[str]:
    """Path commands; the pen is lifted at NaN, and values beyond the scale run along its edge."""
    drawing = False
    for position, value in enumerate(curve.values.tolist()):
        if value != value:  # NaN
            drawing = False
            continue
        yield f"{'L' if drawing else 'M'}{x(position * curve.step)} {y(min(max(value, low), high))}"
        drawing = True


def clock_scale(duration: float, most: int) -> str:
    """Times to stand under a plot of any width, as an SVG whose places are shares of that width."""
    texts = []
    for at in time_ticks(duration, most):
        share = 100 * at / max(duration, 1e-9)
        if share <= 97:  # a time at the very end would be cut off
            texts.append(f'<text x="{share:.2f}%" y="13">{clock(at)}</text>')
    return f'<svg class="clock" aria-hidden="true">{"".join(texts)}</svg>'


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
