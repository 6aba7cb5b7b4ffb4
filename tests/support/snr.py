"""How near one signal is to another."""

from __future__ import annotations

import torch
from torch import Tensor


def snr(expected: Tensor, made: Tensor) -> float:
    """Signal-to-noise ratio in dB of `made` against `expected`, of the same shape."""
    assert expected.shape == made.shape
    expected, made = expected.double(), made.double()
    noise = (made - expected).square().sum().clamp_min(torch.finfo(torch.float64).tiny)
    return float(10 * torch.log10(expected.square().sum() / noise))
