"""Roformers: equal to the published networks, and what is read and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from tests.support.checkpoints import shaken, snr, write
from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.models.installed import Weights
from understudy.models.precision import Precision
from understudy.pipeline.separation.families import roformer
from understudy.pipeline.separation.families.roformer.attention import Buffers, by_products
from understudy.pipeline.separation.families.roformer.bands import mel_bands
from understudy.pipeline.separation.inference import infer
from understudy.pipeline.separation.settings import InferenceSettings

pytest.importorskip("audio_separator", reason="the published networks aren't installed")

SMALL = {
    "dim": 24, "depth": 2, "stereo": True, "time_transformer_depth": 1, "freq_transformer_depth": 2, "dim_head": 8,
    "heads": 3, "stft_n_fft": 512, "stft_hop_length": 128, "stft_win_length": 512, "mask_estimator_depth": 2,
}  # fmt: skip
BANDS = [4, 4, 8, 16, 32, 64, 129]
WINDOW = 128 * 70


def config(model: dict[str, Any], target: str | None = "Vocals", **training: Any) -> dict[str, Any]:
    names = {"instruments": ["Vocals", "other"], "target_instrument": target, **training}
    return {"audio": {"chunk_size": WINDOW + 50, "sample_rate": 44100}, "model": model, "training": names}


def mel(**more: Any) -> tuple[torch.nn.Module, dict[str, Any]]:
    from audio_separator.separator.uvr_lib_v5.roformer.mel_band_roformer import MelBandRoformer

    model = {**SMALL, "num_bands": 16, "num_stems": 1, **more}
    return shaken(MelBandRoformer(**model, attn_dropout=0.1, ff_dropout=0.1)), model


def bs(**more: Any) -> tuple[torch.nn.Module, dict[str, Any]]:
    from audio_separator.separator.uvr_lib_v5.roformer.bs_roformer import BSRoformer

    model = {**SMALL, "num_stems": 1, **more}
    return shaken(BSRoformer(**model, freqs_per_bands=tuple(BANDS))), {**model, "freqs_per_bands": BANDS}


def computed(weights: Weights, sound: torch.Tensor, precision: Precision = "float32") -> torch.Tensor:
    network = roformer.load(weights, "cpu", precision)
    with torch.inference_mode():
        return network.separate(sound)


def noise(batch: int = 1, frames: int = WINDOW) -> torch.Tensor:
    return torch.randn(batch, 2, frames, generator=torch.Generator().manual_seed(1)) * 0.1


@pytest.mark.parametrize(
    ("made", "target"),
    [
        (mel(), "Vocals"),
        (mel(num_stems=2, mask_estimator_depth=1), None),
        (mel(freq_transformer_depth=1, time_transformer_depth=2, stft_normalized=True), "Vocals"),
        (bs(), "Vocals"),
        (bs(num_stems=2, mlp_expansion_factor=2), None),
        (bs(linear_transformer_depth=1), "Vocals"),
    ],
    ids=["mel", "mel of two stems", "mel, deeper in time", "bs", "bs of two stems", "bs with linear attention"],
)
def test_it_computes_what_the_published_network_does(
    tmp_path: Path, made: tuple[torch.nn.Module, dict[str, Any]], target: str | None
) -> None:
    network, model = made
    weights = write(tmp_path, network.state_dict(), config(model, target))
    with torch.inference_mode():
        wanted = network(noise(2))
    wanted = wanted if wanted.ndim == 4 else wanted[:, None]
    assert snr(computed(weights, noise(2)), wanted) > 110
    assert snr(computed(weights, noise(2), "bfloat16"), wanted) > 40
    assert roformer.stems(weights) == (("vocals",) if target else ("vocals", "instrumental"))


@pytest.mark.slow
def test_long_sequences_take_another_way_to_the_same(tmp_path: Path) -> None:
    network, model = mel()
    weights = write(tmp_path, network.state_dict(), config(model))
    sound = noise(frames=128 * 640)  # more scores along time than are made at once
    with torch.inference_mode():
        wanted = network(sound)[:, None]
    assert snr(computed(weights, sound), wanted) > 110
    assert snr(computed(weights, sound, "bfloat16"), wanted) > 40


@pytest.mark.parametrize("length", [60, 801])
def test_scores_far_from_zero_are_not_rounded_away(length: int) -> None:
    random = torch.Generator().manual_seed(0)
    queries, keys, values = torch.randn(3, 2, length, 8, 64, generator=random)
    queries *= 0.375  # scores deviate by 3
    keys += 2 * torch.randn(1, 1, 8, 64, generator=random)  # and by 6 more, which all tokens share
    products = queries.bfloat16().double().transpose(1, 2) @ keys.double().transpose(1, 2).mT
    wanted = products.softmax(-1) @ values.double().transpose(1, 2)
    found = by_products(queries.bfloat16().float(), keys, values.bfloat16(), Buffers())
    assert snr(found, wanted) > 42


def test_one_channel_networks_hear_both_channels_alone(tmp_path: Path) -> None:
    network, model = mel(stereo=False, num_stems=2)
    weights = write(tmp_path, network.state_dict(), config(model, None))
    sound = noise(3)
    with torch.inference_mode():
        wanted = network(sound.reshape(6, 1, -1)).reshape(3, 2, 2, -1).transpose(1, 2)
    assert snr(computed(weights, sound), wanted) > 110


def test_silence_stays_silence(tmp_path: Path) -> None:
    network, model = bs()
    found = computed(write(tmp_path, network.state_dict(), config(model)), torch.zeros(1, 2, WINDOW))
    assert not found.any()


@pytest.mark.parametrize(("count", "n_fft", "rate"), [(60, 2048, 44100), (64, 4096, 48000), (16, 512, 44100)])
def test_mel_bands_are_those_of_librosa(count: int, n_fft: int, rate: int) -> None:
    bank = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=count) > 0
    bank[0, 0] = bank[-1, -1] = True
    places = [np.flatnonzero(band) for band in bank]
    assert mel_bands(count, n_fft, rate) == tuple((int(place[0]), int(place[-1]) + 1) for place in places)


def test_layers_may_hear_all_before_them(tmp_path: Path) -> None:
    """Networks with skip connections exist, though the package doesn't know them: that they matter is all that can be
    said here."""
    network, model = bs()
    plain = computed(write(tmp_path / "a", network.state_dict(), config(model)), noise())
    skipping = computed(
        write(tmp_path / "b", network.state_dict(), config({**model, "skip_connection": True})), noise()
    )
    assert snr(skipping, plain) < 40


def test_wrapped_and_half_precision_tensors_are_read(tmp_path: Path) -> None:
    network, model = bs()
    state = network.state_dict()
    plain = computed(write(tmp_path / "a", state, config(model)), noise())
    wrapped = {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}, "epoch": 3}
    assert torch.equal(computed(write(tmp_path / "b", wrapped, config(model)), noise()), plain)
    trained = {"state_dict": {f"model.{name}": tensor for name, tensor in state.items()}}
    trained["state_dict"]["loss.window"] = torch.ones(4)  # of a module beside the network
    assert torch.equal(computed(write(tmp_path / "d", trained, config(model)), noise()), plain)
    eight = {name: tensor.to(torch.float8_e4m3fn) for name, tensor in state.items()}
    rounded = {name: tensor.bfloat16() for name, tensor in eight.items()}
    for folder in ("torch", "safetensors"):
        file = write(tmp_path / folder, eight, config(model))
        if folder == "safetensors":
            save_file(eight, file.path)
        assert torch.equal(
            computed(file, noise()), computed(write(tmp_path / "rounded", rounded, config(model)), noise())
        )
    quantised = torch.quantize_per_tensor(torch.zeros(4), 0.1, 0, torch.qint8)
    assert "model-quantised" in refused(write(tmp_path / "e", {**state, "a": quantised}, config(model)))
    half = write(tmp_path / "c", {name: tensor.half() for name, tensor in state.items()}, config(model))
    assert snr(computed(half, noise()), plain) > 40
    save_file({name: tensor.contiguous().clone() for name, tensor in state.items()}, tmp_path / "net.safetensors")
    safe = Weights(tmp_path / "net.safetensors", "0" * 64, half.companions)
    assert torch.equal(computed(safe, noise()), plain)


def test_the_window_is_what_it_was_trained_on(tmp_path: Path) -> None:
    network, model = bs()
    loaded = roformer.load(write(tmp_path, network.state_dict(), config(model)), "cpu", "float32")
    assert loaded.window == WINDOW  # a whole number of hops
    assert loaded.fade.shape == (WINDOW,)
    assert float(loaded.fade.min()) > 0
    assert loaded.size > sum(tensor.numel() for tensor in network.parameters()) * 3.9
    assert loaded.shorter is not None
    half = loaded.shorter()
    assert half.window == WINDOW // 2
    assert half.working < loaded.working
    assert half.separate(noise(frames=half.window)).shape == (1, 1, 2, half.window)
    without = config(model)
    del without["audio"]
    without["inference"] = {"dim_t": 41}
    assert roformer.load(write(tmp_path, network.state_dict(), without), "cpu", "float32").window == 40 * 128


def test_a_song_comes_out_as_long_as_it_was_and_the_same_again(tmp_path: Path) -> None:
    network, model = bs(num_stems=2)
    loaded = roformer.load(write(tmp_path, network.state_dict(), config(model, None)), "cpu", "bfloat16")
    song = Audio(noise(frames=3 * WINDOW + 77)[0].numpy(), 44100)
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        stems = infer(Context(tmp_path / name), loaded, song, InferenceSettings())
        assert {stem: file.frames for stem, file in stems.items()} == {
            "vocals": song.frames, "instrumental": song.frames
        }  # fmt: skip
        found.append({stem: file.read().samples.tobytes() for stem, file in stems.items()})
    assert found[0] == found[1]


def refused(weights: Weights) -> str:
    with pytest.raises(UnderstudyError) as error:
        roformer.load(weights, "cpu", "float32")
    assert error.value.hint
    return f"{error.value.code}: {error.value.message}"


def test_tensors_that_do_not_fit_are_named(tmp_path: Path) -> None:
    network, model = bs()
    state = dict(network.state_dict())
    missing = {name: tensor for name, tensor in state.items() if name != "final_norm.gamma"}
    assert "final_norm.gamma is missing" in refused(write(tmp_path, missing, config(model)))
    assert "no place in it" in refused(write(tmp_path, {**state, "more.weight": torch.ones(3)}, config(model)))
    message = refused(write(tmp_path, state, config({**model, "dim": 32})))
    assert message.startswith("model-invalid")
    assert "instead of" in message
    broken = {**state, "final_norm.gamma": torch.full((24,), float("nan"))}
    assert "not finite" in refused(write(tmp_path, broken, config(model)))
    assert "no named tensors" in refused(write(tmp_path, [torch.ones(3)], config(model)))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"dim": "wide"}, "dim is 'wide'"),
        ({"depth": 10**9}, "depth is"),
        ({"depth": None}, "depth is missing"),
        ({"num_bands": 20}, "both"),
        ({"freqs_per_bands": [4, 4]}, "8 bins"),
        ({"freqs_per_bands": "all of them"}, "no list of numbers"),
        ({"num_stems": 3}, "3 stems"),
        ({"odd": 1, 7: 1}, "meaning of 7, odd is not known"),
    ],
)
def test_configurations_of_no_such_network_are_refused(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    network, model = bs()
    message = refused(write(tmp_path, network.state_dict(), config({**model, **changed})))
    assert message.startswith("model-invalid")
    assert said in message


def test_mel_bands_beyond_the_spectrum_are_refused(tmp_path: Path) -> None:
    network, model = mel()
    assert "too many" in refused(write(tmp_path, network.state_dict(), config({**model, "num_bands": 200})))


def test_without_its_configuration_it_is_not_read(tmp_path: Path) -> None:
    network, model = bs()
    weights = write(tmp_path, network.state_dict(), config(model))
    assert refused(Weights(weights.path, weights.sha256)).startswith("model-companion")
    assert refused(write(tmp_path, network.state_dict(), "[1, 2]")).startswith("model-invalid")


def test_real_configurations_are_understood(tmp_path: Path) -> None:
    """As published: tuples of Python, other names for the same, what only training needs."""
    text = yaml.safe_dump(config({**SMALL, "dim": "24", "stft_hop_length": 128.0, "num_stems": 1}, "karaoke"))
    text = text.replace("stft_n_fft: 512", "n_fft: 512\n  attn_dropout: 0.1\n  flash_attn: true")
    text = text.replace(
        "  stereo: true", "  stereo: true\n  freqs_per_bands: !!python/tuple\n  - " + "\n  - ".join(map(str, BANDS))
    )
    text = text.replace("- Vocals", "- karaoke") + "inference: {batch_size: 1, dim_t: 801, num_overlap: 2}\n"
    text += "augmentations: {mixup_probs: !!python/tuple [0.2, 0.02]}\n"
    network, _ = bs()
    weights = write(tmp_path, network.state_dict(), text)
    assert roformer.stems(weights) == ("lead",)
    assert roformer.load(weights, "cpu", "float32").stems == ("lead",)
