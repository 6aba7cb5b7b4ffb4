"""A network that may take the fusions' place: from the cues and the levels of a song to the share of each bin that is
sung. `understudy train-separator` trains it; none is shipped, see docs/decisions.md.

A small U-Net over time and frequency, in the manner of Ronneberger et al. (MICCAI 2015), with layers that connect all
frequencies of a frame (Choi et al., "Investigating U-Nets with various intermediate blocks for spectrogram-based
singing voice separation", ISMIR 2020) and one recurrent layer over time where it is narrowest. It looks at bands
that are one bin wide at the bottom and wider at the top. Besides levels it sees the classical cues, which look alike in
synthetic and in real songs: that is what lets it learn from synthetic ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from understudy.pipeline.separation.embedded.fusion import FIRST, fuse, log_odds
from understudy.pipeline.separation.spectrogram import Grid, Map, Spectrum

if TYPE_CHECKING:
    from torch import Tensor, nn

Features = NDArray[np.float32]
"""What the network sees, ``[channels, frames, bands]``: `LEVELS`, then the cues in the order of `CUES`."""

CUES = ("varying", "tonal", "restless", "melody", "activity", "imbalance")
LEVELS = ("left", "right", "middle", "side")
CHANNELS = len(LEVELS) + len(CUES) + 1
BANDS = 672
_SPACING = 44100 / 4096
_EDGES = np.concatenate((np.arange(264), 264 + 2 * np.arange(254), 772 + 3 * np.arange(154))) - 0.5
"""Lower edges of the bands in steps of `_SPACING` Hz."""
WIDTHS = np.append(np.diff(_EDGES), 3).astype(np.float32)
"""How wide each band is, in the same steps."""
CENTRES = ((_EDGES + WIDTHS / 2) * _SPACING).astype(np.float32)
"""The middle of each band in Hz."""
LEVEL_EXPONENT = 0.3


@dataclass(frozen=True)
class Shape:
    """Sizes of the network: `widths` of its levels, `memory` of the recurrent layer, `spread`: width of the layers that
    connect all frequencies."""

    widths: tuple[int, ...] = (32, 48, 64, 80)
    memory: int = 64
    spread: int = 24


@lru_cache(maxsize=4)
def banding(rate: int, size: int, bins: int) -> NDArray[np.float32]:
    """Which share of each band lies in each bin, ``[bins, bands]``; columns sum to 1, or to 0 above the last bin."""
    low = _EDGES * _SPACING
    high = low + WIDTHS * _SPACING
    step = rate / size
    start = (np.arange(bins) - 0.5) * step
    shared = np.minimum(high[None], start[:, None] + step) - np.maximum(low[None], start[:, None])
    return np.asarray(np.maximum(shared, 0) / (high - low), np.float32)


def to_bands(values: Map, grid: Grid) -> Map:
    """The means over the bands of a map on `grid`: ``[frames, bands]``."""
    return np.asarray(values @ banding(grid.rate, grid.size, grid.bins), np.float32)


def to_bins(values: Map, grid: Grid) -> Map:
    """A map over the bands as one on `grid`: ``[frames, bins]``."""
    matrix = banding(grid.rate, grid.size, grid.bins)
    width = matrix * WIDTHS  # bands count by how much of the bin they cover
    return np.asarray(values @ (width / np.maximum(width.sum(axis=1, keepdims=True), 1e-9)).T, np.float32)


def features_of(spectrum: Spectrum, cues: Mapping[str, Map], grid: Grid) -> Features:
    """`Features` of a song of one or two channels."""
    left, right = spectrum[0], spectrum[-1]
    parts = (left, right, (left + right) / 2, (left - right) / 2)
    powers = [to_bands(part.real**2 + part.imag**2, grid) for part in parts]
    level = np.sqrt(np.mean(powers[0] + powers[1]) / 2) + 1e-9
    result = np.empty((CHANNELS, len(left), BANDS), np.float32)
    for place, power in enumerate(powers):
        result[place] = (np.sqrt(power) / level) ** LEVEL_EXPONENT
    for place, name in enumerate(CUES, start=len(LEVELS)):
        cue = cues[name]
        result[place] = cue if cue.shape[1] == 1 else to_bands(cue, grid)
    result[-1] = to_bands(log_odds(fuse(cues, grid, FIRST)), grid)
    return result


def build(shape: Shape) -> nn.Module:
    """The network with random weights: ``[batch, CHANNELS, frames, BANDS]`` -> logits ``[batch, 2, frames, BANDS]`` of
    the shares of the left and the right side; any number of frames."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Block(nn.Module):
        """Two convolutions, then a layer over all frequencies; each added to what came in."""

        def __init__(self, width: int, bands: int, spread: int) -> None:
            super().__init__()
            self.conv = nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.SiLU(),
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
            )
            last = nn.Linear(spread, bands)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.over = nn.Sequential(nn.Linear(bands, spread), nn.SiLU(), last)

        def forward(self, x: Tensor) -> Tensor:
            x = F.silu(x + self.conv(x))
            result: Tensor = x + self.over(x)
            return result

    class MaskNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths, levels = shape.widths, len(shape.widths)
            bands = [BANDS // 4 // 2**level for level in range(levels)]
            self.enter = nn.Conv2d(CHANNELS * 8, widths[0], 1)
            self.place = nn.Parameter(torch.zeros(1, widths[0], 1, bands[0]))
            self.down = nn.ModuleList(Block(w, b, shape.spread) for w, b in zip(widths, bands, strict=True))
            self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, 2) for a, b in pairwise(widths))
            self.grow = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in pairwise(widths))
            self.up = nn.ModuleList(Block(w, b, shape.spread) for w, b in zip(widths[:-1], bands[:-1], strict=True))
            flat = widths[-1] * bands[-1]
            self.gather = nn.Linear(flat, shape.memory)
            self.memory = nn.GRU(shape.memory, shape.memory, batch_first=True, bidirectional=True)
            self.spread = nn.Linear(2 * shape.memory, flat)
            self.leave = nn.Conv2d(widths[0], 16, 1)
            self.linear = nn.Conv2d(CHANNELS, 2, 1, bias=False)
            self.bias = nn.Parameter(torch.zeros(1, 2, 1, BANDS))
            with torch.no_grad():
                self.leave.weight.mul_(0.1)
                self.linear.weight.zero_()
                self.linear.weight[:, -1] = 1.0  # begins as the classical fusion

        def forward(self, features: Tensor) -> Tensor:
            frames = features.shape[2]
            multiple = 2 ** len(shape.widths)
            x = F.pad(features, (0, 0, 0, -frames % multiple))
            batch, channels, padded, bands = x.shape
            y = x.reshape(batch, channels, padded // 2, 2, bands // 4, 4)
            y = y.permute(0, 1, 3, 5, 2, 4).reshape(batch, channels * 8, padded // 2, bands // 4)
            y = (self.enter(y) + self.place).contiguous(memory_format=torch.channels_last)
            kept = []
            for level, block in enumerate(self.down):
                y = block(y)
                if level < len(self.shrink):
                    kept.append(y)
                    y = self.shrink[level](y)
            deep = y.permute(0, 2, 1, 3).flatten(2)
            deep = self.spread(self.memory(self.gather(deep))[0])
            y = y + deep.reshape(batch, y.shape[2], y.shape[1], y.shape[3]).permute(0, 2, 1, 3)
            for level in reversed(range(len(self.up))):
                y = self.up[level](self.grow[level](y) + kept[level])
            y = self.leave(y).reshape(batch, 2, 2, 4, padded // 2, bands // 4)
            y = y.permute(0, 1, 4, 2, 5, 3).reshape(batch, 2, padded, bands)
            logits: Tensor = (y + self.linear(x) + self.bias)[:, :, :frames]
            return logits

    return MaskNet()
