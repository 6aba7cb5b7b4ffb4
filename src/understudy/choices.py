"""Names that settings are chosen from, and how help texts list them. It imports nothing, so that ``--help`` is fast."""

from __future__ import annotations

from typing import Any, Literal, get_args

SingleTracker = Literal["swift-f0", "fcpe", "praat", "harvest", "rmvpe"]
"""Pitch trackers."""

TrackerName = Literal[SingleTracker, "median"]
"""A tracker, or the median of several."""

Backing = Literal["original", "convert", "mute"]
"""What becomes of the backing vocals."""

FormatName = Literal["wav16", "wav24", "wav32f", "flac", "flac16", "mp3", "m4a", "opus"]
"""Formats of written files."""

Platform = Literal["spotify", "youtube", "apple", "club"]
"""Platforms whose loudness a cover can have."""

Shape = Literal["landscape", "portrait"]
"""Of a video: 1920 x 1080 or 1080 x 1920 pixels."""

ExecutorName = Literal["local", "ray"]
"""What runs the stages: this process, or the machines of a Ray cluster."""

Work = Literal["read", "make", "voices", "delete"]
"""What an API key allows unless more is asked for."""

Scope = Literal[Work, "keys", "admin"]
"""What an API key may allow."""


def listed(kind: Any) -> str:
    """The names in a Literal for people: ``a, b or c``."""
    *most, last = get_args(kind)
    return f"{', '.join(most)} or {last}"
