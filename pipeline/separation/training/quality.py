"""How well a network does on examples: SDR in dB, read off the two maps that hold all of the error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from understudy.pipeline.separation.embedded.network import CHANNELS, LEVEL_EXPONENT, WIDTHS
from understudy.pipeline.separation.training.examples import Example

if TYPE_CHECKING:
    from torch import nn


def quality(network: nn.Module, examples: Sequence[Path], device: str) -> tuple[float, float]:
    """Mean SDR of the vocals and of the instrumental in dB over those `examples` that hold both; nan where none do."""
    found = [of_example(network, Example.load(path), device) for path in examples]
    both = [pair for pair in found if np.isfinite(pair).all()]
    if not both:
        return float("nan"), float("nan")
    vocals, instrumental = np.mean(both, axis=0)
    return float(vocals), float(instrumental)


def of_example(network: nn.Module, example: Example, device: str) -> tuple[float, float]:
    """SDR of vocals and instrumental in dB, nan for a stem that is silent (60 dB below the mix)."""
    import torch

    features = torch.from_numpy(np.asarray(example.maps[:CHANNELS], np.float32)[None]).to(device)
    with torch.inference_mode():
        mask = torch.sigmoid(network(features))[0].float().cpu().numpy()
    share = np.asarray(example.maps[CHANNELS:], np.float64)
    power = np.asarray(example.maps[:2], np.float64) ** (2 / LEVEL_EXPONENT) * WIDTHS
    error = float((power * (mask - share) ** 2).sum() + example.rest[0].sum())
    vocals = float(example.rest[1].sum())
    instrumental = vocals + float((power * (1 - 2 * share)).sum())
    silent = 1e-6 * float(power.sum())
    return (
        10 * float(np.log10(vocals / error)) if vocals > silent else float("nan"),
        10 * float(np.log10(instrumental / error)) if instrumental > silent else float("nan"),
    )
