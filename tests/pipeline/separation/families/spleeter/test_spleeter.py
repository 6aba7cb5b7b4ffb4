"""Weights under all the names they are published with, and networks in ONNX, give what the paper's masks say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from tests.support.onnx_files import model, node
from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.models.installed import Weights
from understudy.pipeline.separation.families.spleeter import RATE, load, stems
from understudy.pipeline.separation.families.spleeter.names import shapes
from understudy.pipeline.separation.inference import infer
from understudy.pipeline.separation.settings import InferenceSettings

TWO = ("vocals", "accompaniment")
FOUR = ("vocals", "drums", "bass", "other")
FIVE = ("vocals", "piano", "drums", "bass", "other")


class Published(nn.Module):
    """One stem's network as its paper and the released models have it, under the names of its best-known port."""

    def __init__(self, seed: int, elu: bool) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.elu = elu
        sizes = [2, 16, 32, 64, 128, 256, 512]
        for layer in range(6):
            self.add_module(f"conv{layer or ''}", nn.Conv2d(sizes[layer], sizes[layer + 1], 5, 2))
            if layer < 5:
                self.add_module(f"bn{layer or ''}", nn.BatchNorm2d(sizes[layer + 1], eps=1e-3))
        for layer, (before, after) in enumerate([(512, 256), (512, 128), (256, 64), (128, 32), (64, 16), (32, 1)]):
            self.add_module(f"up{layer + 1}", nn.ConvTranspose2d(before, after, 5, 2))
            self.add_module(f"bn{layer + 5}", nn.BatchNorm2d(after, eps=1e-3))
        self.up7 = nn.Conv2d(1, 2, 4, dilation=2, padding=3)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.2)
                assert module.running_var is not None
                module.running_var.uniform_(0.01, 0.1)
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = []
        for layer in range(6):
            x = getattr(self, f"conv{layer or ''}")(functional.pad(x, (1, 2, 1, 2)))
            seen.append(x)
            if layer < 5:
                x = getattr(self, f"bn{layer or ''}")(x)
                x = functional.elu(x) if self.elu else functional.leaky_relu(x, 0.2)
        x = seen.pop()
        for layer in range(1, 7):
            x = getattr(self, f"up{layer}")(x)[:, :, 1:-2, 1:-2]
            x = getattr(self, f"bn{layer + 4}")(functional.elu(x) if self.elu else functional.relu(x))
            if seen:
                x = torch.cat([seen.pop(), x], 1)
        return self.up7(x)


def networks(names: tuple[str, ...]) -> dict[str, Published]:
    return {name: Published(seed, elu=len(names) > 2) for seed, name in enumerate(names)}


def plainly(song: torch.Tensor, found: Mapping[str, Published]) -> torch.Tensor:
    """``[stems, 2, frames]`` of a window."""
    window = torch.hann_window(4096)
    spectra = torch.stft(song, 4096, 1024, window=window, return_complex=True).transpose(1, 2)
    magnitudes = spectra[..., :1024].abs()
    with torch.no_grad():
        logits = torch.stack([network(magnitudes[None])[0] for network in found.values()])
    shares = torch.softmax(logits, 0) if len(found) == 5 else torch.sigmoid(logits)
    squares = (shares * magnitudes).double() ** 2
    masks = (squares + 1e-10 / len(found)) / (squares.sum(0) + 1e-10)
    masks = torch.cat([masks, masks.mean(-1, keepdim=True).repeat(1, 1, 1, 1025)], -1).float()
    waves = [torch.istft((mask * spectra).transpose(1, 2), 4096, 1024, window=window) for mask in masks]
    return torch.stack(waves)[..., : song.shape[1]]


def snr(truth: torch.Tensor, found: torch.Tensor) -> float:
    return float(10 * torch.log10(truth.square().sum() / (truth - found).square().sum()))


def noise(frames: int) -> torch.Tensor:
    return 0.1 * torch.randn(2, frames, generator=torch.Generator().manual_seed(3))


def numbered(name: str) -> str:
    """A name of the port as that of a list of layers."""
    if name.startswith("up7"):
        return name.replace("up7", "up_final")
    match = re.fullmatch(r"(conv|up|bn)(\d*)\.(.+)", name)
    assert match
    kind, place = match[1], int(match[2] or 0)
    if kind == "conv":
        return f"encoder_layers.{place}.conv.{match[3]}"
    if kind == "up":
        return f"decoder_layers.{place - 1}.tconv.{match[3]}"
    side = f"encoder_layers.{place}" if place < 5 else f"decoder_layers.{place - 5}"
    return f"{side}.bn.{match[3]}"


def kinds(name: str) -> str:
    found = numbered(name).replace("up_final", "last_layer")
    found = found.replace("encoder_layers", "conv_layers").replace("decoder_layers.5", "mask_layer")
    return found.replace("decoder_layers", "deconv_layers").replace("tconv", "conv")


def tensorflow(name: str, stem: int) -> str:
    found = numbered(name)
    part = found.rsplit(".", 1)[1]
    place = 6 if "final" in found else int(found.split(".")[1])

    def suffix(index: int) -> str:
        return f"_{index}" if index else ""

    if ".bn." in found:
        names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
        return f"batch_normalization{suffix(12 * stem + place + 6 * ('decoder' in found))}/{names[part]}"
    kind = "kernel" if part == "weight" else "bias"
    if "decoder" in found:
        return f"conv2d_transpose{suffix(6 * stem + place)}/{kind}"
    return f"conv2d{suffix(7 * stem + place)}/{kind}"


def written(folder: Path, found: Mapping[str, Published], layout: str) -> Weights:
    states = {
        stem: {name: value for name, value in network.state_dict().items() if "num_batches" not in name}
        for stem, network in found.items()
    }
    if layout == "a file per stem":
        files = [folder / f"spleeter-{stem}.pt" for stem in states]
        for file, state in zip(files, states.values(), strict=True):
            torch.save(state, file)
        # the first to be named may be any
        return Weights(files[1], "", tuple(
            Weights(file, "") for number, file in enumerate(files) if number != 1
        ))  # fmt: skip
    whole = {}
    for number, (stem, state) in enumerate(states.items()):
        for name, value in state.items():
            if layout == "tensorflow":
                kernel = value.permute(2, 3, 1, 0) if value.dim() == 4 else value
                whole[tensorflow(name, number)] = kernel.contiguous()
            elif layout == "numbered":
                whole[f"stems.{stem}.{numbered(name)}"] = value
            else:
                whole[f"{stem}.{kinds(name)}"] = value
    path = folder / "spleeter.safetensors"
    save_file(whole, path)
    return Weights(path, "")


@pytest.mark.parametrize(
    ("names", "layout"),
    [
        (TWO, "a file per stem"),
        pytest.param(TWO, "numbered", marks=pytest.mark.slow),
        pytest.param(TWO, "kinds", marks=pytest.mark.slow),
        (FOUR, "tensorflow"),
        pytest.param(FIVE, "numbered", marks=pytest.mark.slow),
    ],
)
def test_a_window_is_the_published_networks_and_masks(tmp_path: Path, names: tuple[str, ...], layout: str) -> None:
    published = networks(names)
    weights = written(tmp_path, published, layout)
    network = load(weights, "cpu", "bfloat16")  # which processors don't use here
    song = noise(network.window)
    with torch.inference_mode():
        found = network.separate(song[None])[0]
    expected = tuple("instrumental" if name == "accompaniment" else name for name in names)
    assert network.stems == expected == stems(weights)
    truth = plainly(song, published)
    assert snr(truth, found) > 80
    assert min(snr(one, other) for one, other in zip(truth, found, strict=True)) > 60
    assert snr(song, found.sum(0)) > 100


def scaling(path: Path, factor: float, batch_first: bool) -> Path:
    """A network that gives its input times `factor`."""
    shape: list[Any] = ["windows", 2, 512, 1024] if batch_first else [2, "windows", 512, 1024]
    steps = [node("Mul", ["input", "factor"], ["output"])]
    path.write_bytes(model(steps, {"factor": np.array([factor], np.float32)}, {"input": shape}, {"output": shape}))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("batch_first", [True, False])
def test_networks_in_onnx(tmp_path: Path, batch_first: bool) -> None:
    voice = scaling(tmp_path / "vocals.fp16.onnx", 0.8, batch_first)
    rest = scaling(tmp_path / "accompaniment.fp16.onnx", 0.6, batch_first)
    weights = Weights(rest, "", (Weights(voice, ""),))
    network = load(weights, "cpu", "bfloat16")
    assert network.stems == ("vocals", "instrumental") == stems(weights)
    song = np.zeros((2, 30 * RATE), np.float32)
    song[0, [0, 100, 700_000, -1]] = 1.0
    song[1] = noise(song.shape[1])[0].numpy()
    found = infer(Context(tmp_path), network, Audio(song, RATE), InferenceSettings(batch=3))
    for stem, share in (("vocals", 0.64), ("instrumental", 0.36)):
        output = found[stem].read(0, song.shape[1]).samples
        assert output.shape == song.shape
        assert np.abs(output - share * song).max() < 1e-4


def test_stems_that_are_missing_are_named(tmp_path: Path) -> None:
    voice = scaling(tmp_path / "vocals.onnx", 0.8, True)
    drums = scaling(tmp_path / "drums.onnx", 0.8, True)
    for weights, missing in (
        (Weights(voice, ""), "accompaniment"),
        (Weights(voice, "", (Weights(drums, ""),)), "bass, other"),
    ):
        with pytest.raises(UnderstudyError) as refused:
            stems(weights)
        assert refused.value.code == "model-companion"
        assert missing in refused.value.message


@pytest.mark.slow
def test_files_that_are_no_such_networks(tmp_path: Path) -> None:
    state = {name: value for name, value in Published(0, elu=False).state_dict().items() if "num" not in name}
    rest = tmp_path / "accompaniment.pt"
    torch.save(state, rest)
    broken = {
        "missing": {name: value for name, value in state.items() if name != "bn3.bias"},
        "shape": {**state, "up2.weight": torch.zeros(512, 128, 3, 3)},
        "nan": {**state, "conv.bias": torch.full((16,), float("nan"))},
        "other": {"weight": torch.zeros(3)},
    }
    for name, tensors in broken.items():
        path = tmp_path / f"vocals-{name}.pt"
        torch.save(tensors, path)
        with pytest.raises(UnderstudyError) as refused:
            load(Weights(path, "", (Weights(rest, ""),)), "cpu", "float32")
        assert refused.value.code == "model-invalid", name
        assert str(path) in refused.value.message
    nameless = tmp_path / "model.pt"
    torch.save(state, nameless)
    with pytest.raises(UnderstudyError, match="doesn't say which"):
        stems(Weights(nameless, ""))


def test_an_onnx_file_of_another_network(tmp_path: Path) -> None:
    shape: list[Any] = [1, 4, 2048, 256]
    for name in TWO:
        made = model([node("Identity", ["input"], ["output"])], {}, {"input": shape}, {"output": shape})
        (tmp_path / f"{name}.onnx").write_bytes(made)
    with pytest.raises(UnderstudyError) as refused:
        load(Weights(tmp_path / "vocals.onnx", "", (Weights(tmp_path / "accompaniment.onnx", ""),)), "cpu", "float32")
    assert refused.value.code == "model-invalid"


def test_the_networks_are_as_large_as_the_released_ones() -> None:
    """A stem's published ONNX file has 39318343 bytes: its float32 values and a few thousand bytes that tell what is
    done with them."""
    values = sum(int(np.prod(shape)) for shape in shapes().values())
    assert 0 < 39_318_343 - 4 * values < 40_000
