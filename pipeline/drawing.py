"""A graph drawn: as text, as Mermaid, as SVG. Cached nodes are marked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from understudy.pipeline.graph import Graph
from understudy.wording import counted

Cached = Callable[[str], bool]


def describe(graph: Graph, cached: Cached) -> list[dict[str, Any]]:
    """Every node as plain data: name, stage, version, needs, those among them of which it only takes the warnings, key,
    cached."""
    keys = graph.keys()
    return [
        {
            "name": node.name,
            "kind": node.kind,
            "subject": node.subject,
            "stage": node.stage.name,
            "version": node.stage.version,
            "needs": sorted(needed.name for needed in graph.needs(node)),
            "hears": sorted(warning.name for warning in graph.needs(node) - graph.sources(node)),
            "key": keys[node],
            "cached": cached(keys[node]),
        }
        for node in graph.nodes
    ]


def as_text(graph: Graph, cached: Cached) -> str:
    """A line per node in order of work: ``●`` is there already, ``○`` is still to be made."""
    rows = describe(graph, cached)
    width = max(len(row["name"]) for row in rows)
    lines = [
        f"{'●' if row['cached'] else '○'} {row['name'].ljust(width)}"
        + (f"  ← {', '.join(_uses(row))}" if row["needs"] else "")
        + (f" and the warnings of {counted(len(row['hears']), 'stage')}" if row["hears"] else "")
        for row in rows
    ]
    there = sum(row["cached"] for row in rows)
    return "\n".join([*lines, f"● kept from before: {there} of {len(rows)}"])


def as_mermaid(graph: Graph, cached: Cached) -> str:
    """A Mermaid flowchart, left to right; cached nodes carry the class ``cached``."""
    rows = describe(graph, cached)
    number = {row["name"]: f"n{position}" for position, row in enumerate(rows)}
    lines = ["flowchart LR", "  classDef cached fill:#cfe8d5,stroke:#2f6f44,color:#123"]
    for row in rows:
        lines.append(f'  {number[row["name"]]}["{row["name"]}"]' + (":::cached" if row["cached"] else ""))
        lines += [f"  {number[need]} --> {number[row['name']]}" for need in _uses(row)]
    return "\n".join(lines)


def _uses(row: Mapping[str, Any]) -> list[str]:
    """What a node takes values from: arrows for warnings alone would cross everything else."""
    return [need for need in row["needs"] if need not in row["hears"]]


BOX = (150, 44)  # least width, and height, in pixels
GAP = (50, 22)
LETTER = 8  # pixels that a letter takes at most


def as_svg(graph: Graph, cached: Cached) -> str:
    """A standalone SVG: a column per depth (longest way from the inputs), an arrow per need."""
    rows = describe(graph, cached)
    depth: dict[str, int] = {}
    for row in rows:
        depth[row["name"]] = 1 + max((depth[need] for need in row["needs"]), default=-1)
    widths = [BOX[0]] * (max(depth.values()) + 1)
    for row in rows:
        widest = max(LETTER * len(text) + 20 for text in _lines(row))
        widths[depth[row["name"]]] = max(widths[depth[row["name"]]], widest)
    left_of = [20 + sum(widths[:column]) + column * GAP[0] for column in range(len(widths) + 1)]
    columns: dict[int, int] = {}
    place: dict[str, tuple[int, int]] = {}
    for row in rows:
        column = depth[row["name"]]
        line = columns.get(column, 0)
        columns[column] = line + 1
        place[row["name"]] = (left_of[column], 20 + line * (BOX[1] + GAP[1]))
    width = left_of[-1]
    height = 20 + max(columns.values()) * (BOX[1] + GAP[1])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="14">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        '<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#667"/></marker></defs>',
    ]
    for row in rows:
        x, y = place[row["name"]]
        for need in _uses(row):
            left, top = place[need][0] + widths[depth[need]], place[need][1] + BOX[1] // 2
            middle = (left + x) // 2
            end = y + BOX[1] // 2
            parts.append(
                f'<path d="M{left},{top} C{middle},{top} {middle},{end} {x},{end}" fill="none" stroke="#667" '
                'stroke-width="1.5" marker-end="url(#tip)"/>'
            )
    for row in rows:
        x, y = place[row["name"]]
        box = widths[depth[row["name"]]]
        fill, stroke = ("#cfe8d5", "#2f6f44") if row["cached"] else ("#eef0f6", "#667")
        parts.append(f"<g><title>{escape(row['name'])}</title>")
        parts.append(f'<rect x="{x}" y="{y}" width="{box}" height="{BOX[1]}" rx="8" fill="{fill}" stroke="{stroke}"/>')
        texts = _lines(row)
        for line, text in enumerate(texts):
            baseline = y + BOX[1] // 2 + 5 + 9 * (2 * line - len(texts) + 1)
            parts.append(
                f'<text x="{x + box // 2}" y="{baseline}" text-anchor="middle" fill="#123">{escape(text)}</text>'
            )
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"])


def _lines(row: Mapping[str, Any]) -> list[str]:
    """A node's name in at most two lines: what it does, and to what."""
    return [row["kind"] + (" ✓" if row["cached"] else ""), *([row["subject"]] if row["subject"] else [])]


DRAWINGS: dict[str, Callable[[Graph, Cached], str]] = {"text": as_text, "mermaid": as_mermaid, "svg": as_svg}
