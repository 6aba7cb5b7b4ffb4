"""`PosteriorEncoder`: from the spectrogram of a recording to the distribution of its latent frames.

The posterior encoder of VITS (Kim, Kong & Son, 2021). Used in training only: the decoder learns to turn these latent
frames into the recording, and the prior encoder learns to predict them from content and pitch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from understudy.voices.rvc.architecture import WAVENET_KERNEL, Architecture, posterior_layers, spectrum_bins
from understudy.voices.rvc.flow import WaveNet, masked


class PosteriorEncoder(nn.Module):
    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        hidden = architecture.hidden_channels
        self.pre = nn.Conv1d(spectrum_bins(architecture.sample_rate), hidden, 1)
        self.enc = WaveNet(hidden, WAVENET_KERNEL, posterior_layers(architecture), architecture.speaker_channels)
        self.proj = nn.Conv1d(hidden, 2 * architecture.latent_channels, 1)

    def forward(self, spectrogram: Tensor, mask: Tensor, g: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """A sample of the latent frames, and the logarithm of each value's standard deviation, both [B, latent, T].

        `spectrogram` [B, bins, T]; `mask` [B, 1, T], 0 where a row has no frame; `g` [B, G, 1] the speaker; `noise`
        [B, latent, T] standard normal.
        """
        hidden = masked(self.pre(spectrogram), mask)
        hidden = masked(self.enc(hidden, mask, g), mask)
        mean, log_std = masked(self.proj(hidden), mask).chunk(2, 1)
        return masked(mean + noise * torch.exp(log_std), mask), log_std
