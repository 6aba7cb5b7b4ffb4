"""`Discriminators`: the networks that learn to tell recorded sound from decoded sound.

HiFi-GAN's (Kong, Kim & Bae, 2020): one for each of several periods, which sees the sound folded into rows of that
length, so that a column holds every p-th sample; and one of MelGAN's (Kumar et al., 2019), which sees the sound as it
is. RVC v1 has six periods, v2 eight.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from understudy.voices.rvc.architecture import Architecture
from understudy.voices.rvc.decoder import SLOPE

PERIODS = {"v1": (2, 3, 5, 7, 11, 17), "v2": (2, 3, 5, 7, 11, 17, 23, 37)}


class ScaleDiscriminator(nn.Module):
    """Convolutions in groups of four input channels. `width`: of its widest layer, 1024 in RVC."""

    def __init__(self, width: int) -> None:
        super().__init__()
        channels = [width // 64, width // 16, width // 4, width, width]
        self.convs = nn.ModuleList(
            [
                nn.Conv1d(1, channels[0], 15, padding=7),
                *(
                    nn.Conv1d(into, out, 41, 4, padding=20, groups=max(1, into // 4))
                    for into, out in pairwise(channels)
                ),
                nn.Conv1d(width, width, 5, padding=2),
            ]
        )
        self.conv_post = nn.Conv1d(width, 1, 3, padding=1)

    def forward(self, sound: Tensor) -> list[Tensor]:
        return _maps(sound, self.convs, self.conv_post)


class PeriodDiscriminator(nn.Module):
    """`width`: of its widest layer, 1024 in RVC."""

    def __init__(self, period: int, width: int) -> None:
        super().__init__()
        self.period = period
        channels = [1, width // 32, width // 8, width // 2, width, width]
        self.convs = nn.ModuleList(
            nn.Conv2d(into, out, (5, 1), (1 if last else 3, 1), padding=(2, 0))
            for into, out, last in zip(channels, channels[1:], [False] * 4 + [True], strict=False)
        )
        self.conv_post = nn.Conv2d(width, 1, (3, 1), padding=(1, 0))

    def forward(self, sound: Tensor) -> list[Tensor]:
        rest = -sound.shape[2] % self.period
        if rest:
            sound = F.pad(sound, (0, rest), "reflect")
        rows = sound.view(sound.shape[0], 1, -1, self.period)
        return _maps(rows, self.convs, self.conv_post)


def _maps(x: Tensor, convs: nn.ModuleList, post: nn.Module) -> list[Tensor]:
    maps = []
    for conv in convs:
        x = F.leaky_relu(conv(x), SLOPE)
        maps.append(x)
    return [*maps, post(x)]


class Discriminators(nn.Module):
    """Every convolution has weight norm, its parameters RVC's names (see `networks.weights`). Sizes are in proportion
    to the decoder's channels."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        width = 2 * architecture.upsample_channels
        self.discriminators = nn.ModuleList(
            [ScaleDiscriminator(width), *(PeriodDiscriminator(p, width) for p in PERIODS[architecture.version])]
        )
        for module in list(self.modules()):
            if isinstance(module, nn.Conv1d | nn.Conv2d):
                parametrizations.weight_norm(module)

    def forward(self, sound: Tensor) -> list[list[Tensor]]:
        """`sound` [B, 1, N] to the feature maps of each discriminator, [B, C, n] or [B, C, n, period]. The last of
        them, with one channel, is its verdict: 1 for recorded sound, 0 for decoded."""
        return [discriminator(sound) for discriminator in self.discriminators]
