"""The decoder, plain and fast: what it promises, and that both forms are the same function."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor

from tests.support.rvc_files import random_weights, real, small
from tests.support.snr import snr
from understudy.voices.rvc import fast_decoder
from understudy.voices.rvc.architecture import Architecture
from understudy.voices.rvc.decoder import Decoder, harmonic_source
from understudy.voices.rvc.fast_decoder import FastDecoder
from understudy.voices.rvc.synthesizer import fold

Inputs = tuple[Tensor, Tensor | None, Tensor]


@cache
def decoder_of(architecture: Architecture) -> Decoder:
    decoder = Decoder(architecture)
    weights = fold(random_weights(architecture, seed=3))
    own = {name.removeprefix("dec."): weight.float() for name, weight in weights.items() if name.startswith("dec.")}
    decoder.load_state_dict(own)
    return decoder.eval().requires_grad_(False)


def inputs_for(architecture: Architecture, frames: int, rows: int = 1) -> Inputs:
    random = torch.Generator().manual_seed(5)
    z = torch.randn(rows, architecture.latent_channels, frames, generator=random)
    g = torch.randn(rows, architecture.speaker_channels, 1, generator=random)
    if not architecture.f0:
        return z, None, g
    f0 = 150 + 300 * torch.rand(rows, frames, generator=random)
    f0[:, frames // 3 : frames // 2] = 0
    noise = torch.randn(rows, frames * architecture.hop, generator=random)
    return z, harmonic_source(f0, architecture.hop, architecture.sample_rate, noise), g


def test_frames_become_bounded_sound() -> None:
    for architecture in (small(), small(f0=False)):
        sound = decoder_of(architecture)(*inputs_for(architecture, 9, rows=2))
        assert sound.shape == (2, 1, 9 * architecture.hop)
        assert sound.std() > 0.001
        assert sound.abs().max() <= 1


def test_source_and_speaker_are_heard() -> None:
    architecture = small()
    decoder = decoder_of(architecture)
    z, source, g = inputs_for(architecture, 12)
    assert source is not None
    sound = decoder(z, source, g)
    assert snr(sound, decoder(z, -source, g)) < 40
    assert snr(sound, decoder(z, source, -g)) < 40


@pytest.mark.parametrize("f0", [True, False])
@pytest.mark.parametrize("piece", [500, 4000, 400_000])
def test_pieces_are_the_whole(f0: bool, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_decoder, "PIECE", piece)
    architecture = small(f0=f0)
    decoder = decoder_of(architecture)
    for frames in (1, 2, 23):
        inputs = inputs_for(architecture, frames)
        assert snr(decoder(*inputs), FastDecoder(decoder)(*inputs)) > 100


def test_blocks_come_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_decoder, "PIECE", 1000)
    architecture = small()
    frames = 40
    blocks = [block.shape for block in FastDecoder(decoder_of(architecture)).blocks(*inputs_for(architecture, frames))]
    assert len(blocks) > 5
    assert sum(shape[2] for shape in blocks) == frames * architecture.hop
    assert max(shape[2] for shape in blocks) <= 1000


def test_rows_are_apart() -> None:
    architecture = small()
    decoder, inputs = decoder_of(architecture), inputs_for(architecture, 10, rows=3)
    assert snr(decoder(*inputs), FastDecoder(decoder)(*inputs)) > 100


@pytest.mark.slow
@pytest.mark.parametrize(
    "architecture",
    [real("v2", 48000), real("v1", 48000), real("v1", 40000), real("v1", 32000), real("v2", 32000, f0=False)],
    ids=["v2 48k", "v1 48k", "40k", "v1 32k", "v2 32k without pitch"],
)
def test_the_fast_form_is_the_plain_one_at_real_sizes(architecture: Architecture) -> None:
    decoder, inputs = decoder_of(architecture), inputs_for(architecture, 15)
    sound = decoder(*inputs)
    assert snr(sound, FastDecoder(decoder)(*inputs)) > 100
    assert snr(sound, FastDecoder(decoder, torch.bfloat16)(*inputs)) > 40


@pytest.mark.slow
def test_the_same_bytes_whatever_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_decoder, "PIECE", 100_000)
    architecture = real("v2", 48000)
    fast, inputs = FastDecoder(decoder_of(architecture), torch.bfloat16), inputs_for(architecture, 30)
    before = torch.get_num_threads()
    sounds = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            sounds.append(fast(*inputs))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(sounds[0], sounds[1])


def test_whoever_stops_listening_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_decoder, "PIECE", 500)
    architecture = small()
    fast, inputs = FastDecoder(decoder_of(architecture)), inputs_for(architecture, 40)
    blocks = fast.blocks(*inputs)
    first = next(blocks)
    blocks.close()  # type: ignore[attr-defined]
    torch.testing.assert_close(first, fast(*inputs)[:, :, : first.shape[2]])
