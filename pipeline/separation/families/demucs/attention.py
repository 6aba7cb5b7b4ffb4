"""The transformer between the encoders and the decoders of HTDemucs: layers for the spectrogram and for the waveform,
which attend to their own branch and, in every other layer, to the other one.

Tokens are in the order (frequency, time), which saves a transposition: attention doesn't depend on their order as long
as each carries the embedding of its position. Layer scales and the scale of the scores are folded into the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_QUERIES = 512
"""Queries whose scores against all keys are held at once on a CPU."""


@dataclass(frozen=True)
class _Linear:
    weight: Tensor
    bias: Tensor

    def __call__(self, tokens: Tensor) -> Tensor:
        return functional.linear(tokens, self.weight, self.bias)


@dataclass(frozen=True)
class _Norm:
    """Layer norm of each token, or (`whole`) a group norm of one group: over all tokens and channels together."""

    weight: Tensor
    bias: Tensor
    epsilon: float
    whole: bool = False

    def __call__(self, tokens: Tensor) -> Tensor:
        if not self.whole:
            return functional.layer_norm(tokens, tokens.shape[-1:], self.weight, self.bias, self.epsilon)
        normed = functional.layer_norm(tokens, tokens.shape[1:], eps=self.epsilon)
        return torch.addcmul(self.bias, normed, self.weight)


@dataclass(frozen=True)
class _Layer:
    """A transformer layer with its norms first. `others`: the norm of the tokens that are attended to, in
    cross-attention; None in self-attention. The layer scales are part of `out` and `ff_out`, that of the scores is part
    of `queries`. `ff_in`, `ff_out`: the feed-forward network."""

    norm: _Norm
    others: _Norm | None
    queries: _Linear
    keys: _Linear
    values: _Linear
    out: _Linear
    heads: int
    norm_ff: _Norm
    ff_in: _Linear
    ff_out: _Linear
    gelu: bool
    norm_out: _Norm | None

    def __call__(self, tokens: Tensor, other: Tensor | None) -> Tensor:
        """float32 ``[batch, tokens, channels]`` of the own branch (and the other, in cross-attention) -> the same."""
        # products in the weights' dtype; the stream of tokens stays in float32
        dtype = self.queries.weight.dtype
        own = self.norm(tokens).to(dtype)
        seen = own if other is None or self.others is None else self.others(other).to(dtype)
        queries, keys, values = (
            linear(source).view(*source.shape[:2], self.heads, -1).transpose(1, 2).contiguous()
            for linear, source in ((self.queries, own), (self.keys, seen), (self.values, seen))
        )
        attended = attend(queries, keys, values)
        tokens = tokens + self.out(attended.transpose(1, 2).flatten(2))
        wide = self.ff_in(self.norm_ff(tokens).to(dtype))
        wide = functional.gelu(wide) if self.gelu else functional.relu(wide)
        tokens += self.ff_out(wide)
        return tokens if self.norm_out is None else self.norm_out(tokens)


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Softmax attention, ``[batch, heads, tokens, channels]`` each; the queries are scaled already.

    On CPUs torch's fused attention is no faster in bfloat16 than in float32; products of blocks are twice as fast.
    There the mean of the keys is subtracted first: that adds the same to all scores of a row, so the softmax stays as
    it is, and smaller scores lose less when they are rounded to bfloat16."""
    if queries.device.type != "cpu" or queries.dtype == torch.float32:
        return functional.scaled_dot_product_attention(queries, keys, values, scale=1.0)
    result = torch.empty_like(queries)
    keys = (keys - keys.mean(2, keepdim=True, dtype=torch.float32)).to(queries.dtype).transpose(2, 3)
    for batch in range(queries.shape[0]):
        for head in range(queries.shape[1]):
            for start in range(0, queries.shape[2], _QUERIES):
                block = slice(start, start + _QUERIES)
                weights = torch.softmax(queries[batch, head, block] @ keys[batch, head], -1)
                torch.mm(weights, values[batch, head], out=result[batch, head, block])
    return result


class CrossTransformer:
    """The module `CrossTransformerEncoder` of the package, with its weights in the dtype of the matrix products. Made
    by `cross_transformer`."""

    def __init__(self, module: Any, dtype: torch.dtype) -> None:
        self._module = copy(module)  # for the embeddings alone: the layers' own weights can go
        self._module._modules = {
            name: part for name, part in module.named_children() if name not in ("layers", "layers_t")
        }
        self._norms = tuple(_norm(norm) for norm in (module.norm_in, module.norm_in_t))
        self._layers = tuple(
            (_layer(spectral, dtype), _layer(temporal, dtype))
            for spectral, temporal in zip(module.layers, module.layers_t, strict=True)
        )
        self._embeddings: dict[tuple[int, int, int], tuple[Tensor, Tensor]] = {}

    def __call__(self, spectral: Tensor, temporal: Tensor) -> tuple[Tensor, Tensor]:
        """Spectrogram, float32 ``[batch, frequencies, frames, channels]``, and waveform, ``[batch, frames, channels]``
        -> both in the same shapes."""
        shape = spectral.shape
        # positions: of frequency and frame for the spectrogram, of the frame for the waveform
        places, moments = self._embedded(shape[1], shape[2], temporal)
        one = self._norms[0](spectral.flatten(1, 2)) + places
        two = self._norms[1](temporal) + moments
        for first, second in self._layers:
            if first.others is None:
                one, two = first(one, None), second(two, None)
            else:  # both see the other branch as it was before this layer
                one, two = first(one, two), second(two, one)
        return one.view(shape), two

    def _embedded(self, frequencies: int, frames: int, temporal: Tensor) -> tuple[Tensor, Tensor]:
        from demucs.transformer import create_2d_sin_embedding

        channels = temporal.shape[-1]
        key = frequencies, frames, temporal.shape[1]
        if key not in self._embeddings:
            places = create_2d_sin_embedding(  # type: ignore[no-untyped-call]
                channels, frequencies, frames, temporal.device, self._module.max_period
            )
            moments = self._module._get_pos_embedding(temporal.shape[1], 1, channels, temporal.device)
            weight = self._module.weight_pos_embed
            self._embeddings.clear()  # one length of window is in use at a time
            self._embeddings[key] = weight * places[0].flatten(1).T.contiguous(), weight * moments[:, 0]
        return self._embeddings[key]


def cross_transformer(module: Any, dtype: torch.dtype) -> CrossTransformer | None:
    """The module with matrix products in `dtype`; None where its structure differs (no published one does)."""
    layers = [*module.layers, *module.layers_t]
    plain = all(layer.norm_first and isinstance(layer.norm1, nn.LayerNorm) for layer in layers)
    plain = plain and isinstance(module.norm_in, nn.LayerNorm)
    plain = plain and all(layer.norm_out is None or layer.norm_out.num_groups == 1 for layer in layers)
    return CrossTransformer(module, dtype) if plain and module.sin_random_shift == 0 else None


def _layer(module: Any, dtype: torch.dtype) -> _Layer:
    parts: Mapping[str, Any] = dict(module.named_children())
    crossing = "cross_attn" in parts
    attention = parts["cross_attn" if crossing else "self_attn"]
    channels = attention.embed_dim
    weights = attention.in_proj_weight.split(channels)  # of queries, keys and values
    biases = attention.in_proj_bias.split(channels)
    scale = (channels // attention.num_heads) ** -0.5

    def linear(weight: Tensor, bias: Tensor, factor: Tensor | float = 1.0) -> _Linear:
        rows = factor[:, None] if isinstance(factor, torch.Tensor) else factor
        return _Linear((weight * rows).to(dtype), (bias * factor).to(dtype))

    # layer scales of the attention and of the feed-forward network
    one, two = (getattr(parts[name], "scale", 1.0) for name in ("gamma_1", "gamma_2"))
    norm_out = parts.get("norm_out")
    return _Layer(
        norm=_norm(parts["norm1"]),
        others=_norm(parts["norm2"]) if crossing else None,
        queries=linear(weights[0], biases[0], scale),
        keys=linear(weights[1], biases[1]),
        values=linear(weights[2], biases[2]),
        out=linear(attention.out_proj.weight, attention.out_proj.bias, one),
        heads=attention.num_heads,
        norm_ff=_norm(parts["norm3" if crossing else "norm2"]),
        ff_in=linear(parts["linear1"].weight, parts["linear1"].bias),
        ff_out=linear(parts["linear2"].weight, parts["linear2"].bias, two),
        gelu=_is_gelu(module),
        norm_out=None if norm_out is None else _norm(norm_out),
    )


def _is_gelu(module: Any) -> bool:
    return bool(module.activation is functional.gelu)


def _norm(module: Any) -> _Norm:
    return _Norm(module.weight, module.bias, module.eps, isinstance(module, nn.GroupNorm))
