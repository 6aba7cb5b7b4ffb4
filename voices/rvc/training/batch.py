"""What a training step takes: a `Batch` of clips, and the random `Draws` for it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from understudy.voices.rvc.architecture import Architecture


@dataclass(frozen=True, eq=False)
class Batch:
    """B clips, zero-padded to the T frames of the longest; frames are 10 ms apart.

    `content` [B, T, D] content features; `coarse` [B, T] int64 pitch in 1..255, 0 in the padding, and `f0` [B, T] in
    Hz, 0 where unvoiced (both None in models without pitch); `spectrogram` [B, bins, T] linear magnitudes; `sound`
    [B, 1, T * hop]; `lengths` [B] frames of each clip; `speaker` [B].
    """

    content: Tensor
    coarse: Tensor | None
    f0: Tensor | None
    spectrogram: Tensor
    sound: Tensor
    lengths: Tensor
    speaker: Tensor


@dataclass(frozen=True, eq=False)
class Draws:
    """The random numbers of a step. `posterior` [B, latent, T] standard normal; `segments` [B] uniform in 0..1, where
    the decoded segment begins; `source` [B, segment samples] standard normal, None in models without pitch."""

    posterior: Tensor
    segments: Tensor
    source: Tensor | None


def draw(batch: Batch, architecture: Architecture, segment_frames: int, seed: int, step: int) -> Draws:
    """The draws of step number `step`. They depend on `seed` and `step` alone, so a resumed run draws the same."""
    generator = torch.Generator().manual_seed((seed << 32) + step)
    rows, frames = batch.content.shape[:2]
    posterior = torch.randn(rows, architecture.latent_channels, frames, generator=generator)
    segments = torch.rand(rows, generator=generator)
    source = torch.randn(rows, segment_frames * architecture.hop, generator=generator) if architecture.f0 else None
    device = batch.content.device
    return Draws(posterior.to(device), segments.to(device), None if source is None else source.to(device))
