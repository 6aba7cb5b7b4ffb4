"""Weights and inputs made by a formula, so that they are the same everywhere and need no file.

`python -m tests.support.rvc_formula DIR` runs the public reference (a checkout of RVC-Project's
Retrieval-based-Voice-Conversion-WebUI at DIR) on them and writes the figures that `test_parity_figures` holds ours
against.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from understudy.voices.rvc.architecture import Architecture, tensor_shapes
from understudy.voices.rvc.checkpoint import config_list

FIGURES = Path(__file__).with_name("parity_figures.npz")
FRAMES = 40
EVERY = 151  # samples of the sound between two figures that are kept


def small_version(version: str, rate: int, f0: bool, rates: tuple[int, ...], kernels: tuple[int, ...]) -> Architecture:
    """The published network of that kind with few channels."""
    return Architecture(
        "v1" if version == "v1" else "v2", f0, rate, rates, kernels, 3, latent_channels=12, hidden_channels=16,
        filter_channels=24, layers=2, upsample_channels=64, speaker_channels=8,
    )  # fmt: skip


KINDS = {
    "v1-32k": small_version("v1", 32000, True, (10, 4, 2, 2, 2), (16, 16, 4, 4, 4)),
    "v1-40k-nof0": small_version("v1", 40000, False, (10, 10, 2, 2), (16, 16, 4, 4)),
    "v2-24k": small_version("v2", 24000, True, (10, 6, 2, 2), (20, 12, 4, 4)),
    "v2-48k": small_version("v2", 48000, True, (12, 10, 2, 2), (24, 20, 4, 4)),
}


class Inputs(NamedTuple):
    """`breath`: the noise in the source [1, T * hop]."""

    content: Tensor
    coarse: Tensor
    f0: Tensor
    speaker: Tensor
    noise: Tensor
    breath: Tensor


def drawn(shape: tuple[int, ...], seed: int) -> Tensor:
    """Values that look random, of variance 1, within ±1.74."""
    count = np.arange(int(np.prod(shape)), dtype=np.float64)
    fraction = np.modf(np.abs(np.sin(count * 12.9898 + seed * 78.233)) * 43758.5453)[0]
    return torch.from_numpy(((2 * fraction - 1) * 3**0.5).astype(np.float32).reshape(shape))


def formula_weights(architecture: Architecture) -> dict[str, Tensor]:
    """Under RVC's names, weight-norm pairs not folded, of a size that lets every part be heard."""
    weights = {}
    for seed, (name, shape) in enumerate(tensor_shapes(architecture).items()):
        values = drawn(shape, seed)
        if name.endswith(".gamma"):
            values = 1 + 0.2 * values
        elif name.endswith((".bias", ".beta")):
            values = 0.1 * values
        elif name.endswith(".weight_g"):
            values = (2.0 if ".ups." in name else 0.7) + 0.2 * values
        elif name.startswith("dec.m_source"):
            values = 3 + values
        elif not name.startswith(("emb_g", "enc_p.emb_pitch")):
            values = values / (values[0].numel() if values.ndim > 1 else 1) ** 0.5
        weights[name] = values
    weights["dec.conv_post.weight"] *= 0.3 if len(architecture.upsample_rates) < 5 else 0.1
    return weights


def inputs(architecture: Architecture, frames: int = FRAMES) -> Inputs:
    time = torch.arange(frames) / 100
    f0 = 220 * torch.exp(0.3 * torch.sin(9 * time))
    f0[frames // 3 : frames // 2] = 0
    return Inputs(
        drawn((1, frames, architecture.content_channels), 1001),
        (1 + torch.arange(frames) * 37 % 255)[None],
        f0[None],
        torch.tensor([1]),
        drawn((1, architecture.latent_channels, frames), 1002),
        drawn((1, frames * architecture.hop), 1003),
    )


def reference_figures(architecture: Architecture) -> tuple[Tensor, Tensor]:
    """Every second frame of z [1, latent, T / 2] and every `EVERY`-th sample of the sound, from the reference's own
    class."""
    from infer.module import models

    size = {"v1": "256", "v2": "768"}[architecture.version]
    make = getattr(models, f"SynthesizerTrnMs{size}NSFsid" + ("" if architecture.f0 else "_nono"))
    network = make(*config_list(architecture), is_half=False).eval()
    del network.enc_q
    network.load_state_dict(formula_weights(architecture))
    given = inputs(architecture)
    draws = iter([given.noise, given.breath[..., None]])
    pitch = (given.coarse, given.f0) if architecture.f0 else ()
    with torch.no_grad(), patch.object(torch, "randn_like", lambda x: next(draws).reshape(x.shape)):
        sound, _, (z, *_) = network.infer(given.content, torch.tensor([FRAMES]), *pitch, given.speaker)
    return z[:, :, ::2], sound[0, 0, ::EVERY]


def main() -> None:
    sys.path.append(sys.argv[1])
    figures: dict[str, Any] = {}
    for kind, architecture in KINDS.items():
        z, sound = reference_figures(architecture)
        figures[f"{kind} z"], figures[f"{kind} sound"] = z.numpy(), sound.numpy()
        print(f"{kind}: z {float(z.std()):.2f}, sound {float(sound.std()):.3f}, peak {float(sound.abs().max()):.2f}")
    np.savez_compressed(FIGURES, **figures)


if __name__ == "__main__":
    main()
