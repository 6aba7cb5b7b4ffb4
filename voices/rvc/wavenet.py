"""`WaveNet`: gated convolutions that all add to one output, told who speaks.

van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016, in the non-causal form of WaveGlow and VITS.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WaveNet(nn.Module):
    """Reaches ``layers * (kernel - 1) / 2`` frames to each side."""

    def __init__(self, channels: int, kernel: int, layers: int, speaker_channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.cond_layer = nn.Conv1d(speaker_channels, 2 * channels * layers, 1)
        self.in_layers = nn.ModuleList(
            nn.Conv1d(channels, 2 * channels, kernel, padding=kernel // 2) for _ in range(layers)
        )
        # the last layer has nobody after it to hand a residual to
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
