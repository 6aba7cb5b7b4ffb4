"""The harmonic source: the sine at f0, plus breath, out of which the decoder shapes a sung sound.

Neural source-filter model: Wang, Takaki, Yamagishi, "Neural source-filter waveform models for statistical
parametric speech synthesis" (2019), section III; RVC keeps the fundamental alone, without overtones.
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

SINE = 0.1
VOICED_NOISE = 0.003
UNVOICED_NOISE = SINE / 3


def harmonic_source(f0: Tensor, hop: int, rate: int, noise: Tensor | None = None, turns: float = 0.0) -> Tensor:
    """`f0` [B, T] in Hz, 0 where unvoiced, held for `hop` samples each, to [B, 1, T * hop] at `rate` Hz, float32.

    Voiced: 0.1 * sin(2 pi turns) + 0.003 * noise. Unvoiced: noise / 30 alone. `noise` [B, T * hop] is standard
    normal; without it there is none. The phase at sample n is the sum of f0 / rate over samples 0..n, n included;
    it is counted in turns in float64, because a float32 sum drifts by whole degrees in a minute. `turns`: the phase
    before the first sample, so that a song can be sung in pieces.
    """
    per_sample = f0.double() / rate
    before = turns + torch.cumsum(per_sample * hop, dim=1) - per_sample * hop
    within = torch.arange(1, hop + 1, dtype=torch.float64, device=f0.device)
    phase = (before.unsqueeze(2) % 1.0) + per_sample.unsqueeze(2) * within
    voiced = (f0 > 0).unsqueeze(2)
    sound = SINE * torch.sin(2 * pi * (phase % 1.0)).float() * voiced
    if noise is not None:
        sound = sound + noise.reshape(sound.shape) * torch.where(voiced, VOICED_NOISE, UNVOICED_NOISE)
    return sound.reshape(f0.shape[0], 1, -1)
