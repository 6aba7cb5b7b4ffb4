"""`Discriminators`: the networks that learn to tell recorded sound from decoded sound.

HiFi-GAN's (Kong, Kim & Bae, 2020): one for each of several periods, which sees the sound folded into rows of that
length, so that a column holds every p-th sample; and one of MelGAN's (Kumar et al., 2019), which sees the sound as it
is. RVC v1 has six periods, v2 eight.

Each is called with `kernels`, its weights after weight norm, so that several calls between two updates share them. On a
CPU the widest convolutions, nine tenths of the operations, use minimal filtering.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from understudy.voices.rvc.architecture import Architecture
from understudy.voices.rvc.decoder import SLOPE
from understudy.voices.rvc.training import minimal_convolution

PERIODS = {"v1": (2, 3, 5, 7, 11, 17), "v2": (2, 3, 5, 7, 11, 17, 23, 37)}
WIDE = 512  # channels from which minimal filtering is faster

Kernels = list[tuple[Tensor, Tensor]]
"""Of each convolution, its kernels [out, in / groups, 1, taps] and a factor of each channel of its output [out]. Those
for minimal filtering are [products, out, in]."""


class Convolution(nn.Module):
    """A convolution over the last axis of [N, in, 1, L] with weight norm (Salimans & Kingma, 2016), which stores RVC's
    `weight_g` and `weight_v`. `folded`: whether RVC's kernels have a fourth axis, because they see rows of a period."""

    def __init__(self, into: int, out: int, taps: int, stride: int = 1, groups: int = 1, folded: bool = False) -> None:
        super().__init__()
        plain = nn.Conv1d(into, out, taps, groups=groups)  # for torch's initial values
        direction = plain.weight.detach().unsqueeze(3) if folded else plain.weight.detach()
        norm = torch.linalg.vector_norm(direction, dim=tuple(range(1, direction.dim())), keepdim=True)
        self.bias = nn.Parameter(cast(Tensor, plain.bias).detach())
        self.weight_g = nn.Parameter(norm)
        self.weight_v = nn.Parameter(direction)
        self.taps, self.stride, self.groups = taps, stride, groups
        fits = taps == minimal_convolution.TAPS and stride in minimal_convolution.STRIDES and groups == 1
        self.wide = fits and min(into, out) >= WIDE

    def kernels(self) -> tuple[Tensor, Tensor]:
        """See `Kernels`. The factor is all of weight norm: the kernels of a direction are not normalised."""
        direction = self.weight_v.view(*self.weight_v.shape[:2], 1, self.taps)
        if self._minimal(direction):
            values, norms = minimal_convolution.values(direction.squeeze(2), self.stride)
            return values, self.weight_g.flatten() / norms
        return torch._weight_norm(direction, self.weight_g.view(-1, 1, 1, 1), 0), torch.ones(())

    def _minimal(self, x: Tensor) -> bool:
        return self.wide and x.device.type == "cpu"

    def forward(self, x: Tensor, kernels: tuple[Tensor, Tensor]) -> Tensor:
        weight, factor = kernels
        if self._minimal(x):
            rows = minimal_convolution.convolve(x.squeeze(2).transpose(1, 2), weight, self.stride)
            return torch.addcmul(self.bias, rows, factor).transpose(1, 2).unsqueeze(2)
        return F.conv2d(x, weight, self.bias, (1, self.stride), (0, self.taps // 2), groups=self.groups)


class Discriminator(nn.Module):
    """A chain of convolutions with leaky ReLUs between them."""

    def __init__(self, convs: list[Convolution], post: Convolution) -> None:
        super().__init__()
        self.convs = nn.ModuleList(convs)
        self.conv_post = post

    def _chain(self) -> list[Convolution]:
        return [*cast(list[Convolution], self.convs), self.conv_post]

    def kernels(self) -> Kernels:
        return [convolution.kernels() for convolution in self._chain()]

    def rows(self, sound: Tensor) -> Tensor:
        """`sound` [B, 1, N] to the first convolution's input [rows, 1, 1, L]."""
        return sound.unsqueeze(2)

    def forward(self, sound: Tensor, kernels: Kernels | None = None) -> list[Tensor]:
        """`sound` [B, 1, N] to the feature maps [rows, C, 1, n]. The last of them, with one channel, is the verdict: 1
        for recorded sound, 0 for decoded. The rows of a clip follow each other."""
        x = self.rows(sound)
        maps = []
        chain = self._chain()
        for convolution, kernel in zip(chain, kernels or self.kernels(), strict=True):
            x = convolution(x, kernel)
            if convolution is not chain[-1]:
                x = F.leaky_relu(x, SLOPE)
            maps.append(x)
        return maps


class ScaleDiscriminator(Discriminator):
    """Convolutions in groups of four input channels. `width`: of its widest layer, 1024 in RVC."""

    def __init__(self, width: int) -> None:
        channels = [width // 64, width // 16, width // 4, width, width]
        grouped = [Convolution(into, out, 41, 4, max(1, into // 4)) for into, out in pairwise(channels)]
        first, last = Convolution(1, channels[0], 15), Convolution(width, width, 5)
        super().__init__([first, *grouped, last], Convolution(width, 1, 3))


class PeriodDiscriminator(Discriminator):
    """`width`: of its widest layer, 1024 in RVC."""

    def __init__(self, period: int, width: int) -> None:
        channels = [1, width // 32, width // 8, width // 2, width]
        strided = [Convolution(into, out, 5, 3, folded=True) for into, out in pairwise(channels)]
        last = Convolution(width, width, 5, folded=True)
        super().__init__([*strided, last], Convolution(width, 1, 3, folded=True))
        self.period = period

    def rows(self, sound: Tensor) -> Tensor:
        rest = -sound.shape[2] % self.period
        if rest:
            sound = F.pad(sound, (0, rest), "reflect")
        # every p-th sample is a row of its own: [B, n, p] to [B * p, 1, 1, n]
        folded = sound.view(sound.shape[0], -1, self.period).transpose(1, 2)
        return folded.reshape(-1, 1, 1, folded.shape[2])


class Discriminators(nn.Module):
    """Parameters have RVC's names. Sizes are in proportion to the decoder's channels."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        width = 2 * architecture.upsample_channels
        self.discriminators = nn.ModuleList(
            [ScaleDiscriminator(width), *(PeriodDiscriminator(p, width) for p in PERIODS[architecture.version])]
        )

    def each(self) -> list[Discriminator]:
        return cast(list[Discriminator], list(self.discriminators))

    def forward(self, sound: Tensor) -> list[list[Tensor]]:
        """The feature maps of each discriminator, see `Discriminator`."""
        return [discriminator(sound) for discriminator in self.each()]
