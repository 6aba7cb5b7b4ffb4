"""The harmonic source: a sine whose phase is known, and noise whose level is."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.voices.rvc.decoder import SINE, UNVOICED_NOISE, VOICED_NOISE, harmonic_source

RATE, HOP = 48000, 480


def test_the_first_sample_has_gone_one_step_already() -> None:
    sound = harmonic_source(torch.full((1, 20), 220.0), HOP, RATE)[0, 0].double().numpy()
    n = np.arange(1, 20 * HOP + 1)
    np.testing.assert_allclose(sound, SINE * np.sin(2 * np.pi * 220 * n / RATE), atol=1e-7)


def test_a_minute_doesnt_drift() -> None:
    frames = 6000
    sound = harmonic_source(torch.full((1, frames), 333.0), HOP, RATE)[0, 0, -HOP:].double().numpy()
    n = np.arange((frames - 1) * HOP + 1, frames * HOP + 1)
    turns = (n * 333 % RATE) / RATE  # exact, in whole numbers
    np.testing.assert_allclose(sound, SINE * np.sin(2 * np.pi * turns), atol=1e-7)


def test_pitch_is_held_for_a_frame_and_stands_still_where_there_is_none() -> None:
    f0 = torch.tensor([[100.0, 200.0, 0.0, 0.0, 50.0]])
    sound = harmonic_source(f0, HOP, RATE)[0, 0].double().numpy()
    turns = np.cumsum(np.repeat(f0[0].double().numpy(), HOP)) / RATE
    expected = SINE * np.sin(2 * np.pi * turns) * np.repeat(f0[0].numpy() > 0, HOP)
    np.testing.assert_allclose(sound, expected, atol=1e-7)


def test_noise_is_loud_where_there_is_no_pitch() -> None:
    noise = torch.randn(2, 4 * HOP, generator=torch.Generator().manual_seed(1))
    f0 = torch.tensor([[0.0, 0.0, 300.0, 300.0]]).expand(2, -1)
    added = harmonic_source(f0, HOP, RATE, noise) - harmonic_source(f0, HOP, RATE)
    level = torch.tensor([UNVOICED_NOISE] * 2 * HOP + [VOICED_NOISE] * 2 * HOP)
    torch.testing.assert_close(added[:, 0], noise * level, atol=1e-7, rtol=0)
    assert pytest.approx(SINE / 3) == UNVOICED_NOISE


@settings(max_examples=20)
@given(st.integers(1, 39), st.integers(0, 2**31))
def test_a_song_in_pieces_is_the_song(cut: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    f0 = 80 + 900 * torch.rand(1, 40, generator=random)
    f0[torch.rand(1, 40, generator=random) < 0.3] = 0
    whole = harmonic_source(f0, HOP, RATE)
    turns = math.fsum(f0[0, :cut].double().tolist()) * HOP / RATE
    pieces = [harmonic_source(f0[:, :cut], HOP, RATE), harmonic_source(f0[:, cut:], HOP, RATE, turns=turns)]
    torch.testing.assert_close(torch.cat(pieces, dim=2), whole, atol=1e-6, rtol=0)
