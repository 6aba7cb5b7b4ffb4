import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support.rvc_files import random_weights, small, write_random_pth
from tests.support.rvc_formula import KINDS
from understudy.voices.rvc import load_checkpoint, synthesizer
from understudy.voices.rvc.architecture import Architecture
from understudy.voices.rvc.decoder import harmonic_source
from understudy.voices.rvc.synthesizer import Synthesizer, assemble, reach


def voice(architecture: Architecture) -> Synthesizer:
    return assemble(architecture, random_weights(architecture))


def sung(architecture: Architecture, frames: int, rows: int = 1) -> tuple[torch.Tensor, ...]:
    """Content, coarse, f0 and speaker."""
    generator = torch.Generator().manual_seed(0)
    content = torch.randn(rows, frames, architecture.content_channels, generator=generator)
    coarse = torch.randint(1, 256, (rows, frames), generator=generator)
    f0 = 300 * torch.rand(rows, frames, generator=generator) * (coarse > 60)
    return content, coarse, f0, torch.arange(rows) % architecture.speakers


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_file_is_loaded_and_sings(tmp_path: Path, version: str) -> None:
    architecture = small("v1" if version == "v1" else "v2")
    path = write_random_pth(tmp_path / "voice.pth", architecture)
    loaded = load_checkpoint(path)
    assert loaded.architecture == architecture
    content, coarse, f0, speaker = sung(architecture, 30)
    torch.manual_seed(0)
    sound = loaded.synthesizer.infer(content, coarse, f0, speaker)
    assert sound.shape == (1, 1, 30 * architecture.hop)
    assert sound.dtype == torch.float32
    assert sound.std() > 1e-3
    assert sound.abs().max() <= 1
    torch.manual_seed(0)
    assert torch.equal(sound, load_checkpoint(str(path)).synthesizer.infer(content, coarse, f0, speaker))


def test_draws_are_rvcs_in_its_order() -> None:
    architecture = small()
    ours = voice(architecture)
    content, coarse, f0, speaker = sung(architecture, 30)
    torch.manual_seed(5)
    noise = torch.randn(1, architecture.latent_channels, 30)
    torch.rand(1, 1)
    breath = torch.randn(1, 30 * architecture.hop, 1)
    after = torch.rand(1)
    z = ours.latent(content, coarse, speaker, noise)
    source = harmonic_source(f0, architecture.hop, architecture.sample_rate, breath.view(1, -1))
    torch.manual_seed(5)
    assert torch.equal(ours.infer(content, coarse, f0, speaker), ours.decode(z, source, speaker))
    assert torch.equal(torch.rand(1), after)


def test_a_generator_may_be_given_and_then_torchs_own_is_left_alone() -> None:
    architecture = small()
    ours = voice(architecture)
    given = sung(architecture, 20)
    before = torch.get_rng_state()
    first, second = (ours.infer(*given, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(first, ours.infer(*given, generator=torch.Generator().manual_seed(4)))


def test_models_without_pitch_draw_once_and_take_none() -> None:
    architecture = small(f0=False)
    ours = voice(architecture)
    content, coarse, _, speaker = sung(architecture, 20)
    torch.manual_seed(1)
    sound = ours.infer(content, None, None, speaker)
    after = torch.rand(1)
    assert sound.std() > 1e-3
    torch.manual_seed(1)
    torch.randn(1, architecture.latent_channels, 20)
    assert torch.equal(torch.rand(1), after)
    with pytest.raises(ValueError, match="pitch"):
        ours.infer(content, coarse, None, speaker)


def test_models_with_pitch_want_all_of_it() -> None:
    architecture = small()
    content, coarse, f0, speaker = sung(architecture, 20)
    for coarse_pitch, pitch in ((None, f0), (coarse, None), (None, None)):
        with pytest.raises(ValueError, match="pitch"):
            voice(architecture).infer(content, coarse_pitch, pitch, speaker)


@pytest.mark.parametrize("f0", [True, False])
def test_rows_of_a_batch_sing_as_alone(f0: bool) -> None:
    architecture = small(f0=f0)
    ours = voice(architecture)
    content, coarse, hertz, speaker = sung(architecture, 40, rows=3)
    lengths = torch.tensor([40, 23, 31])
    noise = torch.randn(3, architecture.latent_channels, 40)
    breath = torch.randn(3, 40 * architecture.hop)

    def source(rows: slice, frames: int) -> torch.Tensor | None:
        heard = breath[rows, : frames * architecture.hop]
        return harmonic_source(hertz[rows, :frames], architecture.hop, architecture.sample_rate, heard) if f0 else None

    z = ours.latent(content, coarse if f0 else None, speaker, noise, lengths=lengths)
    sound = ours.decode(z, source(slice(None), 40), speaker, lengths=lengths)
    for row, length in enumerate(lengths.tolist()):
        own, end = slice(row, row + 1), length * architecture.hop
        pitch = coarse[own, :length] if f0 else None
        alone = ours.latent(content[own, :length], pitch, speaker[own], noise[own, :, :length])
        torch.testing.assert_close(z[own, :, :length], alone, rtol=1e-4, atol=1e-4)
        assert not z[row, :, length:].any()
        torch.testing.assert_close(
            sound[own, :, :end], ours.decode(alone, source(own, length), speaker[own]), rtol=1e-3, atol=1e-4
        )
        assert not sound[row, :, end:].any()


def test_speakers_differ() -> None:
    architecture = small()
    ours = voice(architecture)
    content, coarse, f0, _ = sung(architecture, 20)
    first, second = (
        ours.infer(content, coarse, f0, torch.tensor([who]), generator=torch.Generator().manual_seed(0))
        for who in (0, 2)
    )
    assert (first - second).abs().max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_the_decoder_reaches_as_far_as_stated(kind: str) -> None:
    architecture = KINDS[kind]
    ours = voice(architecture).double()
    side, speaker = reach(ours.dec), torch.tensor([0])
    frames = 2 * side + 3
    z = torch.randn(1, architecture.latent_channels, frames, dtype=torch.float64)
    source = torch.randn(1, 1, frames * architecture.hop, dtype=torch.float64) if architecture.f0 else None
    g = ours.speaker_vector(speaker)
    middle = slice((side + 1) * architecture.hop, (side + 2) * architecture.hop)
    whole = ours.dec(z, source, g)[:, :, middle]
    z[:, :, 0], z[:, :, -1] = 9, 9
    if source is not None:
        source[:, :, : architecture.hop], source[:, :, -architecture.hop :] = 9, 9
    assert torch.equal(ours.dec(z, source, g)[:, :, middle], whole)
    assert side <= 16


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("f0", [True, False])
def test_blocks_are_the_whole(fast: bool, f0: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesizer, "WINDOW", 50)
    architecture = small(f0=f0)
    ours = voice(architecture)
    if not fast:
        ours.fast = None
    frames, speaker = 171, torch.tensor([1])
    z = torch.randn(1, architecture.latent_channels, frames)
    source = torch.randn(1, 1, frames * architecture.hop) if f0 else None
    whole = ours.dec(z, source, ours.speaker_vector(speaker))
    together = torch.cat(list(ours.blocks(z, source, speaker)), 2)
    torch.testing.assert_close(together, whole, rtol=1e-4, atol=1e-5)


def test_bfloat16_is_near_and_float16_is_for_gpus() -> None:
    architecture = small()
    given = sung(architecture, 40)
    exact, near = (
        assemble(architecture, random_weights(architecture), "cpu", precision).infer(
            *given, generator=torch.Generator().manual_seed(0)
        )
        for precision in ("float32", "bfloat16")
    )
    error = (exact - near).square().mean() / (exact - exact.mean()).square().mean()
    assert 0 < error < 1e-3
    with pytest.raises(ValueError, match="bfloat16"):
        assemble(architecture, random_weights(architecture), "cpu", "float16")


def test_the_package_is_imported_without_torch() -> None:
    code = "import sys, understudy.voices.rvc; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
