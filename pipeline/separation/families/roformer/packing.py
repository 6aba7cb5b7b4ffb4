"""The tensors of a checkpoint: their names and shapes, and in the form in which the network computes with them.

A norm here is ``x / |x| * sqrt(dim) * gamma``; a linear layer follows, so ``sqrt(dim) * gamma`` is folded into its
columns and the network only divides by the length. The scale of the attention is folded into the rows of the queries.
Queries, keys, values and gates of a token come from one matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from understudy.pipeline.separation.families.roformer.configuration import RoformerConfiguration
from understudy.pipeline.separation.families.tensors import Shape

UNREAD = (".rotary_embed.freqs", ".rotary_embed.dummy", ".rotary_embed.cached_freqs", ".rotary_embed.scale")
"""Endings of tensors that follow from the width of a head alone."""
_LINEAR_SCALE = 8.0
Linear = tuple[Tensor, Tensor]
"""Weight and bias."""


@dataclass(frozen=True)
class AttentionWeights:
    """`qkv`: ``[3 * inner + heads, dim]``, queries, keys, values and (with `bias`) a gate per head; ``[3 * inner,
    dim]`` in linear attention, where features attend to each other instead of tokens, with a `temperature` per head.
    `out`: ``[dim, inner]``. `inner` is heads times the width of a head."""

    qkv: Tensor
    bias: Tensor | None
    out: Tensor
    temperature: Tensor | None = None


@dataclass(frozen=True)
class Block:
    """Attention and a feed-forward network of two layers, `ff_in` and `ff_out`, with a GELU between them."""

    attention: AttentionWeights
    ff_in: Linear
    ff_out: Linear


@dataclass(frozen=True)
class Transformer:
    """`along`: ``time``, ``frequency`` or ``linear`` (over all tokens). `gamma`: gain of the norm behind the blocks,
    ``[dim]``; None without such a norm."""

    along: str
    blocks: list[Block]
    gamma: Tensor | None


class Packing:
    """Moves `tensors` from the file to the device: weights of matrix products in `dtype`, the others in float32.
    `size`: bytes moved so far."""

    def __init__(
        self, configuration: RoformerConfiguration, tensors: Mapping[str, Tensor], device: str, dtype: torch.dtype
    ) -> None:
        self._c, self._tensors, self._device, self._dtype = configuration, tensors, device, dtype
        self.size = 0

    def band(self, number: int, width: int) -> Linear:
        """The linear layer from a band's `width` values to its token, float32."""
        name = f"band_split.to_features.{number}"
        gamma = self._read(f"{name}.0.gamma") * width**0.5  # of the norm over the band's values
        return self._kept(self._read(f"{name}.1.weight") * gamma), self._kept(self._read(f"{name}.1.bias"))

    def transformer(self, layer: int, place: int, along: str, blocks: int) -> Transformer:
        name = f"layers.{layer}.{place}"
        gamma = self._kept(self._gamma(f"{name}.norm")) if self._c.kind == "mel" else None
        return Transformer(along, [self._block(f"{name}.layers.{block}", along) for block in range(blocks)], gamma)

    def final(self) -> Tensor | None:
        """Gain of the norm behind all layers, ``[dim]``; None where the checkpoint has none."""
        return self._kept(self._gamma("final_norm")) if self._c.kind == "bs" else None

    def mask(self, stem: int, band: int) -> list[Linear]:
        name = f"mask_estimators.{stem}.to_freqs.{band}.0"
        return [self._linear(f"{name}.{2 * place}") for place in range(self._c.mask_layers)]

    def _block(self, name: str, along: str) -> Block:
        # net.0 is the norm, net.1 the first linear layer, net.4 the second (2 is the GELU, 3 and 5 are dropout)
        weight = self._read(f"{name}.1.net.1.weight") * self._gamma(f"{name}.1.net.0")
        ff_in = self._product(weight), self._product(self._read(f"{name}.1.net.1.bias"))
        attention = self._linear_attention(f"{name}.0") if along == "linear" else self._attention(f"{name}.0")
        return Block(attention, ff_in, self._linear(f"{name}.1.net.4"))

    def _attention(self, name: str) -> AttentionWeights:
        c = self._c
        inner = c.heads * c.head_dim
        gamma = self._gamma(f"{name}.norm")
        qkv = torch.cat([self._read(f"{name}.to_qkv.weight"), self._read(f"{name}.to_gates.weight")]) * gamma
        qkv[:inner] *= c.head_dim**-0.5  # the queries
        # only the gates have biases
        bias = torch.cat([torch.zeros(3 * inner), self._read(f"{name}.to_gates.bias")])
        if c.heads % 2:  # rows of an even length can be viewed as complex numbers, for the rotation
            qkv, bias = torch.cat([qkv, qkv[-1:]]), torch.cat([bias, bias[-1:]])
        return AttentionWeights(
            self._product(qkv), self._product(bias), self._product(self._read(f"{name}.to_out.0.weight"))
        )

    def _linear_attention(self, name: str) -> AttentionWeights:
        qkv = self._read(f"{name}.to_qkv.0.weight") * self._gamma(f"{name}.norm")
        temperature = self._kept(self._read(f"{name}.temperature").exp() * _LINEAR_SCALE)
        out = self._product(self._read(f"{name}.to_out.1.weight"))
        return AttentionWeights(self._product(qkv), None, out, temperature)

    def _linear(self, name: str) -> Linear:
        return self._product(self._read(f"{name}.weight")), self._product(self._read(f"{name}.bias"))

    def _gamma(self, name: str) -> Tensor:
        """The gain of a norm that scales vectors to the length ``sqrt(dim)``."""
        gamma: Tensor = self._read(f"{name}.gamma") * self._c.dim**0.5
        return gamma

    def _read(self, name: str) -> Tensor:
        return self._tensors[name].float()

    def _product(self, tensor: Tensor) -> Tensor:
        return self._kept(tensor.to(self._dtype))

    def _kept(self, tensor: Tensor) -> Tensor:
        """On the device, in memory of its own."""
        kept = tensor.detach().to(self._device, copy=True).contiguous()
        self.size += kept.nbytes
        return kept


def expected(configuration: RoformerConfiguration) -> dict[str, Shape]:
    """Name and shape of every tensor in a checkpoint (as the networks of lucidrains/BS-RoFormer name them)."""
    return dict(_tensors(configuration))


def widths(configuration: RoformerConfiguration) -> list[int]:
    """Values that each band of one spectrum has: real and imaginary parts of its bins in every channel."""
    return [2 * configuration.channels * (end - first) for first, end in configuration.bands]


def transformers(configuration: RoformerConfiguration) -> list[tuple[str, int]]:
    """The transformers of one layer: what each goes along (``linear``, ``time`` or ``frequency``) and its number of
    blocks."""
    linear = [("linear", configuration.linear)] if configuration.linear else []
    return [*linear, ("time", configuration.time), ("frequency", configuration.frequency)]


def _tensors(c: RoformerConfiguration) -> Iterator[tuple[str, Shape]]:
    for layer in range(c.depth):
        for place, (kind, blocks) in enumerate(transformers(c)):
            for block in range(blocks):
                name = f"layers.{layer}.{place}.layers.{block}"
                yield from _attention_tensors(c, f"{name}.0", kind == "linear")
                yield f"{name}.1.net.0.gamma", (c.dim,)
                yield from _linear_tensors(f"{name}.1.net.1", c.dim, 4 * c.dim)
                yield from _linear_tensors(f"{name}.1.net.4", 4 * c.dim, c.dim)
            if c.kind == "mel":
                yield f"layers.{layer}.{place}.norm.gamma", (c.dim,)
    if c.kind == "bs":
        yield "final_norm.gamma", (c.dim,)
    for band, width in enumerate(widths(c)):
        yield f"band_split.to_features.{band}.0.gamma", (width,)
        yield from _linear_tensors(f"band_split.to_features.{band}.1", width, c.dim)
    sizes = [c.dim, *[c.mask_width] * (c.mask_layers - 1)]
    for stem in range(len(c.stems)):
        for band, width in enumerate(widths(c)):
            for place, (inside, outside) in enumerate(zip(sizes, [*sizes[1:], 2 * width], strict=True)):
                yield from _linear_tensors(f"mask_estimators.{stem}.to_freqs.{band}.0.{2 * place}", inside, outside)


def _attention_tensors(c: RoformerConfiguration, name: str, linear: bool) -> Iterator[tuple[str, Shape]]:
    inner = c.heads * c.head_dim
    yield f"{name}.norm.gamma", (c.dim,)
    if linear:
        yield f"{name}.to_qkv.0.weight", (3 * inner, c.dim)
        yield f"{name}.temperature", (c.heads, 1, 1)
        yield f"{name}.to_out.1.weight", (c.dim, inner)
    else:
        yield f"{name}.to_qkv.weight", (3 * inner, c.dim)
        yield from _linear_tensors(f"{name}.to_gates", c.dim, c.heads)
        yield f"{name}.to_out.0.weight", (c.dim, inner)


def _linear_tensors(name: str, inside: int, outside: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (outside, inside)
    yield f"{name}.bias", (outside,)
