"""The network of BS-Roformer (W.-T. Lu et al. 2023, "Music Source Separation with Band-Split RoPE Transformer") and of
Mel-Band RoFormer (J.-C. Wang et al. 2023): a spectrum's bands become tokens, transformers with rotary positions go
along time and along the bands in turn, and a small network per band gives its complex mask.

It computes what the published networks do, arranged for speed: the scale of every norm is part of the weights behind
it, so are the scale of the attention and the pairing of the rotary positions; the tokens are worked on in tiles that
fit into the processor's caches; products are in the asked number format, sums and the stream of tokens in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.separation.families.roformer.bands import Bands
from pipeline.separation.families.roformer.configuration import RoformerConfiguration
from pipeline.separation.families.roformer.shapes import transformers, widths

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_TILE = 2048  # tokens worked on at once on a processor
_TINY = 1e-12  # the norm below which nothing is divided


@dataclass(frozen=True)
class _Attention:
    """`into`: queries, keys, values and gates from the tokens. `linear`: over the features instead of the tokens."""

    into: Tensor
    bias: Tensor | None
    out: Tensor
    temperature: Tensor | None
    linear: bool


@dataclass(frozen=True)
class _Block:
    attention: _Attention
    widen: tuple[Tensor, Tensor]
    narrow: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class _Transformer:
    along: str
    blocks: list[_Block]
    gamma: Tensor | None


class Roformer:
    """`separate`: float32 ``[batch, channels, frames]`` -> ``[batch, stems, channels, frames]``, `frames` a multiple of
    the hop."""

    def __init__(
        self,
        configuration: RoformerConfiguration,
        bands: Bands,
        tensors: Mapping[str, Tensor],
        device: str,
        dtype: torch.dtype,
    ) -> None:
        import torch

        self._c = configuration
        self._device, self._dtype = device, dtype
        self._places = [slice(2 * configuration.channels * a, 2 * configuration.channels * b) for a, b in bands]
        self._window = torch.hann_window(configuration.span, device=device)
        overlaid = torch.zeros(configuration.n_fft // 2 + 1)
        for first, end in bands:
            overlaid[first:end] += 1
        self._overlaid = overlaid.to(device)
        packing = _Packing(configuration, tensors, device, dtype)
        self._split = [packing.band(number, width) for number, width in enumerate(widths(configuration, bands))]
        self._layers = [
            [
                packing.transformer(layer, place, along, blocks)
                for place, (along, blocks) in enumerate(transformers(configuration))
            ]
            for layer in range(configuration.depth)
        ]
        self._final = packing.whole("final_norm.gamma") if configuration.kind == "bs" else None
        self._masks = [
            [packing.mask(stem, band) for band in range(len(bands))] for stem in range(len(configuration.stems))
        ]
        self._rotations: dict[int, tuple[Tensor, Tensor]] = {}
        self.size = packing.bytes

    def separate(self, windows: Tensor) -> Tensor:
        import torch

        c = self._c
        batch, channels, frames = windows.shape
        transform: dict[str, Any] = {
            "n_fft": c.n_fft,
            "hop_length": c.hop,
            "win_length": c.span,
            "window": self._window,
            "normalized": c.scaled,
        }
        spectra = torch.stft(windows.reshape(-1, frames), return_complex=True, **transform)
        times = spectra.shape[-1]
        spectra = spectra.reshape(batch, channels, -1, times).permute(0, 3, 2, 1).contiguous()
        values = torch.view_as_real(spectra).reshape(batch, times, -1)  # bins, channels, real and imaginary
        tokens = self._tokens(values)
        earlier: list[Tensor] = []
        for layer in self._layers:
            for before in earlier:
                tokens += before
            for transformer in layer:
                self._transform(tokens, transformer)
            if c.skip:
                earlier.append(tokens.clone())
        if self._final is not None:
            tokens *= _scale(tokens)
            tokens *= self._final
        found = []
        for estimators in self._masks:
            mask = torch.zeros_like(values)
            for band, (place, layers) in enumerate(zip(self._places, estimators, strict=True)):
                mask[:, :, place] += self._mask(tokens[:, :, band], layers)
            masked = torch.view_as_complex(mask.reshape(batch, times, -1, channels, 2)) * spectra
            masked /= self._overlaid[:, None]
            masked = masked.permute(0, 3, 2, 1).reshape(batch * channels, -1, times)
            found.append(torch.istft(masked, length=frames, **transform).reshape(batch, channels, frames))
        return torch.stack(found, dim=1)

    def _tokens(self, values: Tensor) -> Tensor:
        """``[batch, times, values]`` -> ``[batch, times, bands, dim]``."""
        import torch.nn.functional as functional

        tokens = values.new_empty(*values.shape[:2], len(self._places), self._c.dim)
        for band, (place, (weight, bias)) in enumerate(zip(self._places, self._split, strict=True)):
            part = values[:, :, place]
            tokens[:, :, band] = functional.linear(part * _scale(part), weight, bias)
        return tokens

    def _transform(self, tokens: Tensor, transformer: _Transformer) -> None:
        """Send the tokens ``[batch, times, bands, dim]`` through a transformer, in place."""
        batch, times, bands, dim = tokens.shape
        if transformer.along == "linear":
            for sequence in tokens.view(batch, 1, times * bands, dim):
                self._go(sequence, transformer)
            return
        if transformer.along == "frequency":
            sequences = tokens.view(batch * times, bands, dim)
            at_once = self._at_once(bands)
            for first in range(0, batch * times, at_once):
                self._go(sequences[first : first + at_once], transformer)
            return
        at_once = self._at_once(times)
        for sequences in tokens.transpose(1, 2):  # one window's [bands, times, dim]
            for first in range(0, bands, at_once):
                part = sequences[first : first + at_once]
                tile = part.contiguous()
                self._go(tile, transformer)
                part.copy_(tile)

    def _at_once(self, length: int) -> int:
        return max(1, _TILE // length) if self._device == "cpu" else 1 << 30

    def _go(self, tile: Tensor, transformer: _Transformer) -> None:
        """Sequences ``[n, length, dim]`` through the blocks, in place; `tile` is contiguous."""
        import torch.nn.functional as functional

        flat = tile.view(-1, tile.shape[-1])
        for block in transformer.blocks:
            heard = (flat * _scale(flat)).to(self._dtype)
            attention = self._linear_attention if block.attention.linear else self._attention
            flat += attention(heard.view(tile.shape), block.attention).flatten(0, 1)
            heard = (flat * _scale(flat)).to(self._dtype)
            wide = functional.gelu(functional.linear(heard, *block.widen))
            flat += functional.linear(wide, *block.narrow)
        if transformer.gamma is not None:
            flat *= _scale(flat)
            flat *= transformer.gamma

    def _attention(self, heard: Tensor, attention: _Attention) -> Tensor:
        import torch.nn.functional as functional

        c = self._c
        inner = c.heads * c.head_dim
        mixed = functional.linear(heard, attention.into, attention.bias)
        turned = self._turned(mixed[..., : 2 * inner].reshape(*heard.shape[:2], 2, c.heads, c.head_dim))
        queries, keys = turned.permute(2, 0, 3, 1, 4).unbind(0)
        values = mixed[..., 2 * inner : 3 * inner].reshape(*heard.shape[:2], c.heads, c.head_dim).transpose(1, 2)
        gates = mixed[..., 3 * inner :].sigmoid()
        found = functional.scaled_dot_product_attention(queries, keys, values, scale=1.0)
        found = (found.transpose(1, 2) * gates[..., None]).flatten(-2)
        return functional.linear(found, attention.out)

    def _linear_attention(self, heard: Tensor, attention: _Attention) -> Tensor:
        """El-Nouby et al. 2021, "XCiT": the features attend to each other over all tokens."""
        import torch.nn.functional as functional

        c = self._c
        mixed = functional.linear(heard, attention.into).view(*heard.shape[:2], 3, c.heads, c.head_dim)
        queries, keys, values = mixed.permute(2, 0, 3, 4, 1).unbind(0)
        queries, keys = (functional.normalize(part.float(), dim=-1) for part in (queries, keys))
        assert attention.temperature is not None
        weights = (queries * attention.temperature @ keys.transpose(-1, -2)).softmax(-1).to(self._dtype)
        found = (weights @ values).permute(0, 3, 1, 2).flatten(-2)
        return functional.linear(found, attention.out)

    def _turned(self, pairs: Tensor) -> Tensor:
        """Rotary positions (Su et al. 2021, "RoFormer") of ``[n, length, 2, heads, head_dim]``, whose features have
        their pairs' first halves before the second ones."""
        import torch

        cosines, sines = self._rotation(pairs.shape[1])
        first, second = pairs.chunk(2, dim=-1)
        return torch.cat([first * cosines - second * sines, second * cosines + first * sines], dim=-1)

    def _rotation(self, length: int) -> tuple[Tensor, Tensor]:
        import torch

        if length not in self._rotations:
            d = self._c.head_dim
            speeds = 1.0 / 10_000 ** (torch.arange(0, d, 2).float() / d)
            angles = (torch.arange(length).float()[:, None] * speeds).to(self._device)[:, None, None]
            self._rotations[length] = angles.cos().to(self._dtype), angles.sin().to(self._dtype)
        return self._rotations[length]

    def _mask(self, tokens: Tensor, layers: list[tuple[Tensor, Tensor]]) -> Tensor:
        """``[batch, times, dim]`` -> float32 ``[batch, times, values of the band]``."""
        import torch.nn.functional as functional

        found = tokens.to(self._dtype)
        for weight, bias in layers[:-1]:
            found = functional.linear(found, weight, bias).tanh()
        return functional.glu(functional.linear(found, *layers[-1]).float(), dim=-1)


def _scale(values: Tensor) -> Tensor:
    """What makes the last dimension's vectors one long."""
    import torch

    norms: Tensor = torch.linalg.vector_norm(values, dim=-1, keepdim=True)
    return norms.clamp_min_(_TINY).reciprocal_()


class _Packing:
    """Tensors of the file, as `Roformer` wants them."""

    def __init__(
        self, configuration: RoformerConfiguration, tensors: Mapping[str, Tensor], device: str, dtype: torch.dtype
    ) -> None:
        self._c, self._tensors, self._device, self._dtype = configuration, tensors, device, dtype
        self.bytes = 0

    def band(self, number: int, width: int) -> tuple[Tensor, Tensor]:
        name = f"band_split.to_features.{number}"
        gamma = self._read(f"{name}.0.gamma") * width**0.5
        return self._kept(self._read(f"{name}.1.weight") * gamma), self.whole(f"{name}.1.bias")

    def transformer(self, layer: int, place: int, along: str, blocks: int) -> _Transformer:
        name = f"layers.{layer}.{place}"
        gamma = None
        if self._c.kind == "mel":
            gamma = self._kept(self._read(f"{name}.norm.gamma") * self._c.dim**0.5)
        return _Transformer(along, [self._block(f"{name}.layers.{block}", along) for block in range(blocks)], gamma)

    def mask(self, stem: int, band: int) -> list[tuple[Tensor, Tensor]]:
        name = f"mask_estimators.{stem}.to_freqs.{band}.0"
        return [self._linear(f"{name}.{2 * place}") for place in range(self._c.mask_layers)]

    def whole(self, name: str) -> Tensor:
        """In float32; a norm's gamma with its scale."""
        found = self._read(name)
        return self._kept(found * self._c.dim**0.5 if name.endswith("gamma") else found)

    def _block(self, name: str, along: str) -> _Block:
        gamma = self._read(f"{name}.1.net.0.gamma") * self._c.dim**0.5
        widen = (
            self._product(self._read(f"{name}.1.net.1.weight") * gamma),
            self._product(self._read(f"{name}.1.net.1.bias")),
        )
        attention = self._linear_attention(f"{name}.0") if along == "linear" else self._attention(f"{name}.0")
        return _Block(attention, widen, self._linear(f"{name}.1.net.4"))

    def _attention(self, name: str) -> _Attention:
        import torch

        c = self._c
        gamma = self._read(f"{name}.norm.gamma") * c.dim**0.5
        weight = self._read(f"{name}.to_qkv.weight") * gamma
        queries, keys, values = weight.view(3, c.heads, c.head_dim, c.dim).unbind(0)
        halves = torch.cat([torch.arange(0, c.head_dim, 2), torch.arange(1, c.head_dim, 2)])
        parts = [queries[:, halves] * c.head_dim**-0.5, keys[:, halves], values]
        gates = self._read(f"{name}.to_gates.weight") * gamma
        bias = torch.cat([torch.zeros(3 * c.heads * c.head_dim), self._read(f"{name}.to_gates.bias")])
        into = torch.cat([*(part.reshape(-1, c.dim) for part in parts), gates])
        out = self._product(self._read(f"{name}.to_out.0.weight"))
        return _Attention(self._product(into), self._product(bias), out, None, False)

    def _linear_attention(self, name: str) -> _Attention:
        into = self._read(f"{name}.to_qkv.0.weight") * self._read(f"{name}.norm.gamma") * self._c.dim**0.5
        temperature = self._kept(self._read(f"{name}.temperature").exp() * 8)
        return _Attention(
            self._product(into), None, self._product(self._read(f"{name}.to_out.1.weight")), temperature, True
        )

    def _linear(self, name: str) -> tuple[Tensor, Tensor]:
        return self._product(self._read(f"{name}.weight")), self._product(self._read(f"{name}.bias"))

    def _read(self, name: str) -> Tensor:
        return self._tensors[name].float()

    def _product(self, tensor: Tensor) -> Tensor:
        return self._kept(tensor.to(self._dtype))

    def _kept(self, tensor: Tensor) -> Tensor:
        """On the device, in memory of its own."""
        kept = tensor.detach().to(self._device, copy=True).contiguous()
        self.bytes += kept.nbytes
        return kept
