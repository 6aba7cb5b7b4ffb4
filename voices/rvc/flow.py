"""`Flow`: the invertible map between the prior's latent frames and the decoder's.

Dinh, Sohl-Dickstein & Bengio, "Density estimation using Real NVP", 2016: coupling layers, each of which shifts one
half of the channels by a function of the other half, with the channels reversed in between; mean-only as in VITS.
The shift comes from a `WaveNet` (van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016, in the
non-causal form of WaveGlow and VITS), conditioned on the speaker.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from understudy.voices.rvc.architecture import COUPLINGS, WAVENET_KERNEL, WAVENET_LAYERS

REACH = COUPLINGS * WAVENET_LAYERS * (WAVENET_KERNEL // 2)  # frames to each side that a frame of the result depends on


class WaveNet(nn.Module):
    """Reaches ``layers * (kernel - 1) / 2`` frames to each side."""

    def __init__(self, channels: int, kernel: int, layers: int, speaker_channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.cond_layer = nn.Conv1d(speaker_channels, 2 * channels * layers, 1)
        self.in_layers = nn.ModuleList(
            nn.Conv1d(channels, 2 * channels, kernel, padding=kernel // 2) for _ in range(layers)
        )
        # the last layer has no residual output, because no layer follows
        self.res_skip_layers = nn.ModuleList(
            nn.Conv1d(channels, channels if layer == layers - 1 else 2 * channels, 1) for layer in range(layers)
        )

    def forward(self, x: Tensor, mask: Tensor | None, g: Tensor) -> Tensor:
        """`x` [B, C, T], `mask` [B, 1, T] or None, speaker `g` [B, G, 1] to [B, C, T], not masked."""
        conditions = self.cond_layer(g).split(2 * self.channels, 1)
        total = torch.zeros_like(x)
        for convolve, split, condition in zip(self.in_layers, self.res_skip_layers, conditions, strict=True):
            tanh, sigmoid = (convolve(x) + condition).chunk(2, 1)
            made = split(torch.tanh(tanh) * torch.sigmoid(sigmoid))
            if made.shape[1] > self.channels:
                residual, made = made.chunk(2, 1)
                x = masked(x + residual, mask)
            total = total + made
        return total


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """`x` [B, C, T], 0 where `mask` [B, 1, T] is; None: all frames exist."""
    return x if mask is None else x * mask


class Coupling(nn.Module):
    """`shift` computes from the first half of the channels by how much the second half moves."""

    def __init__(self, channels: int, hidden: int, speaker_channels: int) -> None:
        super().__init__()
        self.pre = nn.Conv1d(channels // 2, hidden, 1)
        self.enc = WaveNet(hidden, WAVENET_KERNEL, WAVENET_LAYERS, speaker_channels)
        self.post = nn.Conv1d(hidden, channels // 2, 1)

    def shift(self, first: Tensor, mask: Tensor | None, g: Tensor) -> Tensor:
        hidden = masked(self.pre(first), mask)
        return masked(self.post(masked(self.enc(hidden, mask, g), mask)), mask)


class Flow(nn.Module):
    def __init__(self, channels: int, hidden: int, speaker_channels: int) -> None:
        super().__init__()
        # the stored names count the reversals as layers, too: 0, 2, 4, 6 are the couplings
        self.flows = nn.ModuleList(
            Coupling(channels, hidden, speaker_channels) if index % 2 == 0 else nn.Identity()
            for index in range(2 * COUPLINGS)
        )

    def couplings(self) -> list[Coupling]:
        return [layer for layer in self.flows if isinstance(layer, Coupling)]

    def forward(self, z: Tensor, mask: Tensor | None, g: Tensor) -> Tensor:
        """From the decoder's side to the prior's, as in training. `z` [B, C, T], `mask` [B, 1, T] or None."""
        for coupling in self.couplings():
            first, second = z.chunk(2, 1)
            z = torch.cat([first, second + coupling.shift(first, mask, g)], 1).flip(1)
        return masked(z, mask)

    def inverse(self, z: Tensor, mask: Tensor | None, g: Tensor) -> Tensor:
        """From the prior's side to the decoder's, as in inference; undoes `forward`."""
        for coupling in reversed(self.couplings()):
            first, second = z.flip(1).chunk(2, 1)
            z = torch.cat([first, second - coupling.shift(first, mask, g)], 1)
        return masked(z, mask)
