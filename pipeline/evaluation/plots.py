"""Plots of an evaluation as inline SVG, coloured by the page's style sheet so that they follow light and dark."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape

import numpy as np

_WIDTH, _ROW, _LEFT, _RIGHT = 1000, 34, 220, 20
_SPREAD = 16  # pixels over which the songs of a strip are scattered
HUES = 6
"""Classes ``hue0`` to ``hue5`` colour the separators, in order."""


def strips(values: Mapping[str, Mapping[str, float]], unit: str, label: str) -> str:
    """A row for each separator: a dot for each song, a box from the first to the third quartile with the median in it.

    `values`: by separator, by song; `label` describes the plot to a screen reader.
    """
    every = [value for songs in values.values() for value in songs.values()]
    if not every:
        return ""
    low, high, step = _scale(min(every), max(every))
    x = _placed(low, high)
    height = _ROW * len(values) + 30
    parts = [_opened(height, label), _grid(low, high, step, x, height - 24, unit)]
    for row, (name, songs) in enumerate(values.items()):
        middle = row * _ROW + _ROW / 2 + 4
        hue = f"hue{row % HUES}"
        parts.append(f'<text class="name" x="{_LEFT - 10}" y="{middle + 4:.0f}">{escape(_short(name))}</text>')
        if not songs:
            continue
        quarter, median, three = np.percentile(list(songs.values()), [25, 50, 75])
        if len(songs) >= 4:
            parts.append(
                f'<rect class="box {hue}" x="{x(quarter):.1f}" y="{middle - 11:.1f}" '
                f'width="{max(1.0, x(three) - x(quarter)):.1f}" height="22"/>'
            )
        parts.append(
            f'<line class="median {hue}" x1="{x(median):.1f}" x2="{x(median):.1f}" y1="{middle - 13:.1f}" '
            f'y2="{middle + 13:.1f}"><title>{escape(name)}: median {median:.2f} {unit}</title></line>'
        )
        for number, (song, value) in enumerate(songs.items()):
            off = (number * 0.618 % 1 - 0.5) * _SPREAD  # scattered evenly, and always alike
            parts.append(
                f'<circle class="dot {hue}" cx="{x(value):.1f}" cy="{middle + off:.1f}" r="3.5">'
                f"<title>{escape(song)}: {value:.2f} {unit}</title></circle>"
            )
    return "".join([*parts, "</svg>"])


def differences(values: Mapping[str, float], unit: str, label: str) -> str:
    """A bar for each song, the best first, from zero to how much it gained or lost."""
    if not values:
        return ""
    ordered = sorted(values.items(), key=lambda pair: -pair[1])
    low, high, step = _scale(min(0.0, ordered[-1][1]), max(0.0, ordered[0][1]))
    x = _placed(low, high)
    bar = 16 if len(ordered) <= 60 else 6
    height = bar * len(ordered) + 30
    parts = [_opened(height, label), _grid(low, high, step, x, height - 24, unit)]
    for row, (song, value) in enumerate(ordered):
        begin, end = sorted((x(0.0), x(value)))
        kind = "gain" if value >= 0 else "loss"
        if bar > 10:
            parts.append(f'<text class="name" x="{_LEFT - 10}" y="{row * bar + 14}">{escape(_short(song))}</text>')
        parts.append(
            f'<rect class="{kind}" x="{begin:.1f}" y="{row * bar + 4}" width="{max(1.0, end - begin):.1f}" '
            f'height="{bar - 3}"><title>{escape(song)}: {value:+.2f} {unit}</title></rect>'
        )
    return "".join([*parts, "</svg>"])


def _opened(height: int, label: str) -> str:
    return f'<svg class="chart" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}">'


def _placed(low: float, high: float) -> Callable[[float], float]:
    return lambda value: _LEFT + (_WIDTH - _LEFT - _RIGHT) * (value - low) / (high - low)


def _grid(low: float, high: float, step: float, x: Callable[[float], float], bottom: int, unit: str) -> str:
    parts = []
    for value in np.arange(low, high + step / 2, step):
        at = f"{x(float(value)):.1f}"
        parts.append(
            f'<line class="grid{" zero" if abs(value) < 1e-9 else ""}" x1="{at}" x2="{at}" y1="0" y2="{bottom}"/>'
        )
        parts.append(f'<text class="tick" x="{at}" y="{bottom + 17}">{_plain(float(value))}</text>')
    parts.append(f'<text class="name" x="{_LEFT - 30}" y="{bottom + 17}">{unit}</text>')
    return "".join(parts)


def _plain(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def _scale(low: float, high: float) -> tuple[float, float, float]:
    """Round ends around the values, and the step between lines: at most ten."""
    span = max(high - low, 0.5)
    step = next(step for step in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0) if span / step <= 9)
    return float(np.floor(low / step) * step), float(np.ceil(max(high, low + 0.5 * step) / step) * step), step


def _short(text: str, length: int = 30) -> str:
    return text if len(text) <= length else f"…{text[-(length - 1) :]}"
