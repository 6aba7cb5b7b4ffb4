"""The graph that takes a song apart."""

from __future__ import annotations

from pathlib import Path

from pipeline.graph import Graph, Node
from pipeline.nodes import SEPARATE, STEMS, decode, encode_stems, file_external
from pipeline.settings import CoverSettings


def separation_graph(song: Path, settings: CoverSettings) -> Graph:
    """Targets: ``encode vocals`` and ``encode instrumental``."""
    original = file_external(song)
    return Graph(
        (
            decode("decode", original, settings.song),
            Node("separate", SEPARATE, {"song": "decode"}, {"settings": settings.separation}),
            *encode_stems({stem: f"separate.{stem}" for stem in STEMS}, settings.output.encoding, original),
        )
    )
