"""Spectrograms as RVC trains on: linear magnitudes for the posterior encoder, log-mel for the loss.

The constants are those of RVC WebUI since 2026; earlier versions had 1e-6 and 1e-5.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from understudy.audio.mel import mel_filters
from understudy.voices.rvc.architecture import Architecture, mel_bands, spectrum_bins

LEAST_POWER = 2e-7  # added to every power, so that the root has a gradient at 0
LEAST_MEL = 2e-6


def spectrogram(sound: Tensor, architecture: Architecture) -> Tensor:
    """Linear magnitudes [B, bins, N // hop] of `sound` [B, N], Hann windows of twice as many samples as bins, one
    each 10 ms; the ends are reflected. N is at least half a window."""
    size, hop = 2 * (spectrum_bins(architecture.sample_rate) - 1), architecture.hop
    side = (size - hop) // 2
    sound = F.pad(sound.unsqueeze(1), (side, side), "reflect").squeeze(1)
    window = torch.hann_window(size, dtype=sound.dtype, device=sound.device)
    spectrum = torch.stft(sound, size, hop, size, window, center=False, return_complex=True)
    return torch.sqrt(spectrum.real.square() + spectrum.imag.square() + LEAST_POWER)


def log_mel(magnitudes: Tensor, architecture: Architecture) -> Tensor:
    """Natural logarithm of the mel bands [B, bands, T] of `magnitudes` [B, bins, T]."""
    bands = _bands(architecture.sample_rate).to(magnitudes)
    return torch.log(torch.clamp(bands @ magnitudes, min=LEAST_MEL))


@lru_cache(maxsize=8)
def _bands(sample_rate: int) -> Tensor:
    filters = mel_filters(sample_rate, 2 * (spectrum_bins(sample_rate) - 1), mel_bands(sample_rate))
    return torch.from_numpy(filters).float()
