"""`PriorEncoder`: from content features and pitch to the distribution of the latent frames.

The text encoder of VITS (Kim, Kong & Son, 2021) with content features in place of text: a post-norm transformer
(Vaswani et al., 2017) with relative attention, whose feed-forward layers are convolutions over time.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from understudy.voices.rvc.architecture import PITCH_STEPS, Architecture
from understudy.voices.rvc.attention import RelativeAttention
from understudy.voices.rvc.flow import masked


class ChannelNorm(nn.Module):
    """Layer norm over the channels of [B, C, T]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x.transpose(1, 2), self.gamma.shape, self.gamma, self.beta).transpose(1, 2)


class FeedForward(nn.Module):
    """Two convolutions over time with a ReLU between them, [B, C, T] to the same shape."""

    def __init__(self, channels: int, inner: int, kernel: int) -> None:
        super().__init__()
        self.conv_1 = nn.Conv1d(channels, inner, kernel, padding=kernel // 2)
        self.conv_2 = nn.Conv1d(inner, channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return masked(self.conv_2(masked(self.conv_1(masked(x, mask)).relu_(), mask)), mask)


class Transformer(nn.Module):
    """Layers of attention and feed-forward, each with a residual connection and a norm after it; [B, C, T]."""

    def __init__(self, channels: int, inner: int, heads: int, layers: int, kernel: int) -> None:
        super().__init__()
        self.attn_layers = nn.ModuleList(RelativeAttention(channels, heads) for _ in range(layers))
        self.norm_layers_1 = nn.ModuleList(ChannelNorm(channels) for _ in range(layers))
        self.ffn_layers = nn.ModuleList(FeedForward(channels, inner, kernel) for _ in range(layers))
        self.norm_layers_2 = nn.ModuleList(ChannelNorm(channels) for _ in range(layers))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = masked(x, mask)
        for attend, norm_1, feed, norm_2 in zip(
            self.attn_layers, self.norm_layers_1, self.ffn_layers, self.norm_layers_2, strict=True
        ):
            x = norm_1(x + attend(x, mask))
            x = norm_2(x + feed(x, mask))
        return masked(x, mask)


class PriorEncoder(nn.Module):
    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        hidden = architecture.hidden_channels
        self.emb_phone = nn.Linear(architecture.content_channels, hidden)
        self.emb_pitch = nn.Embedding(PITCH_STEPS, hidden) if architecture.f0 else None
        self.encoder = Transformer(
            hidden, architecture.filter_channels, architecture.heads, architecture.layers, architecture.kernel
        )
        self.proj = nn.Conv1d(hidden, 2 * architecture.latent_channels, 1)

    def forward(self, content: Tensor, coarse: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the standard deviation of each latent value, each [B, latent, T].

        `content` [B, T, D]; `coarse` [B, T], pitch in 1..255, None in models without pitch; `mask` [B, 1, T], 0 where
        a row has no frame (None: all rows are full).
        """
        x = self.emb_phone(content)
        if self.emb_pitch is not None:
            x = x + self.emb_pitch(coarse)
        # scaled by sqrt(hidden) as in the original transformer; [B, T, hidden] to [B, hidden, T]
        x = functional.leaky_relu(x * math.sqrt(x.shape[-1]), 0.1).transpose(1, 2)
        mean, log_std = masked(self.proj(self.encoder(x, mask)), mask).chunk(2, 1)
        return mean, log_std
