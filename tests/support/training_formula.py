"""Weights and a batch made by a formula, for the parts of a training step.

`python -m tests.support.training_formula DIR` runs the public reference (a checkout of RVC-Project's
Retrieval-based-Voice-Conversion-WebUI at DIR) on them and writes the figures that `test_training_figures` holds ours
against. The whole step at full size is compared by `benchmarks/rvc_training.py parity`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from tests.support.rvc_formula import EVERY, drawn, formula_weights
from tests.support.rvc_formula import KINDS as EVERY_KIND
from tests.support.training_batches import random_batch
from understudy.voices.rvc.architecture import Architecture, mel_bands, segment_frames, spectrum_bins
from understudy.voices.rvc.checkpoint import config_list
from understudy.voices.rvc.training.batch import Batch, Draws

FIGURES = Path(__file__).with_name("training_figures.npz")
KINDS = {kind: EVERY_KIND[kind] for kind in ("v2-48k", "v1-40k-nof0")}
LAYERS = 16  # of the posterior encoder, whatever the other sizes
PERIOD = 37


def with_formula(network: nn.Module, names: dict[str, Tensor]) -> None:
    """Give every parameter of `network` values by formula; `names`: the parameters under RVC's names."""
    with torch.no_grad():
        for seed, (name, parameter) in enumerate(sorted(names.items())):
            values = drawn(tuple(parameter.shape), 500 + seed)
            if name.endswith(".weight_g"):
                values = 0.7 + 0.2 * values
            elif name.endswith("bias"):
                values = 0.1 * values
            else:
                values = values / max(1, values[0].numel()) ** 0.5
            parameter.copy_(values)


def generator_weights(architecture: Architecture, names: dict[str, Tensor]) -> None:
    """`names`: all parameters of a generator under RVC's names, which get their values."""
    with_formula(nn.Module(), {name: tensor for name, tensor in names.items() if name.startswith("enc_q.")})
    with torch.no_grad():
        for name, values in formula_weights(architecture).items():
            names[name].copy_(values)


def material(architecture: Architecture) -> tuple[Batch, Draws]:
    batch, frames = random_batch(architecture, (60, 48)), segment_frames(architecture)
    return batch, Draws(
        drawn((2, architecture.latent_channels, 60), 1),
        torch.tensor([0.3, 0.8]),
        drawn((2, frames * architecture.hop), 2) if architecture.f0 else None,
    )


def short_sound() -> Tensor:
    """[2, 1, 1850], a length that no period divides."""
    return 0.3 * drawn((2, 1, 1850), 3)


def generator_figures(architecture: Architecture) -> dict[str, Tensor]:
    from infer.module import models
    from train import losses, mel_processing

    size = {"v1": "256", "v2": "768"}[architecture.version]
    make = getattr(models, f"SynthesizerTrnMs{size}NSFsid" + ("" if architecture.f0 else "_nono"))
    config, frames = config_list(architecture), segment_frames(architecture)
    config[1] = frames
    network = make(*config, is_half=False)
    generator_weights(architecture, dict(network.named_parameters()))
    batch, draws = material(architecture)
    normal = iter([draws.posterior, *([] if draws.source is None else [draws.source.unsqueeze(2)])])
    uniform = iter([draws.segments, torch.zeros(2, 1)])
    pitch = (batch.coarse, batch.f0) if architecture.f0 else ()
    with (
        patch.object(torch, "randn_like", lambda _: next(normal)),
        patch.object(torch, "rand", lambda *_, **__: next(uniform)),
    ):
        sound, start, _, mask, (_, z_p, m_p, logs_p, _, logs_q) = network(
            batch.content, batch.lengths, *pitch, batch.spectrogram, batch.lengths, batch.speaker
        )
    mel_processing.mel_basis.clear()  # it doesn't tell sample rates apart
    window = 2 * (spectrum_bins(architecture.sample_rate) - 1)
    mels = (window, mel_bands(architecture.sample_rate), architecture.sample_rate)
    mel = mel_processing.spec_to_mel_torch(batch.spectrogram, *mels, 0.0, None)
    heard = mel_processing.mel_spectrogram_torch(
        sound.squeeze(1), *mels, architecture.hop, window, 0.0, None
    )  # fmt: skip
    wanted = torch.stack([mel[row, :, first : first + frames] for row, first in enumerate(start.tolist())])
    mel_loss = 45 * torch.nn.functional.l1_loss(wanted, heard)
    kl = losses.kl_loss(z_p, logs_q, m_p, logs_p, mask)
    (mel_loss + kl).backward()
    squares = [p.grad.double().square().sum() for p in network.parameters()]
    return {
        "sound": sound.detach()[:, 0, ::EVERY], "start": start, "mel": mel_loss.detach(), "kl": kl.detach(),
        "gradient": torch.stack(squares).sum().sqrt(),
        "spectrogram": mel_processing.spectrogram_torch(
            batch.sound[:, 0], window, architecture.sample_rate, architecture.hop, window
        )[:, ::17, ::7],
    }  # fmt: skip


def discriminator_figures(network: nn.Module, names: dict[str, Tensor], judge: Any) -> dict[str, Tensor]:
    """`judge`: from the sound to the feature maps, verdict included."""
    with_formula(network, names)
    sound = short_sound().requires_grad_()
    maps = judge(sound)
    torch.autograd.backward((1 - maps[-1]).square().mean())
    squares = [parameter.grad.double().square().sum() for parameter in names.values() if parameter.grad is not None]
    assert sound.grad is not None
    return {
        "verdict": maps[-1].detach().flatten().sort().values,
        "sizes": torch.stack([values.detach().abs().mean() for values in maps]),
        "gradient": torch.stack(squares).sum().sqrt(),
        "of sound": sound.grad[:, 0, ::37],
    }


def main() -> None:
    sys.path.append(sys.argv[1])
    os.chdir(sys.argv[1])
    from infer.module import models

    found = {kind: generator_figures(architecture) for kind, architecture in KINDS.items()}
    for name, network in (("scale", models.DiscriminatorS()), ("period", models.DiscriminatorP(PERIOD))):
        found[name] = discriminator_figures(network, dict(network.named_parameters()), lambda x, n=network: n(x)[1])
    figures: dict[str, Any] = {
        f"{kind} {name}": np.asarray(value) for kind, parts in found.items() for name, value in parts.items()
    }
    for name, value in figures.items():
        print(name, value.shape, float(np.abs(value).mean()))
    np.savez_compressed(FIGURES, **figures)


if __name__ == "__main__":
    main()
