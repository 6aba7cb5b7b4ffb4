"""The graph that takes a song apart."""

from __future__ import annotations

from pathlib import Path

from pipeline.graph import Graph
from pipeline.nodes import STEMS, decode, encode_stems, file_external
from pipeline.separating import separating
from pipeline.settings import CoverSettings


def separation_graph(song: Path, settings: CoverSettings) -> Graph:
    """Targets: ``encode vocals`` and ``encode instrumental``."""
    original = file_external(song)
    return Graph(
        (
            decode("decode", original, settings.song),
            *separating("decode", settings.separation).nodes,
            *encode_stems({stem: f"separate.{stem}" for stem in STEMS}, settings.output.encoding, original),
        )
    )
