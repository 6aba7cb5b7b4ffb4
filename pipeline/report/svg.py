"""Curves over time as inline SVG, coloured by the page's style sheet so that they follow light and dark."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Curve:
    """`values` ``[points]`` every `step` seconds; NaN breaks the line. `kind`: style class, ``song`` or ``cover``."""

    kind: str
    values: NDArray[np.floating]
    step: float


def clock(seconds: float) -> str:
    """``75`` is ``1:15``."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


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
