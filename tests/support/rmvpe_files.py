"""Weights of RMVPE's shapes, drawn at random, and files of them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from understudy.audio.pitch.rmvpe.weights import expected


def random_weights(seed: int, width: int = 16) -> dict[str, Tensor]:
    """As `weights.expected`, in float32. The convolutions keep the size of what passes them, the batch norms differ
    from channel to channel, and the last layer is steep, so that the pitch heard moves about and is often sure."""
    rng = np.random.default_rng(seed)

    def uniform(shape: tuple[int, ...], low: float, high: float) -> Tensor:
        return torch.from_numpy((low + (high - low) * rng.random(shape)).astype(np.float32))

    def draw(name: str, shape: tuple[int, ...]) -> Tensor:
        if name.endswith("running_var"):
            return uniform(shape, 0.5, 2)
        if name.endswith("running_mean"):
            return uniform(shape, -0.5, 0.5)
        if name.startswith("unet") and len(shape) == 1:
            if name.startswith("unet.encoder.bn"):
                return uniform(shape, 0.3, 0.4) if name.endswith("weight") else uniform(shape, 1, 2)
            return uniform(shape, 0.3, 0.9) if name.endswith("weight") else uniform(shape, -0.2, 0.2)
        if "gru" in name:
            return uniform(shape, -1 / 16, 1 / 16)
        if name == "fc.1.weight":
            return uniform(shape, -1, 1)
        if name == "fc.1.bias":
            return uniform(shape, -6, -4)
        reach = math.sqrt(6 / math.prod(shape[1:])) if len(shape) > 1 else 0.1
        if name == "cnn.weight":
            reach /= 20  # what passed all levels has grown; saturated, the recurrent layer would never forget
        return uniform(shape, -reach, reach)

    return {name: draw(name, shape) for name, shape in expected(width).items()}


def write_pt(
    path: Path, weights: dict[str, Tensor], dtype: torch.dtype = torch.float16, without: str | None = None
) -> Path:
    """A file like the published `rmvpe.pt`: a bare dict, with the batch norms' counters."""
    counters = {
        name.replace("running_var", "num_batches_tracked"): torch.tensor(7)
        for name in weights
        if name.endswith("running_var")
    }
    torch.save({name: tensor.to(dtype) for name, tensor in weights.items() if name != without} | counters, path)
    return path
