"""The network of MDX23C: TFC-TDF-UNet v3 (M. Kim, J. H. Lee and S. Jung 2023, "Sound Demixing Challenge 2023 Music
Demixing Track Technical Report").

A U-Net over a complex spectrum whose bins are cut into subbands that become channels. Each block is two convolutions
(TFC) with a bottleneck of two linear layers along the frequencies (TDF) between them, added to its input. The result is
a complex spectrum per stem, not a mask. Tensors are ``[batch, channels, times, frequencies]`` with channels last in
memory, which the convolutions are faster at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from understudy.pipeline.separation.families.mdx23c.configuration import Mdx23cConfiguration
from understudy.pipeline.separation.families.tensors import Shape

_EPSILON = 1e-5


class Mdx23c:
    """`separate`: float32 ``[batch, 2, frames]`` -> ``[batch, stems, 2, frames]``; `frames` is the hop times one less
    than a multiple of all time factors. A network of one channel gets each of the two alone."""

    def __init__(
        self, configuration: Mdx23cConfiguration, tensors: Mapping[str, Tensor], device: str, dtype: torch.dtype
    ) -> None:
        self._c, self._dtype = configuration, dtype
        self._window = torch.hann_window(configuration.n_fft, device=device)
        self._tensors = {name: self._kept(tensor, device) for name, tensor in tensors.items()}
        self.size = sum(tensor.nbytes for tensor in self._tensors.values())

    def working(self, frames: int) -> int:
        """Bytes that a window of `frames` spectra takes while it is computed, roughly."""
        c = self._c
        outermost = frames * (c.bins // c.subbands) * c.width * self._dtype.itemsize
        spectrum = 2 * c.channels * (c.n_fft // 2 + 1) * frames * 4
        return 8 * outermost + (2 + 4 * len(c.stems)) * spectrum

    def separate(self, windows: Tensor) -> Tensor:
        c = self._c
        both, frames = windows.shape[0], windows.shape[-1]
        windows = windows.reshape(-1, c.channels, frames)
        batch, channels = windows.shape[:2]
        transform: dict[str, Any] = {"n_fft": c.n_fft, "hop_length": c.hop, "window": self._window}
        spectra = torch.stft(windows.reshape(-1, frames), return_complex=True, **transform)[:, : c.bins]
        times = spectra.shape[-1]
        parts = torch.view_as_real(spectra).permute(0, 3, 2, 1)  # channels, real and imaginary, times, bins
        # subbands become channels: [batch, channels * 2 * subbands, times, bins / subbands]
        mix = parts.reshape(batch, 2 * channels, times, c.subbands, -1).permute(0, 1, 3, 2, 4)
        mix = mix.reshape(batch, -1, times, c.bins // c.subbands).to(self._dtype, memory_format=torch.channels_last)
        first = x = self._convolved(mix, "first_conv")
        passed = []
        for scale in range(c.scales):
            x = self._blocks(x, f"encoder_blocks.{scale}.tfc_tdf")
            passed.append(x)
            name = f"encoder_blocks.{scale}.downscale.conv"
            x = self._convolved(self._normed(x, f"{name}.0"), f"{name}.2", stride=c.factor)
        x = self._blocks(x, "bottleneck_block")
        for scale in range(c.scales):
            name = f"decoder_blocks.{scale}.upscale.conv"
            x = self._normed(x, f"{name}.0")
            x = functional.conv_transpose2d(x, self._tensors[f"{name}.2.weight"], stride=c.factor)
            x = self._blocks(torch.cat([x, passed.pop()], 1), f"decoder_blocks.{scale}.tfc_tdf")
        # what comes out gates the first features; the spectrum itself is given beside it
        x = torch.cat([mix, x * first], 1)
        x = self._convolved(self._active(self._convolved(x, "final_conv.0")), "final_conv.2").float()
        # subbands back into bins; those that the network doesn't compute are zero
        x = x.reshape(-1, c.subbands, times, c.bins // c.subbands).transpose(1, 2).reshape(-1, 2, times, c.bins)
        found = windows.new_zeros(x.shape[0], c.n_fft // 2 + 1, times, 2)
        found[:, : c.bins] = x.permute(0, 3, 2, 1)
        sound = torch.istft(torch.view_as_complex(found), length=frames, **transform)
        sound = sound.view(both, -1, len(c.stems), channels, frames).transpose(1, 2)
        return sound.reshape(both, len(c.stems), -1, frames)

    def _blocks(self, x: Tensor, name: str) -> Tensor:
        """The TFC-TDF blocks of one scale."""
        for number in range(self._c.blocks):
            block = f"{name}.blocks.{number}"
            beside = self._convolved(x, f"{block}.shortcut")
            x = self._convolved(self._normed(x, f"{block}.tfc1.0"), f"{block}.tfc1.2", padding=1)
            narrow = self._along_frequency(self._normed(x, f"{block}.tdf.0"), f"{block}.tdf.2")
            x += self._along_frequency(self._normed(narrow, f"{block}.tdf.3"), f"{block}.tdf.5")
            x = self._convolved(self._normed(x, f"{block}.tfc2.0"), f"{block}.tfc2.2", padding=1)
            x += beside
        return x

    def _along_frequency(self, x: Tensor, name: str) -> Tensor:
        """A linear layer on the last dimension, as ``W @ x`` with the channels as columns: they are last in memory."""
        batch, channels, times, bins = x.shape
        weight = self._tensors[f"{name}.weight"]
        columns = x.permute(0, 2, 3, 1).reshape(batch * times, bins, channels)
        found = torch.bmm(weight.expand(batch * times, -1, -1), columns)
        return found.view(batch, times, -1, channels).permute(0, 3, 1, 2)

    def _kept(self, tensor: Tensor, device: str) -> Tensor:
        """A copy on the device; gains and biases of norms stay float32."""
        dtype = torch.float32 if tensor.ndim == 1 else self._dtype
        order = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
        return tensor.detach().to(device, dtype, copy=True, memory_format=order)

    def _convolved(self, x: Tensor, name: str, **options: Any) -> Tensor:
        return functional.conv2d(x, self._tensors[f"{name}.weight"], **options)

    def _normed(self, x: Tensor, name: str) -> Tensor:
        """Norm and activation."""
        norm = self._c.norm
        if norm == "none":
            return self._active(x)
        weight, bias = self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"]
        if norm == "instance":  # the batch norm of a batch of one, which is faster with channels last
            parts = [
                functional.batch_norm(part, None, None, weight, bias, training=True, eps=_EPSILON)
                for part in torch.split(x, 1)
            ]
            x = parts[0] if len(parts) == 1 else torch.cat(parts)
        elif norm == "batch":
            mean, variance = self._tensors[f"{name}.running_mean"], self._tensors[f"{name}.running_var"]
            x = functional.batch_norm(x, mean, variance, weight, bias, eps=_EPSILON)
        else:
            x = functional.group_norm(x, norm, weight, bias, _EPSILON)
        return self._active(x)

    def _active(self, x: Tensor) -> Tensor:
        if self._c.activation == "gelu":
            return functional.gelu(x)
        return functional.relu(x) if self._c.activation == "relu" else functional.elu(x, self._c.slope)


def expected(configuration: Mdx23cConfiguration) -> dict[str, Shape]:
    """Name and shape of every tensor in a checkpoint (as kuielab/sdx23 names them)."""
    return dict(_tensors(configuration))


def _tensors(c: Mdx23cConfiguration) -> Iterator[tuple[str, Shape]]:
    outer = 2 * c.channels * c.subbands  # real and imaginary part, of each channel, of each subband
    yield "first_conv.weight", (c.width, outer, 1, 1)
    width, bins = c.width, c.bins // c.subbands
    for scale in range(c.scales):
        name = f"encoder_blocks.{scale}"
        yield from _block_tensors(c, f"{name}.tfc_tdf", width, width, bins)
        yield from _norm_tensors(c, f"{name}.downscale.conv.0", width)
        yield f"{name}.downscale.conv.2.weight", (width + c.growth, width, *c.factor)
        width, bins = width + c.growth, bins // c.factor[1]
    yield from _block_tensors(c, "bottleneck_block", width, width, bins)
    for scale in range(c.scales):
        name = f"decoder_blocks.{scale}"
        yield from _norm_tensors(c, f"{name}.upscale.conv.0", width)
        yield f"{name}.upscale.conv.2.weight", (width, width - c.growth, *c.factor)
        width, bins = width - c.growth, bins * c.factor[1]
        yield from _block_tensors(c, f"{name}.tfc_tdf", 2 * width, width, bins)
    yield "final_conv.0.weight", (width, width + outer, 1, 1)
    yield "final_conv.2.weight", (len(c.stems) * outer, width, 1, 1)


def _block_tensors(
    c: Mdx23cConfiguration, name: str, inside: int, width: int, bins: int
) -> Iterator[tuple[str, Shape]]:
    for number in range(c.blocks):
        block = f"{name}.blocks.{number}"
        yield from _norm_tensors(c, f"{block}.tfc1.0", inside)
        yield f"{block}.tfc1.2.weight", (width, inside, 3, 3)
        yield from _norm_tensors(c, f"{block}.tdf.0", width)
        yield f"{block}.tdf.2.weight", (bins // c.bottleneck, bins)
        yield from _norm_tensors(c, f"{block}.tdf.3", width)
        yield f"{block}.tdf.5.weight", (bins, bins // c.bottleneck)
        yield from _norm_tensors(c, f"{block}.tfc2.0", width)
        yield f"{block}.tfc2.2.weight", (width, width, 3, 3)
        yield f"{block}.shortcut.weight", (width, inside, 1, 1)
        inside = width


def _norm_tensors(c: Mdx23cConfiguration, name: str, width: int) -> Iterator[tuple[str, Shape]]:
    if c.norm == "none":
        return
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)
    if c.norm == "batch":
        yield f"{name}.running_mean", (width,)
        yield f"{name}.running_var", (width,)
