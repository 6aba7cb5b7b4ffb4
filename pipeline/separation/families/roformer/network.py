"""The network of BS-Roformer (W.-T. Lu et al. 2023, "Music Source Separation with Band-Split RoPE Transformer") and of
Mel-Band RoFormer (J.-C. Wang et al. 2023): a spectrum's bands become tokens, transformers with rotary positions (J. Su
et al. 2021) go along time and along the bands in turn, and a small network per band gives its complex mask.

It computes what the published networks do, arranged for speed: the tokens are worked on in tiles that fit into a
processor's caches; products are in the asked number format, sums and the stream of tokens in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from understudy.pipeline.separation.families.roformer.attention import Buffers, attended, attended_features
from understudy.pipeline.separation.families.roformer.bands import Bands
from understudy.pipeline.separation.families.roformer.configuration import RoformerConfiguration
from understudy.pipeline.separation.families.roformer.packing import Linear, Packing, Transformer
from understudy.pipeline.separation.families.roformer.shapes import transformers, widths
from understudy.pipeline.separation.lanes import in_lanes

if TYPE_CHECKING:
    import torch
    from torch import Tensor

T = TypeVar("T")
R = TypeVar("R")

_TILE = 1024  # tokens worked on at once on a processor
_TINY = 1e-12  # the length below which a vector isn't made longer


class Roformer:
    """`separate`: float32 ``[batch, 2, frames]`` -> ``[batch, stems, 2, frames]``, `frames` a multiple of the hop; a
    network of one channel hears each of the two alone. `size`: bytes of its weights."""

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

    def working(self, frames: int) -> int:
        """Bytes that a window of `frames` takes while it is computed, roughly."""
        import torch

        c = self._c
        times, bands = frames // c.hop + 1, len(self._places)
        spectrum = 2 * c.channels * self._overlaid.numel() * times * 4
        tokens = times * bands * c.dim * 4
        in_tile = times * bands if self._device != "cpu" or c.linear else max(_TILE, times, bands)
        in_tile *= torch.get_num_threads() if self._device == "cpu" else 1
        each = 4 * c.dim + (8 * c.heads * c.head_dim + 5 * c.dim) * (4 if self._device == "cpu" else 3)  # of a token
        return (3 + 3 * len(c.stems)) * spectrum + 2 * tokens + in_tile * each + times * c.mask_width * 12

    def separate(self, windows: Tensor) -> Tensor:
        import torch

        c = self._c
        both, frames = windows.shape[0], windows.shape[-1]
        windows = windows.reshape(-1, c.channels, frames)
        batch, channels = windows.shape[:2]
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
        masks = [torch.zeros_like(values) for _ in self._masks]
        for mask, estimators in zip(masks, self._masks, strict=True):
            parts = self._each(partial(self._mask, tokens, estimators), range(len(estimators)))
            for place, part in zip(self._places, parts, strict=True):
                mask[:, :, place] += part
        del tokens
        found: list[Tensor] = []
        for mask in masks:
            masked = torch.view_as_complex(mask.view(batch, times, -1, channels, 2)) * spectra
            masked /= self._overlaid
            masked = masked.permute(0, 3, 2, 1).reshape(batch * channels, -1, times)
            found.append(torch.istft(masked, length=frames, **transform).reshape(batch, channels, frames))
        sound = torch.stack(found, dim=1)
        return sound.view(both, -1, len(found), channels, frames).transpose(1, 2).reshape(both, len(found), -1, frames)

    def _tokens(self, values: Tensor) -> Tensor:
        """``[batch, times, values]`` -> tokens ``[batch, times, bands, dim]``, through all layers."""
        import torch.nn.functional as functional

        tokens = values.new_empty(*values.shape[:2], len(self._places), self._c.dim)
        for band, (place, (weight, bias)) in enumerate(zip(self._places, self._split, strict=True)):
            part = values[:, :, place]
            tokens[:, :, band] = functional.linear(part * _scale(part), weight, bias)
        spare: SimpleQueue[Buffers] = SimpleQueue()  # of those that no tile uses now
        earlier: list[Tensor] = []
        for layer in self._layers:
            for before in earlier:
                tokens += before
            for transformer in layer:
                self._transform(tokens, transformer, spare)
            if self._c.skip:
                earlier.append(tokens.clone())
        if self._final is not None:
            tokens *= _scale(tokens)
            tokens *= self._final
        return tokens

    def _transform(self, tokens: Tensor, transformer: Transformer, spare: SimpleQueue[Buffers]) -> None:
        """Send the tokens ``[batch, times, bands, dim]`` through a transformer, in place."""
        batch, times, bands, dim = tokens.shape
        go = partial(self._go, transformer=transformer, spare=spare)
        if transformer.along == "linear":
            for sequence in tokens.view(batch, 1, times * bands, dim):
                go(sequence)
        elif transformer.along == "frequency":
            sequences, at_once = tokens.view(batch * times, bands, dim), self._at_once(bands)
            self._each(go, [sequences[first : first + at_once] for first in range(0, batch * times, at_once)])
        elif self._device != "cpu":
            whole = tokens.transpose(1, 2).contiguous()
            go(whole.view(batch * bands, times, dim))
            tokens.copy_(whole.transpose(1, 2))
        else:
            at_once = self._at_once(times)
            turned = tokens.transpose(1, 2)
            parts = [part[first : first + at_once] for part in turned for first in range(0, bands, at_once)]
            self._each(go, parts)

    def _at_once(self, length: int) -> int:
        """Sequences of `length` tokens in a tile."""
        return max(1, _TILE // length) if self._device == "cpu" else 1 << 30

    def _go(self, sequences: Tensor, transformer: Transformer, spare: SimpleQueue[Buffers]) -> None:
        """Sequences ``[n, length, dim]`` through the blocks, in place."""
        import torch.nn.functional as functional

        try:
            buffers = spare.get_nowait()
        except Empty:
            buffers = Buffers()
        tile = sequences.contiguous()
        flat = tile.view(-1, tile.shape[-1])
        for block in transformer.blocks:
            normed = (flat * _scale(flat)).to(self._dtype).view(tile.shape)
            if block.attention.temperature is not None:
                found = attended_features(normed, block.attention, self._c)
            else:
                found = attended(normed, block.attention, self._c, self._rotation(tile.shape[1], buffers), buffers)
            flat += functional.linear(found.flatten(0, 1), block.attention.out)
            normed = (flat * _scale(flat)).to(self._dtype)
            flat += functional.linear(functional.gelu(functional.linear(normed, *block.ff_in)), *block.ff_out)
        if transformer.gamma is not None:
            flat *= _scale(flat)
            flat *= transformer.gamma
        if tile is not sequences:
            sequences.copy_(tile)
        spare.put(buffers)

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

    def _mask(self, tokens: Tensor, estimators: list[list[Linear]], band: int) -> Tensor:
        """``[batch, times, bands, dim]`` -> float32 ``[batch, times, values of the band]``."""
        import torch.nn.functional as functional

        found, layers = tokens[:, :, band].to(self._dtype), estimators[band]
        for layer in layers[:-1]:
            found = functional.linear(found, *layer).tanh_()
        return functional.glu(functional.linear(found, *layers[-1]).float(), dim=-1)

    def _each(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """In bfloat16 on a processor operations are short, so that independent ones run beside each other."""
        if self._device == "cpu" and self._dtype.itemsize == 2:
            return in_lanes(function, items)
        return [function(item) for item in items]


def _scale(values: Tensor) -> Tensor:
    """What makes the last dimension's vectors one long."""
    import torch

    norms: Tensor = torch.linalg.vector_norm(values, dim=-1, keepdim=True)
    return norms.clamp_min_(_TINY).reciprocal_()
