"""The graph of a conversion: vocals become the same vocals sung by another voice, with nothing mixed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from understudy.pipeline.cast import Cast, as_cast
from understudy.pipeline.graph import Graph, Handle, Node
from understudy.pipeline.nodes import decode, encode, file_external, mixed
from understudy.pipeline.provenance.marking import Marking
from understudy.pipeline.settings import CoverSettings
from understudy.pipeline.singing import sung_lead, transpositions
from understudy.pipeline.stages.cast import CastList
from understudy.pipeline.stages.remix import CoverMix
from understudy.voices.library import permit
from understudy.voices.voice import Voice


@dataclass(frozen=True)
class ConversionGraph:
    """`output`: the finished file, and `mix` its sound; `sidecar`, `transposition` and `cast` as in `CoverGraph`."""

    graph: Graph
    output: Node[Path]
    sidecar: Node[Path] | None
    mix: Node[CoverMix]
    transposition: Handle
    cast: Node[CastList] | None


def conversion_graph(vocals: Path, voice: Voice | Cast, settings: CoverSettings) -> ConversionGraph:
    """How `vocals` become the same vocals sung by another voice, or by a cast in turns. Raises what `permit` raises."""
    original = file_external(vocals)
    cast = as_cast(voice)
    for singer in cast.voices:
        permit(singer, "convert")
    song = decode(original, settings.song)
    lead = sung_lead(song, song, cast, settings)
    transposition, members = transpositions(lead.singers)
    marking = Marking.of("conversion", {"vocals": original}, original, cast, settings.shown(), settings)
    mix = mixed(song, marking.marked({"vocals": lead.sound}), settings)
    encoded = encode(mix["cover"], settings.output.encoding, original, cast, tagging=settings.tags)
    output = marking.signed(encoded, settings.output.encoding.extension)
    sidecar = marking.sidecar(encoded, settings.output.encoding.extension)
    graph = Graph.of(output, *([sidecar] if sidecar else []), transposition.node)
    return ConversionGraph(graph, output, sidecar, mix, transposition, members)
