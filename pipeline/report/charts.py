"""Charts of values over steps of a training, as inline SVG. Scales stand outside of the drawing, so that it stretches
to any width; the style sheet colours it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 600, 180


@dataclass(frozen=True)
class Line:
    """`points`: (step, value) in order; NaN breaks the line. `kind`: a style class. `dots`: mark every point. `bar`:
    (step, lowest, highest value) that is to be marked, an uncertainty."""

    kind: str
    points: Sequence[tuple[float, float]]
    dots: bool = False
    bar: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Chart:
    """`drawing`: of any width, `HEIGHT` high. `values`: the scale to its left; `steps`: the one under it. All SVG."""

    drawing: str
    values: str
    steps: str


def chart(lines: Sequence[Line], label: str, *, chosen: int | None = None) -> Chart:
    """A chart of `lines`. `label` tells a screen reader what is to be seen. `chosen`: a step to mark."""
    finite = [point for line in lines for point in line.points if math.isfinite(point[1])]
    steps = [step for step, _ in finite] or [0.0]
    bars = [(line.kind, *line.bar) for line in lines if line.bar and all(map(math.isfinite, line.bar))]
    values = [value for _, value in finite] + [value for _, _, *ends in bars for value in ends] or [0.0]
    across, up = ticks(min(steps), max(steps), 5), ticks(min(values), max(values), 4)
    left, right = min(steps), max(max(steps), min(steps) + 1e-9)
    low, high = min(up[0], min(values)), max(up[-1], max(values))
    if low == high:
        low, high = low - 1, high + 1

    def x(step: float) -> float:
        return WIDTH * (step - left) / (right - left)

    def y(value: float) -> float:
        return HEIGHT * (high - value) / (high - low)

    parts = [
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}">'
    ]
    inside = [(value, name) for value, name in zip(up, _texts(up), strict=True) if low <= value <= high]
    parts += [f'<path class="grid" d="M0 {y(value):.1f}H{WIDTH}"/>' for value, _ in inside]
    if chosen is not None and left <= chosen <= right:
        parts.append(f'<path class="chosen-step" d="M{x(chosen):.1f} 0V{HEIGHT}"/>')
    for line in lines:
        path, drawing = "", False
        for step, value in line.points:
            if math.isfinite(value):
                path += f"{'L' if drawing else 'M'}{x(step):.1f} {y(value):.1f}"
            drawing = math.isfinite(value)
        if path:
            parts.append(f'<path class="curve {line.kind}" d="{path}"/>')
        if line.dots:  # a path of no length has round ends, which keep their form in a stretched drawing
            dots = "".join(f"M{x(step):.1f} {y(value):.1f}h0" for step, value in line.points if math.isfinite(value))
            parts.append(f'<path class="dots {line.kind}" d="{dots}"/>')
    for kind, step, bottom, top in bars:
        parts.append(f'<path class="bar {kind}" d="M{x(step):.1f} {y(bottom):.1f}V{y(top):.1f}"/>')
    parts.append("</svg>")
    values_svg = "".join(f'<text x="38" y="{y(value) + 4:.1f}">{name}</text>' for value, name in inside)
    steps_svg = "".join(_under(x(step) / WIDTH, f"{step:,.0f}") for step in across if left <= step <= right)
    return Chart(
        "".join(parts),
        f'<svg class="scale" width="44" height="{HEIGHT}" aria-hidden="true">{values_svg}</svg>',
        f'<svg class="clock" aria-hidden="true">{steps_svg}</svg>',
    )


def _under(share: float, text: str) -> str:
    anchor = "start" if share < 0.03 else "end" if share > 0.97 else "middle"
    return f'<text x="{100 * share:.2f}%" y="13" text-anchor="{anchor}">{text}</text>'


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round values 1, 2 or 5 times a power of ten apart, that cover `low`..`high` in about `most` intervals."""
    span = high - low
    if not span > 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * number for number in range(first, last + 1)]


def _texts(values: Sequence[float]) -> list[str]:
    """The values with as many decimals as their distance needs."""
    distance = values[1] - values[0] if len(values) > 1 else abs(values[0])
    decimals = max(0, -math.floor(math.log10(distance) + 1e-9)) if distance > 0 else 0
    return [f"{value:,.{min(decimals, 6)}f}".replace("-", "−") for value in values]
