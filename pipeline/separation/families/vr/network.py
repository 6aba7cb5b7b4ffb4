"""The networks of VR checkpoints: magnitudes of stacked spectra in, a mask out, ``[batch, channels, bins, spectra]``.

Both generations are cascades of U-Nets (after Takahashi and Mitsufuji 2017): the lower and the upper half of the bins
go through one of their own each, then all bins through one that sees the song beside what the stages before it found.
The narrowest level of each U-Net looks at its input at several dilations side by side (atrous spatial pyramid pooling,
Chen et al. 2017, "Rethinking atrous convolution for semantic image segmentation"). Networks of version 5.1 have a
second pair of half-band stages and a recurrent layer. Attributes are called as the checkpoints' tensors are; dropout
and the auxiliary outputs serve training alone and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvNorm(nn.Module):
    """A convolution (`separable`: one per channel, then one of a single value across channels), batch normalisation and
    activation. Keeps the size but for its `stride`."""

    def __init__(
        self,
        before: int,
        after: int,
        kernel: int = 1,
        activation: type[nn.Module] = nn.ReLU,
        stride: int = 1,
        dilation: tuple[int, int] = (1, 1),
        separable: bool = False,
    ) -> None:
        super().__init__()
        middle, groups = (before, before) if separable else (after, 1)
        padding = dilation if kernel == 3 else (0, 0)
        layers: list[nn.Module] = [nn.Conv2d(before, middle, kernel, stride, padding, dilation, groups, bias=False)]
        if separable:
            layers.append(nn.Conv2d(middle, after, 1, bias=False))
        self.conv = nn.Sequential(*layers, nn.BatchNorm2d(after), activation())

    def forward(self, values: Tensor) -> Tensor:
        result: Tensor = self.conv(values)
        return result


class Encoder(nn.Module):
    """Two convolutions, of which one halves bins and spectra. Gives the results of both."""

    def __init__(self, before: int, after: int, strides: tuple[int, int]) -> None:
        super().__init__()
        self.conv1 = ConvNorm(before, after, 3, nn.LeakyReLU, strides[0])
        self.conv2 = ConvNorm(after, after, 3, nn.LeakyReLU, strides[1])

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        first = self.conv1(values)
        return first, self.conv2(first)


class Decoder(nn.Module):
    """Twice as many bins and spectra, and a convolution over them and the skip connection. `name`: of that in the
    checkpoint."""

    def __init__(self, before: int, after: int, name: str) -> None:
        super().__init__()
        self.add_module(name, ConvNorm(before, after, 3))

    def forward(self, values: Tensor, skip: Tensor) -> Tensor:
        values = functional.interpolate(values, scale_factor=2, mode="bilinear", align_corners=True)
        beyond = (skip.shape[3] - values.shape[3]) // 2
        (layer,) = self.children()
        result: Tensor = layer(torch.cat([values, skip[..., beyond : beyond + values.shape[3]]], 1))
        return result


class Pyramid(nn.Module):
    """The mean over all bins and the `views` side by side, brought together by `bottleneck`."""

    def __init__(self, mean: ConvNorm, views: Sequence[ConvNorm], bottleneck: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.AdaptiveAvgPool2d((1, None)), mean)
        self._views = [f"conv{number}" for number in range(2, 2 + len(views))]
        for name, view in zip(self._views, views, strict=True):
            self.add_module(name, view)
        self.bottleneck = bottleneck

    def forward(self, values: Tensor) -> Tensor:
        # the mean's only bin repeated; `interpolate`, unlike `expand`, keeps the channels last in memory
        mean = functional.interpolate(self.conv1(values), values.shape[2:], mode="bilinear", align_corners=True)
        views = [getattr(self, name)(values) for name in self._views]
        result: Tensor = self.bottleneck(torch.cat([mean, *views], 1))
        return result


class OldUNet(nn.Module):
    """Before version 5.1: `depth` levels, each twice as wide as the one above; a skip connection leaves each encoder
    before it halves."""

    def __init__(self, before: int, width: int, depth: int, views: int) -> None:
        super().__init__()
        widths = [width << level for level in range(depth)]
        for level, (outer, inner) in enumerate(pairwise([before, *widths]), 1):
            self.add_module(f"enc{level}", Encoder(outer, inner, (1, 2)))
        deep = widths[-1]
        dilated = [ConvNorm(deep, deep, 3, dilation=(size, size), separable=True) for size in (4, 8, 16, 16)]
        seen = [ConvNorm(deep, deep), *dilated[:3], dilated[3], dilated[3]]  # the last two share their weights
        bottleneck = nn.Sequential(ConvNorm(deep * views, 2 * deep))
        self.aspp = Pyramid(ConvNorm(deep, deep), seen[: views - 1], bottleneck)
        for level, own in enumerate(widths, 1):
            self.add_module(f"dec{level}", Decoder(3 * own, own, "conv"))
        self.depth = depth

    def forward(self, values: Tensor) -> Tensor:
        skips = []
        for level in range(1, self.depth + 1):
            skip, values = getattr(self, f"enc{level}")(values)
            skips.append(skip)
        values = self.aspp(values)  # at 1 / 2 ** depth of the bins and spectra
        for level in range(self.depth, 0, -1):
            values = getattr(self, f"dec{level}")(values, skips.pop())
        return values


class OldCascade(nn.Module):
    """Before version 5.1. `views` of the pyramid: 5 to 7."""

    edge = 128

    def __init__(self, width: int, depth: int, views: int) -> None:
        super().__init__()
        self.stg1_low_band_net = OldUNet(2, width, depth, views)
        self.stg1_high_band_net = OldUNet(2, width, depth, views)
        self.stg2_bridge = ConvNorm(width + 2, width // 2)
        self.stg2_full_band_net = OldUNet(width // 2, width, depth, views)
        self.stg3_bridge = ConvNorm(2 * width + 2, width)
        self.stg3_full_band_net = OldUNet(width, 2 * width, depth, views)
        self.out = nn.Conv2d(2 * width, 2, 1, bias=False)

    def forward(self, spectra: Tensor) -> Tensor:
        """``[batch, 2, bins + 1, spectra]`` -> a mask of that shape."""
        song = spectra[:, :, :-1]  # an even number of bins
        low, high = song.chunk(2, 2)
        # each stage gets the song beside the results of the stages before
        halves = torch.cat([self.stg1_low_band_net(low), self.stg1_high_band_net(high)], 2)
        whole = self.stg2_full_band_net(self.stg2_bridge(torch.cat([song, halves], 1)))
        last = self.stg3_full_band_net(self.stg3_bridge(torch.cat([song, halves, whole], 1)))
        return mask_of(self.out, last)


class Memory(nn.Module):
    """A bidirectional LSTM along time over all bins of a single channel: ``[batch, 1, bins, spectra]``."""

    def __init__(self, before: int, bins: int, states: int) -> None:
        super().__init__()
        self.conv = ConvNorm(before, 1)
        self.lstm = nn.LSTM(bins, states // 2, bidirectional=True)
        self.dense = nn.Sequential(nn.Linear(states, bins), nn.BatchNorm1d(bins), nn.ReLU())

    def forward(self, values: Tensor) -> Tensor:
        frames = self.conv(values)[:, 0].permute(2, 0, 1)  # [spectra, batch, bins]
        states, _ = self.lstm(frames)
        found: Tensor = self.dense(states.reshape(-1, states.shape[2])).reshape(*frames.shape[:2], 1, -1)
        return found.permute(1, 2, 3, 0)


class UNet(nn.Module):
    """Of version 5.1 and later, for `bins` in its second level; a skip connection leaves each encoder behind it."""

    def __init__(self, before: int, width: int, bins: int, states: int) -> None:
        super().__init__()
        widths = [width * times for times in (1, 2, 4, 6, 8)]
        self.enc1 = ConvNorm(before, width, 3)
        for level, (outer, inner) in enumerate(pairwise(widths), 2):
            self.add_module(f"enc{level}", Encoder(outer, inner, (2, 1)))
        deep = widths[-1]
        dilated = [ConvNorm(deep, deep, 3, dilation=sizes) for sizes in ((4, 2), (8, 4), (12, 6))]
        self.aspp = Pyramid(ConvNorm(deep, deep), [ConvNorm(deep, deep), *dilated], ConvNorm(5 * deep, deep))
        for level, (own, below) in enumerate(pairwise(widths), 1):
            self.add_module(f"dec{level}", Decoder(own + below + (level == 1), own, "conv1"))
        self.lstm_dec2 = Memory(2 * width, bins, states)

    def forward(self, values: Tensor) -> Tensor:
        skips = [self.enc1(values)]
        for level in range(2, 6):
            skips.append(getattr(self, f"enc{level}")(skips[-1])[1])
        values = self.aspp(skips.pop())
        for level in (4, 3, 2):
            values = getattr(self, f"dec{level}")(values, skips.pop())
        values = torch.cat([values, self.lstm_dec2(values)], 1)
        result: Tensor = self.get_submodule("dec1")(values, skips.pop())
        return result


class Cascade(nn.Module):
    """Of version 5.1 and later; `states` of the recurrent layers."""

    edge = 64

    def __init__(self, bins: int, width: int, states: int) -> None:
        super().__init__()
        half, quarter, own = width // 2, width // 4, bins // 2
        self.stg1_low_band_net = nn.Sequential(UNet(2, half, own // 2, states), ConvNorm(half, quarter))
        self.stg1_high_band_net = UNet(2, quarter, own // 2, states // 2)
        self.stg2_low_band_net = nn.Sequential(UNet(quarter + 2, width, own // 2, states), ConvNorm(width, half))
        self.stg2_high_band_net = UNet(quarter + 2, half, own // 2, states // 2)
        self.stg3_full_band_net = UNet(3 * width // 4 + 2, width, own, states)
        self.out = nn.Conv2d(width, 2, 1, bias=False)

    def forward(self, spectra: Tensor) -> Tensor:
        """``[batch, 2, bins + 1, spectra]`` -> a mask of that shape."""
        song = spectra[:, :, :-1]  # an even number of bins
        low, high = song.chunk(2, 2)
        # each stage gets the song beside the results of the stages before
        first_low, first_high = self.stg1_low_band_net(low), self.stg1_high_band_net(high)
        second_low = self.stg2_low_band_net(torch.cat([low, first_low], 1))
        second_high = self.stg2_high_band_net(torch.cat([high, first_high], 1))
        first, second = torch.cat([first_low, first_high], 2), torch.cat([second_low, second_high], 2)
        return mask_of(self.out, self.stg3_full_band_net(torch.cat([song, first, second], 1)))


def mask_of(out: nn.Conv2d, values: Tensor) -> Tensor:
    """The mask, one bin higher than `values`, whose highest is repeated. Computed in float32 whatever the layers before
    it are in: near one, a mask in 16 bits has steps of -48 dB, which would be audible in the other stem."""
    with torch.autocast(values.device.type, enabled=False):
        mask = torch.sigmoid(out(values.float()))
    return functional.pad(mask, (0, 0, 0, 1), mode="replicate")
