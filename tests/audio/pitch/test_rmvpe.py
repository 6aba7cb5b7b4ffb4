from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.rmvpe_files import random_weights, write_pt
from tests.support.sung_notes import CONTEXT, sung, vibrato
from understudy.audio.pitch import PitchSettings, track
from understudy.audio.pitch.rmvpe import weights as weights_module
from understudy.audio.pitch.rmvpe.mel import log_mel
from understudy.audio.pitch.rmvpe.network import build
from understudy.audio.pitch.rmvpe.tracker import decode
from understudy.audio.pitch.rmvpe.weights import expected, read_weights
from understudy.audio.samples import Audio
from understudy.errors import UnderstudyError

SMALL = 2  # channels of the outermost level; the published network has 16


def test_the_published_network_has_the_known_size() -> None:
    shapes = expected()
    counters = sum(name.endswith("running_var") for name in shapes)
    assert len(shapes) + counters == 741
    assert sum(int(np.prod(shape)) for shape in shapes.values()) + counters == 90_472_917


def test_mel_of_a_tone_peaks_where_the_tone_is() -> None:
    time = np.arange(16000) / 16000
    mel = log_mel(torch.from_numpy(np.sin(2 * np.pi * 1000 * time).astype(np.float32)))
    assert mel.shape == (101, 128)
    corner = 2595 * np.log10(1 + np.array([30, 1000, 8000]) / 700)
    band = (corner[1] - corner[0]) / (corner[2] - corner[0]) * 129 - 1  # triangle k has its top at corner k + 1
    assert np.all(np.abs(mel[5:-5].argmax(dim=1).numpy() - band) <= 1)


@pytest.mark.parametrize("samples", [0, 1, 159, 512, 513, 1024])
def test_mel_of_short_sounds(samples: int) -> None:
    mel = log_mel(torch.zeros(samples))
    assert mel.shape == (samples // 160 + 1, 128)
    torch.testing.assert_close(mel, torch.full_like(mel, float(np.log(1e-5))))


def test_decoding_finds_pitches_between_the_steps() -> None:
    wanted = np.array([40.0, 220.0, 1100.0, 1400.0, 1850.0])
    cents = 1200 * np.log2(wanted / 10)[:, None]
    steps = 1997.3794084376191 + 20 * np.arange(360)
    f0, certainty = decode(np.exp(-0.5 * ((steps - cents) / 25) ** 2).astype(np.float32))
    assert np.abs(1200 * np.log2(f0 / wanted)).max() < 0.5
    assert certainty.min() > 0.9


def test_decoding_at_the_edges_and_of_nothing() -> None:
    salience = np.zeros((3, 360), np.float32)
    salience[0, 0] = salience[1, 359] = 1
    f0, certainty = decode(salience)
    np.testing.assert_allclose(f0[:2], 10 * 2 ** ((1997.3794084376191 + np.array([0, 359 * 20])) / 1200))
    np.testing.assert_array_equal(certainty, [1, 1, 0])
    assert np.isfinite(f0).all()


class Plain(torch.nn.Module):
    """The published network once more, in the plainest words: nothing folded, channels first."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.weights = weights

    def norm(self, x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            self.weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return torch.nn.functional.batch_norm(x, mean, var, weight, bias, eps=1e-5)

    def block(self, x: Tensor, name: str) -> Tensor:
        w = self.weights
        y = torch.relu(self.norm(torch.conv2d(x, w[f"{name}.conv.0.weight"], padding=1), f"{name}.conv.1"))
        y = torch.relu(self.norm(torch.conv2d(y, w[f"{name}.conv.3.weight"], padding=1), f"{name}.conv.4"))
        if f"{name}.shortcut.weight" in w:
            x = torch.conv2d(x, w[f"{name}.shortcut.weight"], w[f"{name}.shortcut.bias"])
        return x + y

    def forward(self, mel: Tensor) -> Tensor:
        w, frames = self.weights, len(mel)
        x = torch.nn.functional.pad(mel, (0, 0, 0, -frames % 32))[None, None]
        x = self.norm(x, "unet.encoder.bn")
        kept = []
        for level in range(5):
            for block in range(4):
                x = self.block(x, f"unet.encoder.layers.{level}.conv.{block}")
            kept.append(x)
            x = torch.nn.functional.avg_pool2d(x, 2)
        for level in range(4):
            for block in range(4):
                x = self.block(x, f"unet.intermediate.layers.{level}.conv.{block}")
        for level in range(5):
            name = f"unet.decoder.layers.{level}"
            x = torch.conv_transpose2d(x, w[f"{name}.conv1.0.weight"], None, 2, 1, 1)
            x = torch.cat((torch.relu(self.norm(x, f"{name}.conv1.1")), kept[-1 - level]), 1)
            for block in range(4):
                x = self.block(x, f"{name}.conv2.{block}")
        x = torch.conv2d(x, w["cnn.weight"], w["cnn.bias"], padding=1)[0].transpose(0, 1).flatten(1)
        directions = []
        for suffix in ("", "_reverse"):
            wi, wh, bi, bh = (
                w[f"fc.0.gru.{part}_l0{suffix}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            state, states = torch.zeros(256), []
            for frame in x.flip(0) if suffix else x:
                r, z, n = (wi @ frame + bi).chunk(3)
                hr, hz, hn = (wh @ state + bh).chunk(3)
                z = torch.sigmoid(z + hz)
                state = (1 - z) * torch.tanh(n + torch.sigmoid(r + hr) * hn) + z * state
                states.append(state)
            directions.append(torch.stack(states[::-1] if suffix else states))
        return torch.sigmoid(torch.cat(directions, 1) @ w["fc.1.weight"].T + w["fc.1.bias"])[:frames]


@pytest.mark.parametrize("frames", [1, 32, 75])
def test_the_folded_network_is_the_plain_one(frames: int) -> None:
    weights = random_weights(1, SMALL)
    mel = torch.from_numpy(np.random.default_rng(0).uniform(-11, 3, (frames, 128)).astype(np.float32))
    with torch.inference_mode():
        plain, own = Plain(weights)(mel), build(weights)(mel)
    assert own.shape == (frames, 360)
    assert 10 * torch.log10((plain**2).sum() / ((own - plain) ** 2).sum()) > 90


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_files_are_read_in_either_precision(tmp_path: Path, dtype: torch.dtype) -> None:
    weights = {name: tensor.half().float() for name, tensor in random_weights(2, SMALL).items()}
    read = read_weights(write_pt(tmp_path / "rmvpe.pt", weights, dtype), SMALL)
    assert list(read) == list(expected(SMALL))
    assert all(torch.equal(read[name], weights[name]) and read[name].dtype == torch.float32 for name in weights)


def test_safetensors_are_read(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    weights = random_weights(2, SMALL)
    save_file(weights, tmp_path / "rmvpe.safetensors")
    read = read_weights(tmp_path / "rmvpe.safetensors", SMALL)
    assert all(torch.equal(read[name], weights[name]) for name in weights)


def refused(path: Path, code: str) -> str:
    with pytest.raises(UnderstudyError) as caught:
        read_weights(path, SMALL)
    assert caught.value.code == code
    assert str(path) in caught.value.message
    return caught.value.message


def test_wrong_tensors_are_named(tmp_path: Path) -> None:
    path, weights = tmp_path / "rmvpe.pt", random_weights(3, SMALL)
    assert "cnn.bias is missing" in refused(write_pt(path, weights, without="cnn.bias"), "model-unsuitable")
    assert "fc.1.bias is [7] instead of [360]" in refused(
        write_pt(path, weights | {"fc.1.bias": torch.zeros(7)}), "model-unsuitable"
    )
    assert "enc_p.proj.weight is unexpected" in refused(
        write_pt(path, weights | {"enc_p.proj.weight": torch.zeros(7)}), "model-unsuitable"
    )
    assert "not finite" in refused(
        write_pt(path, weights | {"fc.1.bias": torch.full((360,), float("nan"))}), "model-unsuitable"
    )
    assert "more faults" in refused(write_pt(path, random_weights(3, 4)), "model-unsuitable")


class Trap:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (self.trace,)  # type: ignore[return-value]


class Ask:
    """Asks for so many bytes when it is opened."""

    def __init__(self, bytes: int) -> None:
        self.bytes = bytes

    def __reduce__(self) -> tuple[Any, tuple[int]]:
        return bytearray, (self.bytes,)


def test_what_is_no_dict_of_tensors_is_refused_and_never_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "rmvpe.pt", tmp_path / "trace"
    path.write_bytes(pickle.dumps(Trap(trace)))
    refused(path, "model-unsafe")
    torch.save({"cnn.weight": Trap(trace)}, path)
    refused(path, "model-unsafe")
    assert not trace.exists()
    torch.save([1, 2], path)
    refused(path, "model-unsuitable")
    for rubbish in (b"", b"no model"):
        path.write_bytes(rubbish)
        refused(path, "model-damaged")
    path.write_bytes(b"PK\x03\x04")
    refused(path, "archive-refused")
    refused(tmp_path / "nothing.pt", "file-not-found")
    (tmp_path / "rmvpe.safetensors").write_bytes(b"\xff" * 100)
    refused(tmp_path / "rmvpe.safetensors", "model-damaged")


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rmvpe.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes((1 << 20) + 1))
    assert path.stat().st_size < 10000
    assert "packed" in refused(path, "archive-refused")
    path.write_bytes(pickle.dumps(Ask(10**13), 2))
    refused(path, "model-unsafe")
    monkeypatch.setattr(weights_module, "_LARGEST", 1 << 10)
    refused(write_pt(path, random_weights(3, SMALL)), "model-too-large")


def test_without_weights_it_is_said() -> None:
    with pytest.raises(UnderstudyError) as caught:
        track(CONTEXT, Audio.silence(1, 16000, 16000), PitchSettings(tracker="rmvpe"))
    assert caught.value.code == "model-missing"
    assert "understudy models fetch rmvpe" in caught.value.hint


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the published size."""
    return write_pt(tmp_path_factory.mktemp("rmvpe") / "rmvpe.pt", random_weights(4))


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "frames"), [(16000, 20000), (44100, 44100), (8000, 1), (8000, 0)])
def test_the_tracker_answers_for_every_frame(published: Path, rate: int, frames: int) -> None:
    settings = PitchSettings(tracker="rmvpe", low=60, high=1900)
    f0 = vibrato(300, 3, rate)
    sound = Audio(sung(f0, rate).samples[:, :frames], rate)
    heard = track(CONTEXT, sound, settings, published)
    assert heard.frames == frames * 200 // rate + 1
    assert np.all((heard.f0 == 0) | ((heard.f0 > 59) & (heard.f0 < 1901)))
    assert heard.f0.tobytes() == track(CONTEXT, sound, settings, published).f0.tobytes()


@pytest.mark.slow
def test_the_median_asks_it_too(published: Path) -> None:
    rate = 16000
    sound = sung(vibrato(300, 2, rate), rate)
    settings = PitchSettings(tracker="median", median_of=("rmvpe", "swift-f0", "praat"))
    heard = track(CONTEXT, sound, settings, published)
    assert np.median(np.abs(1200 * np.log2(heard.f0[heard.voiced] / 300))) < 60
