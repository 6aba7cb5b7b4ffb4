"""`Flow`: the invertible map between what the content says and what the decoder sings.

Dinh, Sohl-Dickstein & Bengio, "Density estimation using Real NVP", 2016: coupling layers, each of which shifts one
half of the channels by what it reads in the other half, with the channels reversed in between; mean-only as in VITS.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from understudy.voices.rvc.shapes import COUPLINGS, WAVENET_KERNEL, WAVENET_LAYERS
from understudy.voices.rvc.wavenet import WaveNet, masked

REACH = COUPLINGS * WAVENET_LAYERS * (WAVENET_KERNEL // 2)  # frames to each side that a frame of the result depends on


class Coupling(nn.Module):
    """`shift` tells from the first half of the channels by how much the second half moves."""

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
        """From the prior's side to the decoder's, as in singing; undoes `forward`."""
        for coupling in reversed(self.couplings()):
            first, second = z.flip(1).chunk(2, 1)
            z = torch.cat([first, second - coupling.shift(first, mask, g)], 1)
        return masked(z, mask)
