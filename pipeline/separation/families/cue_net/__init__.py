"""Networks that `understudy train-separator` wrote: they see the embedded separator's cues, and say what is sung."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from understudy.models.installed import Weights
from understudy.models.precision import Precision
from understudy.pipeline.separation.embedded import weights as file
from understudy.pipeline.separation.embedded.network import features_of, to_bins
from understudy.pipeline.separation.embedded.separate import HIGHEST, cues_of
from understudy.pipeline.separation.network import Network
from understudy.pipeline.separation.spectrogram import Grid, analyse, resynthesize
from understudy.pipeline.separation.training.songs import RATE

if TYPE_CHECKING:
    from torch import Tensor, nn

STEMS = ("vocals", "instrumental")
SECONDS, OVERLAP = 24.0, 2.0
"""Of a window, as long as the examples that such networks are trained on, and of what neighbours share."""


def stems(weights: Weights) -> tuple[str, ...]:
    """What such a network gives."""
    return STEMS


def load(weights: Weights, device: str, precision: Precision) -> Network:
    """The network at `weights` on `device`; it computes in float32 whatever the `precision`, for the cues take most of
    the time. Raises what `understudy.pipeline.separation.embedded.weights.read` raises."""
    import torch

    network = file.read(weights.path).to(device)
    window, shared = round(SECONDS * RATE), round(OVERLAP * RATE)
    fade = torch.ones(window)
    fade[:shared] = torch.sin(torch.pi / 2 * (torch.arange(shared) + 0.5) / shared) ** 2
    fade[-shared:] = fade[:shared].flip(0)
    return Network(
        STEMS,
        RATE,
        window,
        window - shared,
        fade.clamp(min=1e-4),
        partial(_separate, network, device),
        device,
        size=weights.path.stat().st_size * 2,
        working=400 << 20,
    )


def _separate(network: nn.Module, device: str, songs: Tensor) -> Tensor:
    import torch

    found = [_vocals(network, device, song.cpu().numpy()) for song in songs]
    vocals = torch.from_numpy(np.stack(found)).to(songs)
    return torch.stack([vocals, songs - vocals], dim=1)


def _vocals(network: nn.Module, device: str, song: np.ndarray) -> np.ndarray:
    """The voice in `song`, float32 ``[2, frames]`` at `RATE`."""
    import torch

    peak = np.abs(song).max(initial=0)
    if peak == 0:
        return song
    grid = Grid.of(RATE, 0.093, HIGHEST)
    samples = song / peak
    spectrum = analyse(samples, grid)
    features = features_of(spectrum, cues_of(samples, spectrum, grid), grid)
    with torch.inference_mode():
        shares = torch.sigmoid(network(torch.from_numpy(features[None]).to(device)))[0].float().cpu().numpy()
    for side, share in zip(spectrum, shares, strict=True):
        side *= to_bins(share, grid)
    return np.asarray(resynthesize(spectrum, grid, song.shape[1]) * peak, np.float32)
