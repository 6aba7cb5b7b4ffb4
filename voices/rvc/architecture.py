"""`Architecture`: the sizes of an RVC synthesizer, and those of the published kinds of models."""

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


# version and sample rate: (upsample rates, upsample kernels); 24 kHz is Applio's
UPSAMPLING: dict[tuple[str, int], tuple[tuple[int, ...], tuple[int, ...]]] = {
    ("v1", 32000): ((10, 4, 2, 2, 2), (16, 16, 4, 4, 4)),
    ("v2", 32000): ((10, 8, 2, 2), (20, 16, 4, 4)),
    ("v1", 40000): ((10, 10, 2, 2), (16, 16, 4, 4)),
    ("v2", 40000): ((10, 10, 2, 2), (16, 16, 4, 4)),
    ("v1", 48000): ((10, 6, 2, 2, 2), (16, 16, 4, 4, 4)),
    ("v2", 48000): ((12, 10, 2, 2), (24, 20, 4, 4)),
    ("v1", 24000): ((10, 6, 2, 2), (20, 12, 4, 4)),
    ("v2", 24000): ((10, 6, 2, 2), (20, 12, 4, 4)),
}


def published(version: str, sample_rate: int, f0: bool = True, speakers: int = 109) -> Architecture:
    """The architecture of a published kind of model; raises `KeyError` for other combinations."""
    rates, kernels = UPSAMPLING[version, sample_rate]
    return Architecture("v1" if version == "v1" else "v2", f0, sample_rate, rates, kernels, speakers)


def spectrum_bins(sample_rate: int) -> int:
    """Bins of the spectrogram that such a model was trained on."""
    return 1025 if sample_rate > 32000 else 513
