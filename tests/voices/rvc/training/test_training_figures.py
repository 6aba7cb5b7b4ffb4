"""The parts of a training step against figures that the public reference computed from the same weights and draws."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.support.rvc_formula import EVERY
from tests.support.training_formula import (
    FIGURES,
    KINDS,
    LAYERS,
    PERIOD,
    discriminator_figures,
    generator_weights,
    material,
)
from understudy.voices.rvc.architecture import segment_frames
from understudy.voices.rvc.training import posterior_encoder
from understudy.voices.rvc.training.discriminators import PeriodDiscriminator, ScaleDiscriminator
from understudy.voices.rvc.training.losses import kl_loss, mel_loss
from understudy.voices.rvc.training.networks import Generator, in_rvc_order, segments
from understudy.voices.rvc.training.spectrogram import log_mel, spectrogram

Figures = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def figures() -> Figures:
    with np.load(FIGURES) as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored.files}


def near(found: Any, wanted: torch.Tensor, most: float) -> None:
    """Within `most` of the figures' own size."""
    wanted = wanted.double()
    error = torch.linalg.vector_norm(found.detach().double() - wanted) / torch.linalg.vector_norm(wanted)
    assert float(error) <= most


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_and_its_losses_are_the_references(
    kind: str, figures: Figures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posterior_encoder, "posterior_layers", lambda _: LAYERS)
    architecture = KINDS[kind]
    generator = Generator(architecture)
    generator_weights(architecture, dict(in_rvc_order(generator)))
    batch, draws = material(architecture)
    near(spectrogram(batch.sound[:, 0], architecture)[:, ::17, ::7], figures[f"{kind} spectrogram"], 1e-5)
    decoded = generator(batch, draws)
    assert torch.equal(decoded.start, figures[f"{kind} start"])
    near(decoded.sound[:, 0, ::EVERY], figures[f"{kind} sound"], 3e-5)  # 90 dB
    wanted = segments(log_mel(batch.spectrogram, architecture), decoded.start, segment_frames(architecture))
    mel = mel_loss(wanted, log_mel(spectrogram(decoded.sound[:, 0], architecture), architecture))
    near(mel, figures[f"{kind} mel"], 1e-5)
    kl = kl_loss(decoded.sample, decoded.log_std, decoded.prior_mean, decoded.prior_log_std, decoded.mask)
    near(kl, figures[f"{kind} kl"], 1e-5)
    torch.autograd.backward(mel + kl)
    squares = [p.grad.double().square().sum() for p in generator.parameters() if p.grad is not None]
    near(torch.stack(squares).sum().sqrt(), figures[f"{kind} gradient"], 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scale", "period"])
def test_a_discriminator_is_the_references(name: str, figures: Figures) -> None:
    network = ScaleDiscriminator(1024) if name == "scale" else PeriodDiscriminator(PERIOD, 1024)
    found = discriminator_figures(network, dict(in_rvc_order(network)), network)
    near(found["verdict"], figures[f"{name} verdict"], 1e-4)
    near(found["sizes"], figures[f"{name} sizes"], 1e-5)
    near(found["gradient"], figures[f"{name} gradient"], 1e-4)
    near(found["of sound"], figures[f"{name} of sound"], 1e-4)
