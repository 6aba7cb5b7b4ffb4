"""`ResidualBlock`: dilated convolutions around a shortcut; what gives the decoder its view of the sound's past and
future. Kong, Kim, Bae, "HiFi-GAN" (2020), appendix A.1, block "1".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.1


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
        """The convolutions that stand behind each other between two shortcuts, in order."""
        return cast(Iterator[tuple[nn.Conv1d, nn.Conv1d]], zip(self.convs1, self.convs2, strict=True))

    def forward(self, x: Tensor) -> Tensor:
        for first, second in self.pairs():
            x = x + second(F.leaky_relu(first(F.leaky_relu(x, SLOPE)), SLOPE))
        return x
