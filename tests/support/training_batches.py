"""Batches for training steps: random clips of the right shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from understudy.voices.rvc.architecture import Architecture
    from understudy.voices.rvc.training.batch import Batch


def random_batch(architecture: Architecture, lengths: tuple[int, ...] = (60, 48), seed: int = 0) -> Batch:
    """A gliding tone with noise in every row, `lengths` frames long, with random content."""
    import torch

    from understudy.voices.rvc.training.batch import Batch
    from understudy.voices.rvc.training.spectrogram import spectrogram

    generator = torch.Generator().manual_seed(seed)
    rows, frames = len(lengths), max(lengths)
    exist = torch.arange(frames) < torch.tensor(lengths).unsqueeze(1)
    f0 = 150 * 2 ** (torch.linspace(0, 1, frames) + torch.rand(rows, 1, generator=generator))
    f0 = torch.where(torch.arange(frames) % 25 < 5, 0.0, f0) * exist
    turns = torch.cumsum(f0.repeat_interleave(architecture.hop, 1).double() / architecture.sample_rate, 1)
    noise = torch.randn(rows, frames * architecture.hop, generator=generator)
    sound = 0.3 * torch.sin(2 * torch.pi * turns).float() + 0.01 * noise
    sound = sound * exist.repeat_interleave(architecture.hop, 1)
    coarse = (f0 / 4).long().clamp(1, 255) * exist
    return Batch(
        content=torch.randn(rows, frames, architecture.content_channels, generator=generator) * exist.unsqueeze(2),
        coarse=coarse if architecture.f0 else None,
        f0=f0 if architecture.f0 else None,
        spectrogram=spectrogram(sound, architecture) * exist.unsqueeze(1),
        sound=sound.unsqueeze(1),
        lengths=torch.tensor(lengths),
        speaker=torch.arange(rows) % architecture.speakers,
    )
