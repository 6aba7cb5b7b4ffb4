"""The networks by properties whose answers are known. `benchmarks/zero_shot_parity.py` compares them with the public
code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.zero_shot_files import random_state, with_weight_norm, write_configuration, write_models
from understudy.errors import UnderstudyError
from understudy.models import Weights
from understudy.voices.zero_shot import content, style, vocoder
from understudy.voices.zero_shot.configuration import HOP, RATE, read_configuration
from understudy.voices.zero_shot.content import ContentEncoder, load_content_encoder
from understudy.voices.zero_shot.cost import multiplications
from understudy.voices.zero_shot.diffusion import Converter, Given, load_converter, pitch_bins
from understudy.voices.zero_shot.engine import LONGEST
from understudy.voices.zero_shot.singing import PROMPT
from understudy.voices.zero_shot.style import load_style_encoder
from understudy.voices.zero_shot.vocoder import load_vocoder
from understudy.voices.zero_shot.weights import read_tensors

Files = dict[str, Weights]


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def converter(files: Files) -> Converter:
    model = files["zero-shot"]
    return load_converter(model.path, read_configuration(model.companions[0].path))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def given(prompt: int = 5, frames: int = 9) -> Given:
    return Given(noise(128, prompt), noise(prompt + frames, 16, seed=1), noise(prompt + frames, 192, seed=2))


def test_a_whisper_is_the_same_in_both_formats(files: Files, tmp_path: Path):
    ours = load_content_encoder(files["whisper-small"].path)
    names = {
        "attn.query.": "self_attn.q_proj.", "attn.key.": "self_attn.k_proj.", "attn.value.": "self_attn.v_proj.",
        "attn.out.": "self_attn.out_proj.", "attn_ln.": "self_attn_layer_norm.", "mlp.0.": "fc1.", "mlp.2.": "fc2.",
        "mlp_ln.": "final_layer_norm.", "blocks.": "layers.", "ln_post.": "layer_norm.",
    }  # fmt: skip
    tensors = {}
    for name, tensor in ours.state_dict().items():
        for one, other in names.items():
            name = name.replace(one, other)
        name = name.replace("positional_embedding", "embed_positions.weight")
        tensors[f"model.encoder.{name}"] = tensor
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    again = load_content_encoder(tmp_path / "pytorch_model.bin")
    sound = 0.1 * noise(16000)
    heard = ours(sound)
    assert heard.shape == (51, 64)
    assert torch.equal(heard, again(sound))
    assert not torch.allclose(heard[:40], ours(sound.flip(0))[:40], atol=0.01)


def test_whispers_mel_bands_have_a_tone_in_its_band():
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(16000) / 16000)
    mel = content.log_mel(tone)
    assert mel.shape == (80, 3000)
    assert mel[:, 50].argmax() == 26
    assert float(mel[:, 2000].max()) == float(mel.min())  # nothing is more than 8 decades below the loudest


def test_pitch_bins_are_even_on_the_mel_scale():
    assert pitch_bins(torch.tensor([0.0, 30.0, 50.0, 1100.0, 2500.0]), 256).tolist() == [1, 1, 1, 255, 255]
    middle = 700 * ((1 + 50 / 700) ** 0.5 * (1 + 1100 / 700) ** 0.5 - 1)
    assert pitch_bins(torch.tensor([middle]), 256).item() == 128


def test_the_regulator_follows_content_and_pitch_frame_by_frame(converter: Converter):
    heard, f0 = noise(10, 64), torch.full((40,), 220.0)
    condition, styles = converter.length_regulator(heard, f0, torch.ones(192), 20)
    assert condition.shape == (20, 16)
    assert torch.equal(styles, torch.ones(20, 192))
    higher = f0.clone()
    higher[20:] = 440
    moved = (converter.length_regulator(heard, higher, torch.ones(192), 20)[0] - condition).abs().amax(1)
    assert moved[11] > 3 * moved[:7].max()  # all frames share the norm's statistics; the pitch changed from frame 10 on


def test_the_style_moves_with_the_pitch_where_the_configuration_says_so(tmp_path: Path):
    changes = {"length_regulator.use_style_residual": True, "length_regulator.residual_alpha": 0.5}
    network = Converter(write_configuration(tmp_path / "c.yml", **changes))
    network.load_state_dict(random_state(network))
    style = noise(192)
    f0 = torch.cat([torch.full((10,), 300.0), torch.zeros(10)])
    _, styles = network.length_regulator(noise(10, 64), f0, style, 20)
    moved = (styles - style).square().mean(1).sqrt()
    assert torch.equal(styles[10:], style.expand(10, -1))
    assert 0.1 < float(moved[:10].mean() / style.square().mean().sqrt()) <= 0.75


def test_without_a_direction_the_noise_remains_and_a_constant_one_adds_up(
    converter: Converter, monkeypatch: pytest.MonkeyPatch
):
    estimator = converter.cfm["estimator"]
    for guidance, expected in ((0.0, 2.0), (0.5, 2.5)):  # 2 with what is given, 1 without
        monkeypatch.setattr(
            estimator,
            "forward",
            lambda x, known, time, tick: torch.arange(2, 0, -1.0)[: len(known), None, None] + 0 * x,
        )
        sung = converter.sing(given(), noise(128, 9), 7, guidance)
        assert torch.allclose(sung, noise(128, 9) + expected, atol=1e-5)


def test_singing_is_the_same_each_time_and_depends_on_all_that_is_given(converter: Converter):
    sung = converter.sing(given(), noise(128, 9), 4, 0.7)
    assert sung.shape == (128, 9)
    assert torch.equal(sung, converter.sing(given(), noise(128, 9), 4, 0.7))
    base = given()
    for name in ("prompt", "condition", "styles"):
        changed = Given(**{**vars(base), name: 2 * vars(base)[name]})
        assert not torch.allclose(sung, converter.sing(changed, noise(128, 9), 4, 0.7), atol=1e-4)
    assert not torch.allclose(sung, converter.sing(base, noise(128, 9), 4, 0.0), atol=1e-4)


def test_the_estimate_counts_the_multiplications_of_the_published_sizes(tmp_path: Path):
    sizes = {
        "length_regulator.channels": 768, "length_regulator.in_channels": 768, "DiT.hidden_dim": 768,
        "DiT.num_heads": 12, "DiT.depth": 17,
    }  # fmt: skip
    c = write_configuration(tmp_path / "c.yml", **sizes)
    frames = LONGEST + round(PROMPT * RATE / HOP)
    with torch.device("meta"):
        weights = Converter(c).state_dict()
    layers = {name: one for name, one in weights.items() if ".layers." in name and "project_layer" not in name}
    per_frame = sum(one.numel() for one in layers.values() if one.ndim == 2)
    products = 2 * frames * (per_frame + 17 * 2 * 768 * frames)  # with attention; guided: twice
    step = multiplications(c, 2, True) - multiplications(c, 1, True)  # of a second of singing
    assert step == pytest.approx(1.15 * products * RATE / HOP / LONGEST, rel=1e-6)
    assert multiplications(c, 2, True) > multiplications(c, 2, False)


def test_reduced_precision_is_near(converter: Converter):
    exact, reduced = (converter.sing(given(), noise(128, 9), 4, 0.7, name) for name in ("float32", "bfloat16"))
    assert 0 < float((exact - reduced).norm() / exact.norm()) < 0.02


def test_the_vocoders_windows_are_as_if_there_were_none(files: Files):
    network = load_vocoder(files["bigvgan-44k"].path)
    assert vocoder.Sizes(1536, (16, 8, 4, 4, 4, 4), (3, 7, 11)).margin == 24  # of the published sizes
    mel, inside = noise(128, 72), 48 - network.margin
    whole = network(mel)
    assert whole.shape == (72 * HOP,)
    part = network(mel[:, :48])[: inside * HOP]
    assert torch.allclose(part, whole[: inside * HOP], atol=1e-5)
    part = network(mel[:, 24:])[-inside * HOP :]
    assert torch.allclose(part, whole[-inside * HOP :], atol=1e-5)


def test_the_vocoders_activation_filters_at_twice_the_rate():
    activation = vocoder._Activation(1)
    activation.load_state_dict({"act.alpha": torch.tensor([0.3]), "act.beta": torch.tensor([-0.2])})
    x = noise(1, 1, 40)
    taps = np.array(vocoder._low_pass())
    assert taps.sum() == pytest.approx(1)
    padded = np.pad(x[0, 0].numpy().astype(float), 20, "edge")
    spread = np.zeros(2 * len(padded))
    spread[::2] = padded  # zeros between
    doubled = np.convolve(spread, 2 * taps)[5 + 40 : 5 + 40 + 80]
    bent = doubled + np.sin(doubled * np.exp(0.3)) ** 2 / np.exp(-0.2)
    halved = np.convolve(np.pad(bent, (5, 6), "edge"), taps, "valid")[::2]
    assert np.allclose(activation(x)[0, 0].detach().numpy(), halved, atol=1e-5)


def test_a_click_is_in_the_mel_frame_of_its_sample():
    sound = torch.zeros(20 * HOP)
    sound[7 * HOP + HOP // 2] = 1
    mel = vocoder.log_mel(sound)
    assert mel.shape == (128, 20)
    assert mel.sum(0).argmax() == 7


def test_a_style_is_that_of_the_voice_at_any_level(files: Files):
    network = load_style_encoder(files["campplus"].path)
    sound = 0.1 * noise(16000)
    vector = network(sound)
    assert vector.shape == (style.STYLE,)
    assert torch.allclose(network(0.5 * sound), vector, atol=1e-3)
    swelling = sound * torch.linspace(0, 3, len(sound))
    assert not torch.allclose(network(swelling), vector, atol=0.05)


def test_weight_norm_is_folded(tmp_path: Path):
    state = {"up.weight": noise(4, 3, 5), "up.bias": noise(3)}
    torch.save(with_weight_norm(state), tmp_path / "w.pt")
    found = read_tensors(tmp_path / "w.pt")
    assert found.keys() == state.keys()
    assert torch.allclose(found["up.weight"], state["up.weight"], atol=1e-6)


def test_files_of_other_networks_are_refused_with_what_they_are_not(files: Files, tmp_path: Path):
    configuration = read_configuration(files["zero-shot"].companions[0].path)
    loaders = {
        "zero-shot": lambda path: load_converter(path, configuration),
        "whisper-small": load_content_encoder,
        "campplus": load_style_encoder,
        "bigvgan-44k": load_vocoder,
    }
    for name, load in loaders.items():
        for other in files:
            if other != name:
                with pytest.raises(UnderstudyError, match="is not") as caught:
                    load(files[other].path)
                assert caught.value.code == "model-unsuitable"
    broken = random_state(ContentEncoder(64, 1))
    broken["conv1.bias"][3] = torch.nan
    torch.save({f"encoder.{name}": tensor for name, tensor in broken.items()}, tmp_path / "w.pt")
    with pytest.raises(UnderstudyError, match=r"conv1\.bias has values that aren't numbers"):
        load_content_encoder(tmp_path / "w.pt")
    changed = write_configuration(tmp_path / "wider.yml", **{"DiT.hidden_dim": 64})
    with pytest.raises(UnderstudyError, match="has the shape"):
        load_converter(files["zero-shot"].path, changed)
    changed = write_configuration(tmp_path / "styled.yml", **{"length_regulator.use_style_residual": True})
    with pytest.raises(UnderstudyError, match=r"f0_to_style_proj\.weight is missing"):
        load_converter(files["zero-shot"].path, changed)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("DiT.new_idea", 1, "unknown field model_params.DiT.new_idea"),
        ("DiT.final_layer_type", "wavenet", "model_params.DiT.final_layer_type is 'wavenet'"),
        ("DiT.time_as_token", True, "time_as_token is True"),
        ("speech_tokenizer.type", "xlsr", "speech_tokenizer.type is 'xlsr'"),
        ("vocoder.name", "nvidia/bigvgan_v2_22khz_80band_256x", "sr is 22050|in_channels is 128"),
        ("length_regulator.f0_condition", False, "f0_condition and that of"),
        ("DiT.depth", 0, "depth is 0"),
        ("DiT.num_heads", 5, "5 heads"),
        ("length_regulator.sampling_ratios", [1, 2], "sampling_ratios"),
    ],
)
def test_a_configuration_of_another_form_is_refused_by_name(tmp_path: Path, field: str, value: object, named: str):
    with pytest.raises(UnderstudyError, match=named) as caught:
        write_configuration(tmp_path / "c.yml", **{field: value})
    assert caught.value.code == "model-unsuitable"


def test_a_configuration_of_something_else_is_refused(tmp_path: Path):
    for text in ("", "a: [", "audio: {chunk_size: 3}", "x" * 300_000):
        (tmp_path / "c.yml").write_text(text, "utf-8")
        with pytest.raises(UnderstudyError, match="no configuration of a zero-shot"):
            read_configuration(tmp_path / "c.yml")
