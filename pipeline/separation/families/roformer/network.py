"""The network of BS-Roformer (W.-T. Lu et al. 2023, "Music Source Separation with Band-Split RoPE Transformer") and of
Mel-Band RoFormer (J.-C. Wang et al. 2023): a spectrum's bands become tokens, transformers with rotary positions (J. Su
et al. 2021) go along time and along the bands in turn, and a small network per band gives its complex mask.

It computes what the published networks do, arranged for speed: the tokens are worked on in tiles that fit into a
processor's caches; products are in the asked number format, sums and the stream of tokens in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.separation.families.roformer.attention import Buffers, attended, attended_features
from pipeline.separation.families.roformer.bands import Bands
from pipeline.separation.families.roformer.configuration import RoformerConfiguration
from pipeline.separation.families.roformer.packing import Linear, Packing, Transformer
from pipeline.separation.families.roformer.shapes import transformers, widths

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_TILE = 1024  # tokens worked on at once on a processor
_TINY = 1e-12  # the length below which a vector isn't made longer


class Roformer:
    """`separate`: float32 ``[batch, channels, frames]`` -> ``[batch, stems, channels, frames]``, `frames` a multiple of
    the hop. `size`: bytes of its weights."""

    def __init__(
        self,
        configuration: RoformerConfiguration,
        bands: Bands,
        tensors: Mapping[str, Tensor],
        device: str,
        dtype: torch.dtype,
    ) -> None:
        import torch

        c = self._c = configuration
        self._device, self._dtype = device, dtype
        self._places = [slice(2 * c.channels * first, 2 * c.channels * end) for first, end in bands]
        self._window = torch.hann_window(c.span, device=device)
        overlaid = torch.zeros(c.n_fft // 2 + 1)
        for first, end in bands:
            overlaid[first:end] += 1
        self._overlaid = overlaid[:, None].to(device)
        packing = Packing(c, tensors, device, dtype)
        self._split = [packing.band(number, width) for number, width in enumerate(widths(c, bands))]
        self._layers = [
            [packing.transformer(layer, place, *told) for place, told in enumerate(transformers(c))]
            for layer in range(c.depth)
        ]
        self._final = packing.final()
        self._masks = [[packing.mask(stem, band) for band in range(len(bands))] for stem in range(len(c.stems))]
        self.size = packing.size

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
        tokens = self._heard(values)
        masks = [torch.zeros_like(values) for _ in self._masks]
        for mask, estimators in zip(masks, self._masks, strict=True):
            for band, (place, layers) in enumerate(zip(self._places, estimators, strict=True)):
                mask[:, :, place] += self._mask(tokens[:, :, band], layers)
        del tokens
        found = []
        for mask in masks:
            masked = torch.view_as_complex(mask.view(batch, times, -1, channels, 2)) * spectra
            masked /= self._overlaid
            masked = masked.permute(0, 3, 2, 1).reshape(batch * channels, -1, times)
            found.append(torch.istft(masked, length=frames, **transform).reshape(batch, channels, frames))
        return torch.stack(found, dim=1)

    def _heard(self, values: Tensor) -> Tensor:
        """``[batch, times, values]`` -> tokens ``[batch, times, bands, dim]``, through all layers."""
        import torch.nn.functional as functional

        tokens = values.new_empty(*values.shape[:2], len(self._places), self._c.dim)
        for band, (place, (weight, bias)) in enumerate(zip(self._places, self._split, strict=True)):
            part = values[:, :, place]
            tokens[:, :, band] = functional.linear(part * _scale(part), weight, bias)
        buffers = Buffers()
        earlier: list[Tensor] = []
        for layer in self._layers:
            for before in earlier:
                tokens += before
            for transformer in layer:
                self._transform(tokens, transformer, buffers)
            if self._c.skip:
                earlier.append(tokens.clone())
        if self._final is not None:
            tokens *= _scale(tokens)
            tokens *= self._final
        return tokens

    def _transform(self, tokens: Tensor, transformer: Transformer, buffers: Buffers) -> None:
        """Send the tokens ``[batch, times, bands, dim]`` through a transformer, in place."""
        batch, times, bands, dim = tokens.shape
        if transformer.along == "linear":
            for sequence in tokens.view(batch, 1, times * bands, dim):
                self._go(sequence, transformer, buffers)
        elif transformer.along == "frequency":
            for tile in tokens.view(batch * times, bands, dim).split(self._at_once(bands)):
                self._go(tile, transformer, buffers)
        else:
            for sequences in tokens.transpose(1, 2):  # one window's [bands, times, dim]
                for part in sequences.split(self._at_once(times)):
                    tile = part.contiguous()
                    self._go(tile, transformer, buffers)
                    part.copy_(tile)

    def _at_once(self, length: int) -> int:
        """Sequences of so many tokens in a tile."""
        return max(1, _TILE // length) if self._device == "cpu" else 1 << 30

    def _go(self, tile: Tensor, transformer: Transformer, buffers: Buffers) -> None:
        """Sequences ``[n, length, dim]`` through the blocks, in place; `tile` is contiguous."""
        import torch.nn.functional as functional

        flat = tile.view(-1, tile.shape[-1])
        for block in transformer.blocks:
            heard = (flat * _scale(flat)).to(self._dtype).view(tile.shape)
            if block.attention.temperature is not None:
                found = attended_features(heard, block.attention, self._c)
            else:
                found = attended(heard, block.attention, self._c, self._rotation(tile.shape[1], buffers), buffers)
            flat += functional.linear(found.flatten(0, 1), block.attention.out)
            heard = (flat * _scale(flat)).to(self._dtype)
            flat += functional.linear(functional.gelu(functional.linear(heard, *block.widen)), *block.narrow)
        if transformer.gamma is not None:
            flat *= _scale(flat)
            flat *= transformer.gamma

    def _rotation(self, length: int, buffers: Buffers) -> Tensor:
        """By how much the pairs of features of each token are turned: complex ``[length, head_dim / 2]``."""
        import torch

        key = ("rotation", length)
        if key not in buffers.held:
            width = self._c.head_dim
            speeds = 1.0 / 10_000 ** (torch.arange(0, width, 2).float() / width)
            angles = torch.arange(length).float()[:, None] * speeds
            buffers.held[key] = (torch.polar(torch.ones_like(angles), angles).to(self._device),)
        return buffers.held[key][0]

    def _mask(self, tokens: Tensor, layers: list[Linear]) -> Tensor:
        """``[batch, times, dim]`` -> float32 ``[batch, times, values of the band]``."""
        import torch.nn.functional as functional

        found = tokens.to(self._dtype)
        for layer in layers[:-1]:
            found = functional.linear(found, *layer).tanh_()
        return functional.glu(functional.linear(found, *layers[-1]).float(), dim=-1)


def _scale(values: Tensor) -> Tensor:
    """What makes the last dimension's vectors one long."""
    import torch

    norms: Tensor = torch.linalg.vector_norm(values, dim=-1, keepdim=True)
    return norms.clamp_min_(_TINY).reciprocal_()
