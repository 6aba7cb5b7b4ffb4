"""The network of BS-Roformer (W.-T. Lu et al. 2023, "Music Source Separation with Band-Split RoPE Transformer") and of
Mel-Band RoFormer (J.-C. Wang et al. 2023).

    windows -> spectrum -> a token per band and frame -> transformers along time and along the bands in turn
            -> a small network per band and stem -> complex mask -> masked spectrum -> stems

Positions are rotary (J. Su et al. 2021, "RoFormer"). The result is that of the published networks; the arrangement is
for speed: tokens go through a transformer in tiles of whole sequences that stay in the CPU's caches, from the first
norm to the last product; matrix products are in the requested dtype, norms and the stream of tokens in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from understudy.pipeline.separation.families.roformer.attention import Buffers, attended, attended_features
from understudy.pipeline.separation.families.roformer.configuration import RoformerConfiguration
from understudy.pipeline.separation.families.roformer.packing import (
    Linear,
    Packing,
    Transformer,
    transformers,
    widths,
)
from understudy.pipeline.separation.lanes import in_lanes

T = TypeVar("T")
R = TypeVar("R")

_TILE = 1024  # tokens in a tile on a CPU
_TINY = 1e-12  # the norm below which a vector isn't made longer


class Roformer:
    """`separate`: float32 ``[batch, 2, frames]`` -> ``[batch, stems, 2, frames]``, `frames` a multiple of the hop; a
    network of one channel gets each of the two alone. `size`: bytes of its weights."""

    def __init__(
        self, configuration: RoformerConfiguration, tensors: Mapping[str, Tensor], device: str, dtype: torch.dtype
    ) -> None:
        c = self._c = configuration
        self._device, self._dtype = device, dtype
        self._places = [slice(2 * c.channels * first, 2 * c.channels * end) for first, end in c.bands]
        self._window = torch.hann_window(c.span, device=device)
        # mel bands overlap: the masks of a bin's bands are averaged
        overlaid = torch.zeros(c.n_fft // 2 + 1)
        for first, end in c.bands:
            overlaid[first:end] += 1
        self._overlaid = overlaid[:, None].to(device)
        packing = Packing(c, tensors, device, dtype)
        self._split = [packing.band(number, width) for number, width in enumerate(widths(c))]
        self._layers = [
            [packing.transformer(layer, place, *along) for place, along in enumerate(transformers(c))]
            for layer in range(c.depth)
        ]
        self._final = packing.final()
        self._masks = [[packing.mask(stem, band) for band in range(len(c.bands))] for stem in range(len(c.stems))]
        self.size = packing.size

    def working(self, frames: int) -> int:
        """Bytes that a window of `frames` takes while it is computed, roughly."""
        c = self._c
        times, bands = frames // c.hop + 1, len(self._places)
        spectrum = 2 * c.channels * self._overlaid.numel() * times * 4
        tokens = times * bands * c.dim * 4
        in_tile = times * bands if self._device != "cpu" or c.linear else max(_TILE, times, bands)
        in_tile *= torch.get_num_threads() if self._device == "cpu" else 1
        each = 4 * c.dim + (8 * c.heads * c.head_dim + 5 * c.dim) * (4 if self._device == "cpu" else 3)  # of a token
        return (3 + 3 * len(c.stems)) * spectrum + 2 * tokens + in_tile * each + times * c.mask_width * 12

    def separate(self, windows: Tensor) -> Tensor:
        c = self._c
        both, frames = windows.shape[0], windows.shape[-1]
        windows = windows.reshape(-1, c.channels, frames)  # mono networks: the channels become batch
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
        # [batch, times, values]: of each bin of each channel, real and imaginary part; a band is a slice of them
        values = torch.view_as_real(spectra).reshape(batch, times, -1)
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
        """``[batch, times, values]`` -> tokens ``[batch, times, bands, dim]`` after all layers."""
        tokens = values.new_empty(*values.shape[:2], len(self._places), self._c.dim)
        for band, (place, (weight, bias)) in enumerate(zip(self._places, self._split, strict=True)):
            part = values[:, :, place]
            tokens[:, :, band] = functional.linear(part * _scale(part), weight, bias)
        spare: SimpleQueue[Buffers] = SimpleQueue()  # those that no tile uses now
        earlier: list[Tensor] = []
        for layer in self._layers:
            for before in earlier:  # with skip connections, a layer's input is the sum of all results before it
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
        """The tokens ``[batch, times, bands, dim]`` through a transformer, in place. Along the bands, sequences lie in
        memory as they are; along time, tiles are strided views on a CPU (copied tile by tile), and one copy on a
        GPU."""
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
        """Sequences ``[n, length, dim]`` through all blocks of a transformer, in place: attention and feed-forward
        network, each on normalised tokens and added to the stream."""
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
        """The rotary positions: unit numbers by which pairs of features are multiplied, complex ``[length, head_dim /
        2]``. The scores then depend on the distance of two tokens alone."""
        key = ("rotation", length)
        if key not in buffers.held:
            width = self._c.head_dim
            speeds = 1.0 / 10_000 ** (torch.arange(0, width, 2).float() / width)
            angles = torch.arange(length).float()[:, None] * speeds
            buffers.held[key] = (torch.polar(torch.ones_like(angles), angles).to(self._device),)
        return buffers.held[key][0]

    def _mask(self, tokens: Tensor, estimators: list[list[Linear]], band: int) -> Tensor:
        """Tokens ``[batch, times, bands, dim]`` -> the mask of one band, float32 ``[batch, times, values of the
        band]``."""
        found, layers = tokens[:, :, band].to(self._dtype), estimators[band]
        for layer in layers[:-1]:
            found = functional.linear(found, *layer).tanh_()
        return functional.glu(functional.linear(found, *layers[-1]).float(), dim=-1)

    def _each(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """`function` of each item. In bfloat16 on a CPU operations are short, so independent ones run in parallel lanes
        instead of spreading each over all cores."""
        if self._device == "cpu" and self._dtype.itemsize == 2:
            return in_lanes(function, items)
        return [function(item) for item in items]


def _scale(values: Tensor) -> Tensor:
    """Factors that give the vectors of the last dimension unit length (RMS norm; its gain is in the weights behind
    it)."""
    norms: Tensor = torch.linalg.vector_norm(values, dim=-1, keepdim=True)
    return norms.clamp_min_(_TINY).reciprocal_()
