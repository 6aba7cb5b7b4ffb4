"""The fallback: files of audio-separator's registry that no family here reads are run by its own networks."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from tests.support.checkpoints import shaken
from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.separation import recognition
from understudy.pipeline.separation.inference import infer
from understudy.pipeline.separation.models import find_separator, load_network
from understudy.pipeline.separation.settings import InferenceSettings

MDX23C, ROFORMER = "MDX23C-8KFFT-InstVoc_HQ.ckpt", "MelBandRoformerSYHFT.ckpt"
"""Files of the registry."""
CONFIGURATION = {
    "audio": {"chunk_size": 4032, "dim_f": 256, "dim_t": 64, "hop_length": 64, "n_fft": 512, "num_channels": 2,
              "sample_rate": 44100},
    "model": {"act": "elu.5", "bottleneck_factor": 4, "growth": 4, "norm": "InstanceNorm", "num_blocks_per_scale": 2,
              "num_channels": 8, "num_scales": 2, "num_subbands": 4, "scale": [2, 2]},
    "training": {"instruments": ["Vocals", "Instrumental"], "target_instrument": None},
    "inference": {"batch_size": 1, "dim_t": 64, "num_overlap": 4},
}  # fmt: skip
"""Of a network whose activation the family MDX23C refuses for how it is written."""
MODEL = {
    "dim": 24, "depth": 1, "stereo": True, "num_stems": 1, "time_transformer_depth": 1, "freq_transformer_depth": 1,
    "num_bands": 16, "dim_head": 8, "heads": 3, "stft_n_fft": 512, "stft_hop_length": 128, "stft_win_length": 512,
}  # fmt: skip


def mdx23c(folder: Path, name: str = MDX23C) -> tuple[Path, torch.nn.Module]:
    """A random network of the package, and its file with the YAML beside it."""
    package = pytest.importorskip("audio_separator.separator.uvr_lib_v5.tfc_tdf_v3")
    collections = pytest.importorskip("ml_collections")
    network = shaken(package.TFC_TDF_net(collections.ConfigDict(CONFIGURATION), "cpu"))
    return written(folder / name, network, CONFIGURATION), network


def roformer(folder: Path, configuration: str = "config.yaml") -> tuple[Path, torch.nn.Module]:
    """The same; one of its tensors is stored as whole numbers, which the family Roformer refuses."""
    package = pytest.importorskip("audio_separator.separator.uvr_lib_v5.roformer.mel_band_roformer")
    network = shaken(package.MelBandRoformer(**MODEL))
    torch.nn.init.zeros_(network.get_parameter("band_split.to_features.0.1.bias"))
    settings_of = {
        "model": MODEL,
        "audio": {"sample_rate": 44100, "chunk_size": 128 * 70},
        "training": {"instruments": ["Vocals", "other"], "target_instrument": "Vocals"},
        "inference": {"dim_t": 71},
    }
    path = written(folder / ROFORMER, network, settings_of)
    path.with_suffix(".yaml").rename(folder / configuration)
    tensors = network.state_dict()
    tensors["band_split.to_features.0.1.bias"] = tensors["band_split.to_features.0.1.bias"].to(torch.int16)
    torch.save(tensors, path)
    return path, network


def written(path: Path, network: torch.nn.Module, configuration: Any) -> Path:
    torch.save(network.state_dict(), path)
    path.with_suffix(".yaml").write_text(yaml.safe_dump(configuration))
    return path


def without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def hidden(name: str, package: str | None = None) -> Any:
        return None if name.partition(".")[0] == "audio_separator" else found(name, package)

    for name in list(sys.modules):
        if name.partition(".")[0] == "audio_separator":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "audio_separator", None)
    monkeypatch.setattr("understudy.pipeline.separation.families.audio_separator.find_spec", hidden)


def test_a_file_whose_configuration_is_refused_is_separated_by_the_package(tmp_path: Path) -> None:
    path, reference = mdx23c(tmp_path)
    model = find_separator(str(path))
    assert (model.family, model.stems) == ("audio_separator", ("vocals", "instrumental"))
    network = load_network(model, "cpu", "float32")
    windows = torch.randn(2, 2, network.window)
    with torch.inference_mode():
        assert torch.equal(network.separate(windows), reference(windows))
    assert "audio-separator" in network.cautions[0]
    song = Audio(np.random.default_rng(0).normal(0, 0.1, (2, 30_000)).astype(np.float32), 44100)
    for stem in infer(Context(tmp_path), network, song, InferenceSettings()).values():
        assert stem.read().samples.shape == (2, 30_000)
        assert np.std(stem.read().samples) > 0


@pytest.mark.parametrize("known", [True, False], ids=["the family is known", "the family is unknown"])
def test_a_file_whose_tensors_are_refused_goes_to_the_package(
    known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, reference = roformer(tmp_path)
    if not known:
        monkeypatch.setattr(recognition, "_TENSORS", ())
        monkeypatch.setattr(recognition, "_BEGINNINGS", ())
    model = find_separator(str(path))
    assert model.family == ("roformer" if known else "audio_separator")
    network = load_network(model, "cpu", "float32")
    windows = torch.randn(1, 2, network.window)
    with torch.inference_mode():
        assert torch.equal(network.separate(windows)[:, 0], reference(windows))


def test_other_files_are_refused_as_before(tmp_path: Path) -> None:
    path, _ = mdx23c(tmp_path, name="mine.ckpt")
    with pytest.raises(UnderstudyError) as caught:
        find_separator(str(path))
    assert caught.value.code == "model-invalid"


def test_a_damaged_file_of_the_registry_is_called_so(tmp_path: Path) -> None:
    path, network = mdx23c(tmp_path)
    torch.save({name: value * float("nan") for name, value in network.state_dict().items()}, path)
    with pytest.raises(UnderstudyError, match="finite") as caught:
        load_network(find_separator(str(path)), "cpu", "float32")
    assert caught.value.code == "model-invalid"
    path.write_bytes(b"<!DOCTYPE html><html>")
    with pytest.raises(UnderstudyError, match="web page") as caught:
        find_separator(str(path))


@pytest.mark.parametrize("make", [mdx23c, roformer])
def test_without_the_package_the_error_says_how_to_install_it(
    make: Callable[[Path], tuple[Path, torch.nn.Module]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = make(tmp_path)
    without_the_package(monkeypatch)
    with pytest.raises(UnderstudyError) as caught:
        load_network(find_separator(str(path)), "cpu", "float32")
    assert caught.value.code == "package-missing"
    assert "pip install 'understudy-covers[audio-separator]'" in caught.value.hint
