"""`Architecture`: the sizes of an RVC synthesizer, as a voice model's file states them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

CONTENT_CHANNELS = {"v1": 256, "v2": 768}


@dataclass(frozen=True)
class Architecture:
    """`sample_rate`: Hz of the sound that comes out. `f0`: whether the model is guided by pitch."""

    version: Literal["v1", "v2"]
    f0: bool
    sample_rate: int
    upsample_rates: tuple[int, ...]
    upsample_kernels: tuple[int, ...]
    speakers: int = 109
    latent_channels: int = 192
    hidden_channels: int = 192
    filter_channels: int = 768
    heads: int = 2
    layers: int = 6
    kernel: int = 3
    upsample_channels: int = 512
    resblock_kernels: tuple[int, ...] = (3, 7, 11)
    resblock_dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    speaker_channels: int = 256

    @property
    def content_channels(self) -> int:
        """Values per frame of content features: 256 (v1) or 768 (v2)."""
        return CONTENT_CHANNELS[self.version]

    @property
    def hop(self) -> int:
        """Samples out per frame in; frames are 10 ms apart."""
        return prod(self.upsample_rates)
