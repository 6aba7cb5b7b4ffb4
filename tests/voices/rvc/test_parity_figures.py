"""The synthesizer against figures that the public reference computed from the same weights and draws."""

import numpy as np
import pytest
import torch

from tests.support.rvc_formula import EVERY, FIGURES, KINDS, formula_weights, inputs
from understudy.voices.rvc.architecture import Architecture
from understudy.voices.rvc.decoder import harmonic_source
from understudy.voices.rvc.synthesizer import Synthesizer, assemble

Figures = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def figures() -> Figures:
    with np.load(FIGURES) as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored.files}


def snr(wanted: torch.Tensor, got: torch.Tensor) -> float:
    error = (wanted.double() - got.double()).square().sum()
    return float(10 * torch.log10((wanted.double() - wanted.double().mean()).square().sum() / error))


def sung(synthesizer: Synthesizer, architecture: Architecture) -> tuple[torch.Tensor, torch.Tensor]:
    given = inputs(architecture)
    coarse = given.coarse if architecture.f0 else None
    source = harmonic_source(given.f0, architecture.hop, architecture.sample_rate, given.breath)
    z = synthesizer.latent(given.content, coarse, given.speaker, given.noise)
    return z, synthesizer.decode(z, source if architecture.f0 else None, given.speaker)


@pytest.mark.parametrize("kind", KINDS)
def test_latent_frames_and_sound_are_the_references(kind: str, figures: Figures) -> None:
    architecture = KINDS[kind]
    z, sound = sung(assemble(architecture, formula_weights(architecture)), architecture)
    assert snr(figures[f"{kind} z"], z[:, :, ::2]) > 110
    assert sound.shape == (1, 1, z.shape[2] * architecture.hop)
    assert snr(figures[f"{kind} sound"], sound[0, 0, ::EVERY]) > 90


@pytest.mark.parametrize("kind", KINDS)
def test_the_plain_decoder_is_the_references_too(kind: str, figures: Figures) -> None:
    architecture = KINDS[kind]
    synthesizer = assemble(architecture, formula_weights(architecture))
    synthesizer.fast = None
    assert snr(figures[f"{kind} sound"], sung(synthesizer, architecture)[1][0, 0, ::EVERY]) > 90


def test_one_wrong_detail_is_seen(figures: Figures, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures would tell 0.667 from RVC's 0.66666."""
    monkeypatch.setattr("understudy.voices.rvc.synthesizer.TEMPERATURE", 0.667)
    architecture = KINDS["v2-48k"]
    _, sound = sung(assemble(architecture, formula_weights(architecture)), architecture)
    assert snr(figures["v2-48k sound"], sound[0, 0, ::EVERY]) < 75
