"""Files in the layout of the released models give what a plain reading of the published network gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.models.installed import Weights
from understudy.pipeline.separation.families.open_unmix import load, stems
from understudy.pipeline.separation.families.open_unmix.wiener import wiener
from understudy.pipeline.separation.inference import infer
from understudy.pipeline.separation.network import Network
from understudy.pipeline.separation.settings import InferenceSettings

RATE, SIZE, SEEN, HIDDEN = 8000, 256, 100, 16
BINS = SIZE // 2 + 1


class Published(nn.Module):
    """The network as its paper and its released state dict have it, layer by layer."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.fc1 = nn.Linear(2 * SEEN, HIDDEN, bias=False)
        self.bn1 = nn.BatchNorm1d(HIDDEN)
        self.lstm = nn.LSTM(HIDDEN, HIDDEN // 2, 3, bidirectional=True, dropout=0.4)
        self.fc2 = nn.Linear(2 * HIDDEN, HIDDEN, bias=False)
        self.bn2 = nn.BatchNorm1d(HIDDEN)
        self.fc3 = nn.Linear(HIDDEN, 2 * BINS, bias=False)
        self.bn3 = nn.BatchNorm1d(2 * BINS)
        for name, size in (("input_mean", SEEN), ("input_scale", SEEN), ("output_scale", BINS), ("output_mean", BINS)):
            self.register_parameter(name, nn.Parameter(0.5 + torch.rand(size)))
        for norm in (self.bn1, self.bn2, self.bn3):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2.0)
        self.register_buffer("sample_rate", torch.tensor(float(RATE)))
        self.eval()

    input_mean: torch.Tensor
    input_scale: torch.Tensor
    output_mean: torch.Tensor
    output_scale: torch.Tensor

    def forward(self, magnitudes: torch.Tensor) -> torch.Tensor:
        """``[frames, 2, bins]``."""
        frames = magnitudes.shape[0]
        x = (magnitudes[..., :SEEN] + self.input_mean) * self.input_scale
        x = torch.tanh(self.bn1(self.fc1(x.reshape(frames, -1))))
        y, _ = self.lstm(x[:, None])
        x = functional.relu(self.bn2(self.fc2(torch.cat([x, y[:, 0]], -1))))
        x = self.bn3(self.fc3(x)).view(frames, 2, BINS) * self.output_scale + self.output_mean
        return functional.relu(x) * magnitudes


def written(folder: Path, names: tuple[str, ...]) -> tuple[Weights, dict[str, Published]]:
    networks = {name: Published(seed) for seed, name in enumerate(names)}
    files = []
    for name, network in networks.items():
        path = folder / f"{name}-b62c91ce.pth"
        torch.save(network.state_dict(), path)
        files.append(Weights(path, name))
    return Weights(files[0].path, files[0].sha256, tuple(files[1:])), networks


def short(network: Network) -> Network:
    """The same network with its shortest windows."""
    while network.shorter is not None:
        network = network.shorter()
    return network


def music(seconds: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(2, round(seconds * RATE), generator=generator)
    return 0.1 * noise * torch.linspace(0.2, 1.0, noise.shape[1])


def plainly(song: torch.Tensor, networks: dict[str, Published], iterations: int) -> torch.Tensor:
    from demucs.wiener import wiener as reference

    window = torch.hann_window(SIZE)
    spectra = torch.stft(song, SIZE, SIZE // 4, window=window, return_complex=True)  # [2, bins, frames]
    with torch.no_grad():
        found = [network(spectra.abs().permute(2, 0, 1)) for network in networks.values()]
    magnitudes = torch.stack([one.permute(0, 2, 1) for one in found], -1)  # [frames, bins, 2, stems]
    parts = torch.view_as_real(spectra.permute(2, 1, 0).contiguous())
    filtered = torch.cat(
        [reference(magnitudes[at : at + 300], parts[at : at + 300], iterations) for at in range(0, len(parts), 300)]
    )  # [frames, bins, 2, (real, imaginary), stems]
    back = torch.view_as_complex(filtered.permute(4, 2, 1, 0, 3).contiguous())
    waves = torch.istft(back.flatten(0, 1), SIZE, SIZE // 4, window=window, length=song.shape[1])
    return waves.view(len(networks), *song.shape)


def snr(truth: torch.Tensor, found: torch.Tensor) -> float:
    return float(10 * torch.log10(truth.square().sum() / (truth - found).square().sum()))


@pytest.mark.slow
@pytest.mark.parametrize("iterations", [0, 1, 2])
def test_a_window_is_the_published_network_and_filter(tmp_path: Path, iterations: int) -> None:
    weights, networks = written(tmp_path, ("vocals", "drums", "bass", "other"))
    network = short(load(weights, "cpu", "float32", iterations))
    song = music(network.window / RATE)
    with torch.inference_mode():
        found = network.separate(song[None])[0]
    assert network.stems == ("vocals", "drums", "bass", "other") == stems(weights)
    assert (network.rate, network.size) == (RATE, sum(path.stat().st_size for path in tmp_path.iterdir()))
    assert snr(plainly(song, networks, iterations), found) > 90


def test_the_filter_shares_the_song_out() -> None:
    torch.manual_seed(1)
    song = torch.randn(40, 9, 2, dtype=torch.complex64)
    found = wiener(torch.rand(3, 40, 9, 2), song, 1)
    assert snr(torch.view_as_real(song), torch.view_as_real(found.sum(0))) > 60


@pytest.mark.slow
def test_a_long_song_has_no_seams(tmp_path: Path) -> None:
    """What a window of its own hears in the middle of the song is what the song's windows hear."""
    weights, networks = written(tmp_path, ("vocals", "drums"))
    network = short(load(weights, "cpu", "float32", 0))
    song = music(12)
    found = infer(Context(tmp_path), network, Audio(song.numpy(), RATE), InferenceSettings())
    truth = plainly(song, networks, 0)
    for stem, name in zip(truth, ("vocals", "drums"), strict=True):
        assert found[name].frames == song.shape[1]
        assert snr(stem, torch.from_numpy(found[name].read(0, song.shape[1]).samples)) > 40


def test_one_target_alone_leaves_the_rest(tmp_path: Path) -> None:
    weights, _ = written(tmp_path, ("vocals",))
    network = short(load(weights, "cpu", "float32"))
    assert network.stems == ("vocals", "instrumental") == stems(weights)
    song = music(network.window / RATE)
    with torch.inference_mode():
        found = network.separate(song[None])[0]
    assert snr(song, found.sum(0)) > 40


def test_silence_stays_silent(tmp_path: Path) -> None:
    network = short(load(written(tmp_path, ("vocals", "drums"))[0], "cpu", "float32"))
    with torch.inference_mode():
        assert not network.separate(torch.zeros(1, 2, network.window)).any()


def test_windows_of_half_the_length(tmp_path: Path) -> None:
    network = load(written(tmp_path, ("vocals", "drums"))[0], "cpu", "float32")
    lengths = []
    while True:
        lengths.append(network.window / RATE)
        assert network.fade.shape == (network.window,)
        assert float(network.fade.min()) > 0
        if network.shorter is None:
            break
        network = network.shorter()
    assert lengths == [30, 15, 7.504]  # whole frames of its spectrum


def test_files_that_are_no_such_network(tmp_path: Path) -> None:
    good = Published(0).state_dict()
    broken = {
        "hidden": {**good, "fc2.weight": torch.zeros(HIDDEN, 3)},
        "missing": {name: value for name, value in good.items() if name != "lstm.weight_hh_l1"},
        "extra": {**good, "lstm.weight_ih_l7": good["lstm.weight_ih_l0"]},
        "nan": {**good, "fc1.weight": good["fc1.weight"] * np.nan},
        "mono": {**good, "fc1.weight": torch.zeros(HIDDEN, SEEN)},
        "other": {"weight": torch.zeros(3)},
    }
    for name, state in broken.items():
        path = tmp_path / f"vocals-{name}.pth"
        torch.save(state, path)
        with pytest.raises(UnderstudyError) as refused:
            load(Weights(path, ""), "cpu", "float32")
        assert refused.value.code == "model-invalid", name
        assert str(path) in refused.value.message


@pytest.mark.parametrize("name", ["model.pth", "vocals-or-drums.pth"])
def test_a_file_must_say_its_target(tmp_path: Path, name: str) -> None:
    torch.save(Published(0).state_dict(), tmp_path / name)
    with pytest.raises(UnderstudyError) as refused:
        stems(Weights(tmp_path / name, ""))
    assert refused.value.code == "model-invalid"
    assert "vocals, drums, bass, other" in refused.value.hint
