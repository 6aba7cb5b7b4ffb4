"""HTDemucs, computed with channels last and matrix products in the requested dtype.

The same network as `demucs.htdemucs.HTDemucs`, with the same weights (S. Rouard, F. Massa, A. Défossez, "Hybrid
Transformers for Music Source Separation", 2023): a spectrogram branch and a waveform branch of encoders, a transformer
that lets both attend to each other, and decoders with skip connections. Tensors are ``[batch, frequencies, frames,
channels]``; the waveform branch has one frequency, and its frames are samples.

Three things make it faster than the module: channels last turns the 1x1 convolutions into plain matrix products;
elementwise work is done on blocks that stay in the CPU's cache; stems that are not requested are left out of the last
layers, which are the largest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from understudy.pipeline.separation.families.demucs.attention import CrossTransformer, cross_transformer
from understudy.pipeline.separation.families.demucs.dconv import Branch, add_branches, branches

Axis = Literal[1, 2]
"""Along which a layer's convolution with strides goes: 1 frequencies, 2 time."""

_AT_ONCE = 1 << 18
"""Values that elementwise work is done on at once on a CPU: a megabyte in float32."""


@dataclass(frozen=True)
class _Gated:
    """A convolution to twice the channels, whose second half gates the first (GLU)."""

    weight: Tensor
    bias: Tensor
    padding: tuple[int, int]


@dataclass(frozen=True)
class _Layer:
    """An encoder: a convolution with strides, `branches` and a gated convolution; or a decoder: these in reverse, with
    a transposed convolution. One whose kernel is twice its stride is an ordinary one with a kernel of two that gives
    `stride` neighbouring outputs at a time as channels: `weight` is ``[stride * channels, channels before, 2]`` with
    the kernel along the axis. The convolution is faster, and its groups of neighbours need no scattered additions."""

    axis: Axis
    weight: Tensor
    bias: Tensor
    stride: int
    padding: int
    branches: tuple[Branch, ...]
    gated: _Gated


class Hybrid:
    """`network`, an HTDemucs, with matrix products in `dtype`. Made by `hybrid`."""

    def __init__(
        self,
        network: Any,
        spectral: tuple[Sequence[_Layer], Sequence[_Layer]],  # encoders and decoders
        temporal: tuple[Sequence[_Layer], Sequence[_Layer]],
        meeting: Meeting,
        dtype: torch.dtype,
    ) -> None:
        self._spectral, self._temporal, self._meeting, self._dtype = spectral, temporal, meeting, dtype
        self._sources = len(network.sources)
        self._size: int = network.nfft
        self._window = torch.hann_window(self._size, device=spectral[0][0].bias.device)
        self._places = network.freq_emb.weight * network.freq_emb_scale if network.freq_emb is not None else None

    def __call__(self, windows: Tensor, wanted: tuple[int, ...]) -> Tensor:
        """float32 ``[batch, 2, frames]`` and numbers of stems -> float32 ``[batch, wanted, 2, frames]``."""
        # both branches are standardised; mean and deviation are put back at the end
        spectrum = self._spectrum(windows)  # [batch, frequencies, frames, 4]
        mean, deviation = spectrum.mean((1, 2, 3), keepdim=True), spectrum.std((1, 2, 3), keepdim=True)
        spectral = (spectrum - mean) / (1e-5 + deviation)
        wave = windows.transpose(1, 2)[:, None]  # [batch, 1, samples, 2]
        mean_wave, deviation_wave = wave.mean((1, 2, 3), keepdim=True), wave.std((1, 2, 3), keepdim=True)
        temporal = (wave - mean_wave) / (1e-5 + deviation_wave)

        # encoders; what each gives is kept for the decoder of the same level
        saved: list[Tensor] = []
        saved_temporal: list[Tensor] = []
        lengths = [temporal.shape[2]]
        for encoder in self._spectral[0]:
            spectral = _encode(spectral, encoder, None if saved else self._places).to(self._dtype)
            saved.append(spectral)
        for encoder in self._temporal[0]:
            temporal = _encode(temporal, encoder, None).to(self._dtype)
            saved_temporal.append(temporal)
            lengths.append(temporal.shape[2])
        lengths.pop()

        # the transformer at the deepest level; its result is added to what went in, as the first skip connection
        first, second = self._meeting(spectral, temporal[:, 0])
        spectral = (saved.pop() + first).to(self._dtype)
        temporal = (saved_temporal.pop() + second[:, None]).to(self._dtype)
        # decoders; each adds its result to the skip connection in place, so that no third tensor is needed
        for decoder in self._spectral[1][:-1]:
            spectral = _decode(spectral, decoder, saved.pop(), 0)
        for decoder in self._temporal[1][:-1]:
            temporal = _decode(temporal, decoder, saved_temporal.pop(), lengths.pop())
        # the last decoders, for the requested stems alone; the sum of both branches is the result
        found = self._wave(
            _last(spectral, self._spectral[1][-1], self._sources, wanted), mean, deviation, windows.shape
        )
        waves = _last(temporal, self._temporal[1][-1], self._sources, wanted)[:, 0]
        padding = self._temporal[1][-1].padding
        waves = waves.transpose(1, 2).flatten(2)[..., padding : padding + lengths.pop()]
        waves = _apart(waves, 1, (-1, 2))
        return found.add_(waves * deviation_wave + mean_wave)

    def _spectrum(self, windows: Tensor) -> Tensor:
        """``[batch, 2, samples]`` -> ``[batch, frequencies, frames, 4]``: real and imaginary part of the left channel,
        then of the right. The highest frequency is left out, as in the package (spec.py)."""
        hop = self._size // 4
        length = windows.shape[-1]
        beyond = -length % hop
        # frames begin 3/2 hops before the window and there is one per hop: the count divides by the strides
        padded = functional.pad(windows, (3 * hop // 2, 3 * hop // 2 + beyond), mode="reflect")
        frames = padded.unfold(-1, self._size, hop) * self._window
        spectra = torch.fft.rfft(frames, norm="ortho")[..., :-1]
        return torch.view_as_real(spectra.permute(0, 3, 2, 1).contiguous()).flatten(3)

    def _wave(self, groups: Tensor, mean: Tensor, deviation: Tensor, shape: torch.Size) -> Tensor:
        """The inverse transform, ``[batch, wanted, 2, samples]``, of what `_last` gives: spectra in groups of
        neighbouring frequencies, ``[batch, groups, frames, 2 * wanted, 2 * neighbours]``. Groups at either end reach
        beyond the spectrum, and that is cut off; the highest frequency is zero. A stem at a time, so that only one
        spectrum is held in float32; overlap-add by quarters of the window, without a scatter."""
        hop: int = self._size // 4
        below, count = self._spectral[1][-1].padding, groups.shape[2]
        found = groups.new_zeros(groups.shape[0], groups.shape[3] // 2, 2, shape[-1], dtype=torch.float32)
        spectra = torch.zeros(2, count, self._size // 2 + 1, dtype=torch.complex64, device=groups.device)
        kept = torch.view_as_real(spectra)[..., :-1, :]
        added = torch.empty(2, count + 3, hop, device=groups.device)
        # moved in pieces of 8 or 16 bytes, not value by value
        pieces = groups.view(
            torch.complex128 if groups.shape[-1] * groups.element_size() % 16 == 0 else torch.complex64
        )
        for batch, of_batch in enumerate(pieces):
            for stem in range(found.shape[1]):
                moved = of_batch[:, :, 2 * stem : 2 * stem + 2].permute(2, 1, 0, 3).contiguous().view(groups.dtype)
                parts = _apart(moved.flatten(2), -1, (-1, 2))
                kept.copy_(parts[:, :, below : below + kept.shape[2]]).mul_(deviation[batch]).add_(mean[batch])
                frames = torch.fft.irfft(spectra, norm="ortho").mul_(self._window / 1.5)  # whose squares add up to 1.5
                quarters = _apart(frames, -1, (4, hop))
                added.zero_()
                for number in range(4):
                    added[:, number : number + count] += quarters[:, :, number]
                found[batch, stem] = added.flatten(1)[:, 3 * hop // 2 : 3 * hop // 2 + shape[-1]]
        return found


@dataclass(frozen=True)
class Meeting:
    """The transformer over both branches, between the linear layers `up` and `down` that change the number of channels
    where the network has them (``bottom_channels``); weights and biases for spectrogram and waveform."""

    transformer: CrossTransformer
    up: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None
    down: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None

    def __call__(self, spectral: Tensor, temporal: Tensor) -> tuple[Tensor, Tensor]:
        if self.up:
            spectral, temporal = functional.linear(spectral, *self.up[0]), functional.linear(temporal, *self.up[1])
        one, two = self.transformer(spectral.float(), temporal.float())
        if self.down:
            dtype = self.down[0][0].dtype
            one, two = functional.linear(one.to(dtype), *self.down[0]), functional.linear(two.to(dtype), *self.down[1])
        return one, two


def hybrid(network: Any, dtype: torch.dtype) -> Callable[[Tensor, tuple[int, ...]], Tensor] | None:
    """A function that computes an HTDemucs with matrix products in `dtype`; None where the network differs in
    structure from the published ones (kernels that aren't twice the strides, normalised or wrapped outer layers, masks,
    ...), for which the package's module is used."""
    if not network.cac or network.crosstransformer is None or network.audio_channels != 2:
        return None
    meeting = cross_transformer(network.crosstransformer, dtype)
    if meeting is None or len(network.tencoder) != len(network.encoder):
        return None
    layers = []
    for encoders, decoders in ((network.encoder, network.decoder), (network.tencoder, network.tdecoder)):
        # the first layers see the greatest range of values, and are small: float32
        made = [_encoder(layer, torch.float32 if number == 0 else dtype) for number, layer in enumerate(encoders)]
        unmade = [_decoder(layer, dtype) for layer in decoders]
        if None in made or None in unmade:
            return None
        layers.append(([layer for layer in made if layer], [layer for layer in unmade if layer]))

    def linear(module: Any) -> tuple[Tensor, Tensor]:
        return module.weight[:, :, 0].to(dtype), module.bias.to(dtype)

    up = down = None
    if network.bottom_channels:
        up = linear(network.channel_upsampler), linear(network.channel_upsampler_t)
        down = linear(network.channel_downsampler), linear(network.channel_downsampler_t)
    return Hybrid(network, layers[0], layers[1], Meeting(meeting, up, down), dtype)


def _is_plain(layer: Any) -> bool:
    return (
        type(layer).__name__ in ("HEncLayer", "HDecLayer")
        and not layer.empty
        and not layer.norm
        and layer.rewrite is not None
        and layer.kernel_size == 2 * layer.stride
        and layer.stride % 2 == 0
        and layer.pad == layer.stride // 2
    )


def _branches(layer: Any) -> tuple[Branch, ...] | None:
    return () if layer.dconv is None else branches(layer.dconv)


def _kernel(weight: Tensor, axis: Axis, dtype: torch.dtype) -> Tensor:
    if weight.dim() == 3:
        weight = weight[:, :, None] if axis == 2 else weight[..., None]
    return weight.to(dtype).contiguous(memory_format=torch.channels_last)


def _gated(layer: Any, axis: Axis, dtype: torch.dtype) -> _Gated:
    module = layer.rewrite
    height, width = (0, module.padding[0]) if len(module.padding) == 1 else module.padding
    return _Gated(_kernel(module.weight, axis, dtype), module.bias.to(dtype), (height, width))


def _encoder(layer: Any, dtype: torch.dtype) -> _Layer | None:
    if not _is_plain(layer) or (found := _branches(layer)) is None:
        return None
    axis: Axis = 1 if layer.freq else 2
    gated = _gated(layer, axis, dtype)
    if gated.weight.shape[2:] != (1, 1):
        return None
    kernel, bias = _kernel(layer.conv.weight, axis, dtype), layer.conv.bias.to(dtype)
    return _Layer(axis, kernel, bias, layer.stride, layer.pad, found, gated)


def _decoder(layer: Any, dtype: torch.dtype) -> _Layer | None:
    if not _is_plain(layer) or not layer.context_freq or (found := _branches(layer)) is None:
        return None
    axis: Axis = 1 if layer.freq else 2
    stride: int = layer.stride
    weight = layer.conv_tr.weight  # [before, after, kernel] or [before, after, kernel, 1]
    weight = weight.flatten(2).unflatten(2, (2, stride)).permute(3, 1, 0, 2).flatten(0, 1)
    weight = torch.stack([weight[..., 1], weight[..., 0]], -1)  # what the one before adds, what this one adds
    bias = layer.conv_tr.bias.repeat(stride)
    gated = _gated(layer, axis, dtype)
    return _Layer(axis, _kernel(weight, axis, dtype), bias.to(dtype), stride, layer.pad, found, gated)


def _along(axis: Axis, value: int, other: int) -> tuple[int, int]:
    return (value, other) if axis == 1 else (other, value)


def _convolved(
    values: Tensor, weight: Tensor, bias: Tensor, stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """``[batch, frequencies, frames, channels]``, before as after."""
    return functional.conv2d(values.permute(0, 3, 1, 2), weight, bias, stride, padding).permute(0, 2, 3, 1).contiguous()


def _apart(values: Tensor, dimension: int, sizes: tuple[int, ...]) -> Tensor:
    apart: Tensor = values.unflatten(dimension, sizes)  # type: ignore[no-untyped-call]
    return apart


def _at_once(values: Tensor) -> int:
    return _AT_ONCE if values.device.type == "cpu" else values.numel()


def _encode(values: Tensor, layer: _Layer, places: Tensor | None) -> Tensor:
    """An encoder: strided convolution, GELU, residual branches, gated 1x1 convolution. ``[batch, frequencies, frames,
    channels]``; `places`: ``[frequencies, channels]``, the embedding of the frequencies, added to the result."""
    if layer.axis == 2 and (beyond := -values.shape[2] % layer.stride):
        values = functional.pad(values, (0, 0, 0, beyond))
    stride, padding = _along(layer.axis, layer.stride, 1), _along(layer.axis, layer.padding, 0)
    convolved = _convolved(values, layer.weight, layer.bias, stride, padding)
    # each block of rows is replaced by its result: fresh memory would cost as much time as the work
    rows = convolved.flatten(0, 1)  # [batch * frequencies, frames, channels]
    added = None if places is None else places.repeat(values.shape[0], 1)[:, None]
    at_once = _at_once(rows)
    step = max(1, at_once // rows[0].numel())
    for start in range(0, rows.shape[0], step):
        part = functional.gelu(rows[start : start + step].float())
        add_branches(part, layer.branches, at_once)
        _gate(part, layer.gated, rows[start : start + step], at_once)
        if added is not None:
            rows[start : start + step] += added[start : start + step]
    return convolved


def _gate(values: Tensor, gated: _Gated, out: Tensor, at_once: int) -> None:
    """``[rows, frames, channels]`` through a gated 1x1 convolution into `out`, as two matrix products per block."""
    flat, into = values.flatten(0, 1), out.flatten(0, 1)
    weight = gated.weight[:, :, 0, 0]
    middle = flat.shape[1]
    step = max(1, at_once // middle)
    for start in range(0, flat.shape[0], step):
        part = flat[start : start + step].to(weight.dtype)
        gate = functional.linear(part, weight[middle:], gated.bias[middle:]).sigmoid_()
        torch.mul(functional.linear(part, weight[:middle], gated.bias[:middle]), gate, out=into[start : start + step])


def _inside(values: Tensor, layer: _Layer) -> Tensor:
    """A decoder up to its transposed convolution (gated convolution, residual branches), written over `values`."""
    both = _convolved(values, layer.gated.weight, layer.gated.bias, (1, 1), layer.gated.padding)
    rows, out = both.flatten(0, 1), values.flatten(0, 1)
    at_once = _at_once(rows)
    middle = values.shape[-1]
    step = max(1, at_once // rows[0].numel())
    for start in range(0, rows.shape[0], step):
        block = rows[start : start + step]
        gated = torch.empty(*block.shape[:2], middle, dtype=torch.float32, device=block.device)
        flat, into = block.flatten(0, 1), gated.flatten(0, 1)
        some = max(1, at_once // flat.shape[1])
        for first in range(0, flat.shape[0], some):
            part = flat[first : first + some].float()
            torch.mul(torch.sigmoid(part[:, middle:]), part[:, :middle], out=into[first : first + some])
        add_branches(gated, layer.branches, at_once)
        out[start : start + step] = gated
    return values


def _decode(values: Tensor, layer: _Layer, skipped: Tensor, length: int) -> Tensor:
    """A decoder's result, added to the skip connection `skipped` of the next one in place. `length`: frames that the
    encoder of the same level took, to which the waveform is cut."""
    inside = _inside(values, layer)
    groups = _convolved(inside, layer.weight, layer.bias, (1, 1), _along(layer.axis, 1, 0))
    if layer.axis == 2:
        wave = _apart(groups, -1, (layer.stride, -1)).flatten(2, 3)[:, :, layer.padding : layer.padding + length]
        return skipped.add_(functional.gelu(wave))
    rows = skipped.shape[1]
    step = max(1, _at_once(groups) // groups[0, 0].numel())
    for batch in range(groups.shape[0]):
        for start in range(0, groups.shape[1], step):
            part = functional.gelu(groups[batch, start : start + step])
            apart = _apart(part, -1, (layer.stride, -1)).transpose(1, 2).flatten(0, 1)
            first = start * layer.stride - layer.padding
            low, high = max(0, first), min(rows, first + apart.shape[0])
            skipped[batch, low:high] += apart[low - first : high - first]
    return skipped


def _last(values: Tensor, layer: _Layer, sources: int, wanted: tuple[int, ...]) -> Tensor:
    """The last decoder's result for the stems in `wanted`: ``[batch, ..., 2 * wanted, neighbours * parts]``, where a
    channel has two parts (real, imaginary) in the spectrogram branch and one in the waveform's. Only the rows of the
    weights that belong to these stems are multiplied."""
    inside = _inside(values, layer)
    shape = (layer.stride, sources, 2, -1)  # neighbours, stems, channels, parts
    weight, bias = (_apart(tensor, 0, shape)[:, list(wanted)] for tensor in (layer.weight, layer.bias))
    weight, bias = weight.transpose(0, 1).transpose(1, 2), bias.transpose(0, 1).transpose(1, 2)
    groups = _convolved(inside, weight.flatten(0, 3), bias.flatten(), (1, 1), _along(layer.axis, 1, 0))
    return _apart(groups, -1, (2 * len(wanted), -1))
