"""Content features against figures of transformers, and against the network written down plainly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from tests.support.contentvec_files import SMALL, TINY, parametrized, random_weights, write_random_contentvec
from understudy.errors import UnderstudyError
from understudy.voices.rvc.hubert import load_content_encoder
from understudy.voices.rvc.hubert.network import BLOCK, Network, frame_count
from understudy.voices.rvc.hubert.weights import Weights, fold

FIGURES = Path(__file__).parent / "transformers.json"
SEED = 5
SAMPLES = 20123


def sound(samples: int, batch: int = 1) -> torch.Tensor:
    """A gliding tone with overtones and a slow tremolo, without any random part."""
    t = torch.arange(samples, dtype=torch.float64) / 16000
    rows = []
    for row in range(batch):
        phase = 2 * torch.pi * ((180 + 40 * row) * t + 60 * t**2)
        tone = sum(torch.sin(n * phase) / n for n in range(1, 9))
        rows.append(0.15 * tone * (0.3 + torch.sin(3 * t) ** 2))
    return torch.stack(rows).float()


def tiny() -> Network:
    tensors = random_weights(TINY, SEED)
    fold(tensors)
    return Network(Weights(TINY, tensors), torch.device("cpu"), torch.float32)


def snr(right: torch.Tensor, other: torch.Tensor) -> float:
    """dB, of what changes over time."""
    signal = right - right.mean(1, keepdim=True)
    return float(10 * torch.log10(signal.double().square().sum() / (right - other).double().square().sum()))


@pytest.mark.parametrize("layers", [9, 12])
def test_the_network_gives_the_figures_of_transformers(layers: int) -> None:
    figures = json.loads(FIGURES.read_text())
    features = tiny()(sound(SAMPLES, 2), layers)
    assert list(features.shape) == figures["shape"]
    picked = features[:, :: figures["every"], : figures["channels"]]
    assert snr(torch.tensor(figures[str(layers)]), picked) > 90  # the figures have seven digits


def transformers_features(samples: torch.Tensor) -> dict[int, torch.Tensor]:
    transformers = pytest.importorskip("transformers")
    configuration = transformers.HubertConfig(
        hidden_size=TINY.hidden,
        num_hidden_layers=TINY.layers,
        num_attention_heads=TINY.inner // 64,
        intermediate_size=TINY.feed_forward,
        conv_dim=(TINY.channels,) * 7,
        num_conv_pos_embeddings=TINY.position_kernel,
        num_conv_pos_embedding_groups=TINY.position_groups,
    )
    model = transformers.HubertModel(configuration).eval()
    weights = {parametrized(name): tensor for name, tensor in random_weights(TINY, SEED).items()}
    lacking = model.load_state_dict(weights, strict=False)
    assert lacking.missing_keys == ["masked_spec_embed"]
    with torch.inference_mode():
        states = model(samples, output_hidden_states=True).hidden_states
    return {layers: states[layers] for layers in (9, 12)}


@pytest.mark.parametrize("samples", [400, 719, 720, 16000, SAMPLES, 16000 * 3 + 77])
def test_the_network_is_transformers(samples: int) -> None:
    network = tiny()
    for layers, right in transformers_features(sound(samples, 2)).items():
        features = network(sound(samples, 2), layers)
        assert features.shape == right.shape
        error = (features - right).double().square().sum()
        assert float(10 * torch.log10(right.double().square().sum() / error)) > 100


def test_group_norm_folded_into_the_first_convolution_is_group_norm() -> None:
    network = tiny()
    weights = random_weights(TINY, SEED)
    x = sound(SAMPLES, 2) + 0.05  # with an offset, which the norm takes out
    right = functional.conv1d(x[:, None], weights["feature_extractor.conv_layers.0.conv.weight"], stride=5)
    norm = "feature_extractor.conv_layers.0.layer_norm"
    right = functional.group_norm(right, TINY.channels, weights[f"{norm}.weight"], weights[f"{norm}.bias"])
    right = functional.gelu(right)
    for layer in range(1, 7):
        weight = weights[f"feature_extractor.conv_layers.{layer}.conv.weight"]
        right = functional.gelu(functional.conv1d(right, weight, stride=2))
    assert snr(right.transpose(1, 2), network.convolve(x)) > 100


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hubert") / "hubert_base.pt"
    write_random_contentvec(path, sizes=SMALL)
    return path


@pytest.mark.parametrize("samples", [400, 719, 720, 16000, 320 * BLOCK + 79, 320 * BLOCK + 80, 50000])
def test_features_have_the_promised_shape(small: Path, samples: int) -> None:
    encoder = load_content_encoder(small)
    frames = (samples - 400) // 320 + 1
    assert frame_count(samples) == frames
    assert encoder.encode(sound(samples, 2), "v1").shape == (2, frames, 256)
    features = encoder.encode(sound(samples, 2), "v2")
    assert features.shape == (2, frames, 768)
    assert features.dtype == torch.float32
    assert bool(features.isfinite().all())


def test_a_batch_is_as_its_sounds_alone(small: Path) -> None:
    encoder = load_content_encoder(small)
    both = encoder.encode(sound(16000, 2), "v2")
    for row in range(2):
        assert snr(encoder.encode(sound(16000, 2)[row : row + 1], "v2"), both[row : row + 1]) > 90


def test_the_same_sound_gives_the_same_bytes(small: Path) -> None:
    encoder = load_content_encoder(small)
    assert torch.equal(encoder.encode(sound(30000), "v2"), encoder.encode(sound(30000), "v2"))


@pytest.mark.slow
def test_v1_is_the_ninth_layer_projected(small: Path) -> None:
    encoder = load_content_encoder(small)
    weights = random_weights(SMALL)
    ninth = encoder.network(sound(8000), 9)
    right = functional.linear(
        ninth, weights["final_proj.weight"].half().float(), weights["final_proj.bias"].half().float()
    )
    torch.testing.assert_close(encoder.encode(sound(8000), "v1"), right)


def test_the_waveform_is_taken_as_it_is(small: Path) -> None:
    """A normalised input would give a sound and its half the same features, to the last bit of rounding; here the
    group norm's epsilon counts more for the softer sound."""
    encoder = load_content_encoder(small)
    soft = encoder.encode(0.003 * sound(16000), "v2")
    softer = encoder.encode(0.0015 * sound(16000), "v2")
    assert snr(soft, softer) < 40


def test_silence_gives_finite_features(small: Path) -> None:
    assert bool(load_content_encoder(small).encode(torch.zeros(1, 16000), "v2").isfinite().all())


def test_bfloat16_is_near(small: Path) -> None:
    right = load_content_encoder(small).encode(sound(32000), "v2")
    near = load_content_encoder(small, precision="bfloat16").encode(sound(32000), "v2")
    assert near.dtype == torch.float32
    assert 15 < snr(right, near) < 80


def test_a_model_without_final_proj_serves_v2_alone(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    write_random_contentvec(path, "transformers", sizes=SMALL, without=("final_proj",))
    encoder = load_content_encoder(path)
    assert encoder.encode(sound(16000), "v2").shape == (1, 49, 768)
    with pytest.raises(UnderstudyError, match="final_proj"):
        encoder.encode(sound(16000), "v1")


@pytest.mark.parametrize("shape", [(1, 399), (16000,), (1, 1, 16000)])
def test_what_is_no_batch_of_sounds_is_refused(small: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="400"):
        load_content_encoder(small).encode(torch.zeros(shape), "v2")


@pytest.mark.gpu
def test_a_graphics_card_computes_the_same(small: Path) -> None:
    right = load_content_encoder(small).encode(sound(32000), "v2")
    assert snr(right, load_content_encoder(small, "cuda").encode(sound(32000), "v2").cpu()) > 60
    assert snr(right, load_content_encoder(small, "cuda", "float16").encode(sound(32000), "v2").cpu()) > 30


if __name__ == "__main__":  # writes the figures anew, where transformers is installed
    every, channels = 6, 6
    states = transformers_features(sound(SAMPLES, 2))
    picked = {
        str(n): [[[float(f"{v:.7g}") for v in f] for f in s] for s in x[:, ::every, :channels].tolist()]
        for n, x in states.items()
    }
    FIGURES.write_text(
        json.dumps({"shape": list(states[9].shape), "every": every, "channels": channels} | picked) + "\n"
    )
