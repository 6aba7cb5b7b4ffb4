"""Name and shape of every tensor in an MDX23C checkpoint (as kuielab/sdx23 names them)."""

from __future__ import annotations

from collections.abc import Iterator

from understudy.pipeline.separation.families.mdx23c.configuration import Mdx23cConfiguration
from understudy.pipeline.separation.families.tensors import Shape


def expected(configuration: Mdx23cConfiguration) -> dict[str, Shape]:
    return dict(_tensors(configuration))


def spectrum_channels(c: Mdx23cConfiguration) -> int:
    """Real and imaginary part, of each channel, of each subband."""
    return 2 * c.channels * c.subbands


def _tensors(c: Mdx23cConfiguration) -> Iterator[tuple[str, Shape]]:
    outer = spectrum_channels(c)
    yield "first_conv.weight", (c.width, outer, 1, 1)
    width, bins = c.width, c.bins // c.subbands
    for scale in range(c.scales):
        name = f"encoder_blocks.{scale}"
        yield from _blocks(c, f"{name}.tfc_tdf", width, width, bins)
        yield from _norm(c, f"{name}.downscale.conv.0", width)
        yield f"{name}.downscale.conv.2.weight", (width + c.growth, width, *c.factor)
        width, bins = width + c.growth, bins // c.factor[1]
    yield from _blocks(c, "bottleneck_block", width, width, bins)
    for scale in range(c.scales):
        name = f"decoder_blocks.{scale}"
        yield from _norm(c, f"{name}.upscale.conv.0", width)
        yield f"{name}.upscale.conv.2.weight", (width, width - c.growth, *c.factor)
        width, bins = width - c.growth, bins * c.factor[1]
        yield from _blocks(c, f"{name}.tfc_tdf", 2 * width, width, bins)
    yield "final_conv.0.weight", (width, width + outer, 1, 1)
    yield "final_conv.2.weight", (len(c.stems) * outer, width, 1, 1)


def _blocks(c: Mdx23cConfiguration, name: str, inside: int, width: int, bins: int) -> Iterator[tuple[str, Shape]]:
    for number in range(c.blocks):
        block = f"{name}.blocks.{number}"
        yield from _norm(c, f"{block}.tfc1.0", inside)
        yield f"{block}.tfc1.2.weight", (width, inside, 3, 3)
        yield from _norm(c, f"{block}.tdf.0", width)
        yield f"{block}.tdf.2.weight", (bins // c.bottleneck, bins)
        yield from _norm(c, f"{block}.tdf.3", width)
        yield f"{block}.tdf.5.weight", (bins, bins // c.bottleneck)
        yield from _norm(c, f"{block}.tfc2.0", width)
        yield f"{block}.tfc2.2.weight", (width, width, 3, 3)
        yield f"{block}.shortcut.weight", (width, inside, 1, 1)
        inside = width


def _norm(c: Mdx23cConfiguration, name: str, width: int) -> Iterator[tuple[str, Shape]]:
    if c.norm == "none":
        return
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)
    if c.norm == "batch":
        yield f"{name}.running_mean", (width,)
        yield f"{name}.running_var", (width,)
