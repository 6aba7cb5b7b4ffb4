"""A graph drawn: as text, as Mermaid, as SVG. Cached nodes are marked."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

from pipeline.graph import Graph

Cached = Callable[[str], bool]


def describe(graph: Graph, cached: Cached) -> list[dict[str, Any]]:
    """Every node as plain data: name, stage, version, needs, key, cached."""
    keys = graph.keys()
    return [
        {
            "name": node.name,
            "stage": node.stage.name,
            "version": node.stage.version,
            "needs": sorted(node.needs),
            "key": keys[node.name],
            "cached": cached(keys[node.name]),
        }
        for node in graph.nodes
    ]


def as_text(graph: Graph, cached: Cached) -> str:
    """A line per node in order of work: ``●`` is there already, ``○`` is still to be made."""
    rows = describe(graph, cached)
    width = max(len(row["name"]) for row in rows)
    lines = [
        f"{'●' if row['cached'] else '○'} {row['name'].ljust(width)}"
        + (f"  ← {', '.join(row['needs'])}" if row["needs"] else "")
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
        lines += [f"  {number[need]} --> {number[row['name']]}" for need in row["needs"]]
    return "\n".join(lines)


BOX = (150, 44)  # width and height in pixels
GAP = (50, 22)


def as_svg(graph: Graph, cached: Cached) -> str:
    """A standalone SVG: a column per depth (longest way from the inputs), an arrow per need."""
    rows = describe(graph, cached)
    depth: dict[str, int] = {}
    for row in rows:
        depth[row["name"]] = 1 + max((depth[need] for need in row["needs"]), default=-1)
    columns: dict[int, int] = {}
    place: dict[str, tuple[int, int]] = {}
    for row in rows:
        column = depth[row["name"]]
        line = columns.get(column, 0)
        columns[column] = line + 1
        place[row["name"]] = (20 + column * (BOX[0] + GAP[0]), 20 + line * (BOX[1] + GAP[1]))
    width = 20 + (max(columns) + 1) * (BOX[0] + GAP[0])
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
        for need in row["needs"]:
            left, top = place[need][0] + BOX[0], place[need][1] + BOX[1] // 2
            middle = (left + x) // 2
            end = y + BOX[1] // 2
            parts.append(
                f'<path d="M{left},{top} C{middle},{top} {middle},{end} {x},{end}" fill="none" stroke="#667" '
                'stroke-width="1.5" marker-end="url(#tip)"/>'
            )
    for row in rows:
        x, y = place[row["name"]]
        fill, stroke = ("#cfe8d5", "#2f6f44") if row["cached"] else ("#eef0f6", "#667")
        parts.append(
            f'<rect x="{x}" y="{y}" width="{BOX[0]}" height="{BOX[1]}" rx="8" fill="{fill}" stroke="{stroke}"/>'
            f'<text x="{x + BOX[0] // 2}" y="{y + BOX[1] // 2 + 5}" text-anchor="middle" fill="#123">'
            f"{escape(row['name'])}{' ✓' if row['cached'] else ''}</text>"
        )
    return "\n".join([*parts, "</svg>"])


DRAWINGS: dict[str, Callable[[Graph, Cached], str]] = {"text": as_text, "mermaid": as_mermaid, "svg": as_svg}
