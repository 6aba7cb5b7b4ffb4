"""`Decoder`: from latent frames and a harmonic source to the waveform.

A HiFi-GAN generator (Kong, Kim, Bae, 2020) to whose every stage the source is added (neural source-filter, Wang et
al., 2019). Models without pitch have no source and are the plain generator.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import pi, prod
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from understudy.voices.rvc.architecture import Architecture

SLOPE = 0.1

LAST_SLOPE = 0.01  # before the last convolution RVC's networks are trained with torch's default slope, not with `SLOPE`


SINE = 0.1
VOICED_NOISE = 0.003
UNVOICED_NOISE = SINE / 3


def harmonic_source(f0: Tensor, hop: int, rate: int, noise: Tensor | None = None, turns: float = 0.0) -> Tensor:
    """`f0` [B, T] in Hz, 0 where unvoiced, held for `hop` samples each, to [B, 1, T * hop] at `rate` Hz, float32.

    Voiced: 0.1 * sin(2 pi turns) + 0.003 * noise. Unvoiced: noise / 30 alone. `noise` [B, T * hop] is standard
    normal; without it there is none. The phase at sample n is the sum of f0 / rate over samples 0..n, n included;
    it is counted in turns in float64, because a float32 sum drifts by whole degrees in a minute. `turns`: the phase
    before the first sample, so that a song can be synthesised in pieces.
    """
    per_sample = f0.double() / rate
    before = turns + torch.cumsum(per_sample * hop, dim=1) - per_sample * hop
    within = torch.arange(1, hop + 1, dtype=torch.float64, device=f0.device)
    phase = (before.unsqueeze(2) % 1.0) + per_sample.unsqueeze(2) * within
    voiced = (f0 > 0).unsqueeze(2)
    sound = SINE * torch.sin(2 * pi * (phase % 1.0)).float() * voiced
    if noise is not None:
        sound = sound + noise.reshape(sound.shape) * torch.where(voiced, VOICED_NOISE, UNVOICED_NOISE)
    return sound.reshape(f0.shape[0], 1, -1)


class Source(nn.Module):
    """The source's learned gain and offset, followed by tanh: [B, 1, N] to [B, 1, N] within -1..1."""

    def __init__(self) -> None:
        super().__init__()
        self.l_linear = nn.Linear(1, 1)

    def forward(self, source: Tensor) -> Tensor:
        return torch.tanh(source * self.l_linear.weight + self.l_linear.bias)


def same_conv(channels: int, kernel: int, dilation: int = 1) -> nn.Conv1d:
    """A convolution that keeps channels and length; `kernel` is odd."""
    return nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2)


class ResidualBlock(nn.Module):
    """[B, channels, N] to the same shape."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(same_conv(channels, kernel, dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(same_conv(channels, kernel) for _ in dilations)

    def pairs(self) -> Iterator[tuple[nn.Conv1d, nn.Conv1d]]:
        """The pairs of convolutions of each residual connection, in order."""
        return cast(Iterator[tuple[nn.Conv1d, nn.Conv1d]], zip(self.convs1, self.convs2, strict=True))

    def forward(self, x: Tensor) -> Tensor:
        for first, second in self.pairs():
            x = x + second(F.leaky_relu(first(F.leaky_relu(x, SLOPE)), SLOPE))
        return x


class Decoder(nn.Module):
    """Parameters have RVC's names (those behind ``dec.``), with weight normalisation folded."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        rates, kernels = architecture.upsample_rates, architecture.upsample_kernels
        channels = [architecture.upsample_channels >> stage for stage in range(len(rates) + 1)]
        self.conv_pre = nn.Conv1d(architecture.latent_channels, channels[0], 7, padding=3)
        self.cond = nn.Conv1d(architecture.speaker_channels, channels[0], 1)
        self.ups = nn.ModuleList(
            nn.ConvTranspose1d(channels[i], channels[i + 1], kernel, rate, padding=(kernel - rate) // 2)
            for i, (rate, kernel) in enumerate(zip(rates, kernels, strict=True))
        )
        self.resblocks = nn.ModuleList(
            ResidualBlock(width, kernel, dilations)
            for width in channels[1:]
            for kernel, dilations in zip(architecture.resblock_kernels, architecture.resblock_dilations, strict=True)
        )
        self.conv_post = nn.Conv1d(channels[-1], 1, 7, padding=3, bias=False)
        self.m_source = Source() if architecture.f0 else None
        self.noise_convs = nn.ModuleList()
        if architecture.f0:
            for i, width in enumerate(channels[1:]):
                stride = prod(rates[i + 1 :])
                kernel, padding = (2 * stride, stride // 2) if stride > 1 else (1, 0)
                self.noise_convs.append(nn.Conv1d(1, width, kernel, stride, padding))

    def stages(self) -> Iterator[tuple[nn.ConvTranspose1d, nn.Conv1d | None, list[ResidualBlock]]]:
        """The parts of each stage: the upsampling, the convolution of the source (None in models without pitch), and
        the residual blocks, whose outputs are averaged."""
        blocks = len(self.resblocks) // len(self.ups)
        for i, up in enumerate(self.ups):
            noise = self.noise_convs[i] if self.m_source is not None else None
            residual = list(self.resblocks)[i * blocks : (i + 1) * blocks]
            yield cast(nn.ConvTranspose1d, up), cast("nn.Conv1d | None", noise), cast(list[ResidualBlock], residual)

    def forward(self, z: Tensor, source: Tensor | None, g: Tensor) -> Tensor:
        """`z` [B, 192, T] latent frames, `source` [B, 1, T * hop] as of `harmonic_source` (None in models without
        pitch), `g` [B, 256, 1] the speaker, to sound [B, 1, T * hop] within -1..1."""
        if self.m_source is not None and source is not None:
            source = self.m_source(source)
        x = self.conv_pre(z) + self.cond(g)
        for up, noise, blocks in self.stages():
            x = up(F.leaky_relu(x, SLOPE))
            if noise is not None and source is not None:
                x = x + noise(source)
            x = sum(block(x) for block in blocks) / len(blocks)  # kernels of different sizes, see `Architecture`
        return torch.tanh(self.conv_post(F.leaky_relu(x, LAST_SLOPE)))
