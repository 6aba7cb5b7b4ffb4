"""Which of several covers is the best, by the figures of their reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_FURTHEST = 3.0  # limits beyond which a figure counts no more
_UNNOTICED = 0.05  # of what lies within a figure's good limit: it decides only between covers that are alike


def faults(report: Mapping[str, Any]) -> float:
    """How much is wrong with a cover: 0 for one whose figures are all at their good limits, and 1 more for each figure
    at its wrong limit. Figures better than their good limit take a little off.

    `report`: a cover's report as data (``.report.json``).
    """
    total = 0.0
    for figure in report["figures"]:
        if figure["value"] is None:
            continue
        span = figure["wrong"] - figure["good"]  # below 0 where more is better
        beyond = (figure["value"] - figure["good"]) / span if span else float(figure["value"] != figure["good"])
        total += min(beyond, _FURTHEST) if beyond > 0 else _UNNOTICED * max(beyond, -1.0)
    return total


def rank(verdict: str, faults: float | None) -> tuple[int, float]:
    """What covers are sorted by, the best first: the verdict, then how much is wrong."""
    order = ("good", "mind", "wrong")
    return order.index(verdict) if verdict in order else len(order), float("inf") if faults is None else faults
