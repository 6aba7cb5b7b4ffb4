"""Name and shape of every tensor in a Roformer checkpoint (as the networks of lucidrains/BS-RoFormer name them)."""

from __future__ import annotations

from collections.abc import Iterator

from understudy.pipeline.separation.families.roformer.bands import Bands
from understudy.pipeline.separation.families.roformer.configuration import RoformerConfiguration
from understudy.pipeline.separation.families.tensors import Shape

UNREAD = (".rotary_embed.freqs", ".rotary_embed.dummy", ".rotary_embed.cached_freqs", ".rotary_embed.scale")
"""Endings of tensors that follow from the width of a head alone."""


def expected(configuration: RoformerConfiguration, bands: Bands) -> dict[str, Shape]:
    """The shape of every tensor by name."""
    return dict(_tensors(configuration, bands))


def widths(configuration: RoformerConfiguration, bands: Bands) -> list[int]:
    """Values that each band of one spectrum has: real and imaginary parts of its bins in every channel."""
    return [2 * configuration.channels * (end - first) for first, end in bands]


def transformers(configuration: RoformerConfiguration) -> list[tuple[str, int]]:
    """The transformers of one layer: what each goes along (``linear``, ``time`` or ``frequency``) and its number of
    blocks."""
    linear = [("linear", configuration.linear)] if configuration.linear else []
    return [*linear, ("time", configuration.time), ("frequency", configuration.frequency)]


def _tensors(c: RoformerConfiguration, bands: Bands) -> Iterator[tuple[str, Shape]]:
    for layer in range(c.depth):
        for place, (kind, blocks) in enumerate(transformers(c)):
            for block in range(blocks):
                name = f"layers.{layer}.{place}.layers.{block}"
                yield from _attention(c, f"{name}.0", kind == "linear")
                yield f"{name}.1.net.0.gamma", (c.dim,)
                yield from _linear(f"{name}.1.net.1", c.dim, 4 * c.dim)
                yield from _linear(f"{name}.1.net.4", 4 * c.dim, c.dim)
            if c.kind == "mel":
                yield f"layers.{layer}.{place}.norm.gamma", (c.dim,)
    if c.kind == "bs":
        yield "final_norm.gamma", (c.dim,)
    for band, width in enumerate(widths(c, bands)):
        yield f"band_split.to_features.{band}.0.gamma", (width,)
        yield from _linear(f"band_split.to_features.{band}.1", width, c.dim)
    sizes = [c.dim, *[c.mask_width] * (c.mask_layers - 1)]
    for stem in range(len(c.stems)):
        for band, width in enumerate(widths(c, bands)):
            for place, (inside, outside) in enumerate(zip(sizes, [*sizes[1:], 2 * width], strict=True)):
                yield from _linear(f"mask_estimators.{stem}.to_freqs.{band}.0.{2 * place}", inside, outside)


def _attention(c: RoformerConfiguration, name: str, linear: bool) -> Iterator[tuple[str, Shape]]:
    inner = c.heads * c.head_dim
    yield f"{name}.norm.gamma", (c.dim,)
    if linear:
        yield f"{name}.to_qkv.0.weight", (3 * inner, c.dim)
        yield f"{name}.temperature", (c.heads, 1, 1)
        yield f"{name}.to_out.1.weight", (c.dim, inner)
    else:
        yield f"{name}.to_qkv.weight", (3 * inner, c.dim)
        yield from _linear(f"{name}.to_gates", c.dim, c.heads)
        yield f"{name}.to_out.0.weight", (c.dim, inner)


def _linear(name: str, inside: int, outside: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (outside, inside)
    yield f"{name}.bias", (outside,)
