"""The networks of pymss-core: recognised by configuration and tensors, refused by name, run as they are."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.checkpoints import shaken, snr, write
from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.separation.families import pymss_core
from understudy.pipeline.separation.inference import infer
from understudy.pipeline.separation.models import find_separator, load_network
from understudy.pipeline.separation.settings import InferenceSettings

BANDS = {"n_bands": 16, "n_sqm_modules": 1, "emb_dim": 8, "rnn_dim": 8, "mlp_dim": 8, "n_fft": 512, "win_length": 512,
         "hop_length": 128}  # fmt: skip
ROFORMER = {"dim": 16, "depth": 1, "stereo": True, "num_stems": 1, "dim_head": 8, "heads": 2, "stft_n_fft": 256,
            "stft_hop_length": 64, "stft_win_length": 256, "freqs_per_bands": [32, 32, 65], "flash_attn": True,
            "time_transformer_depth": 1, "freq_transformer_depth": 1}  # fmt: skip
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "scnet": {"model": {"sources": ["drums", "vocals"], "audio_channels": 2, "dims": [4, 8, 12], "nfft": 512,
                        "hop_size": 128, "win_size": 512, "num_dplayer": 2, "band_SR": [0.175, 0.392, 0.433],
                        "band_stride": [1, 4, 16], "band_kernel": [3, 4, 16]},
              "training": {"instruments": ["drums", "vocals"]}, "inference": {"normalize": True}},
    "bandit": {"model": {"in_channel": 1, "stems": ["speech", "music"], "band_specs": "musical", "fs": 44100, **BANDS},
               "training": {"instruments": ["speech", "music"]}},
    "bandit_v2": {"kwargs": {"in_channels": 1, "stems": ["speech", "music"], "band_type": "musical", "fs": 48000,
                             **BANDS},
                  "audio": {"sample_rate": 48000}, "training": {"instruments": ["speech", "music"]}},
    "apollo": {"model": {"sr": 44100, "win": 20, "feature_dim": 16, "layer": 1},
               "training": {"instruments": ["restored", "addition"], "target_instrument": "restored"}},
    "bs_roformer": {"model": {**ROFORMER, "use_pope": True}, "training": {"target_instrument": "Vocals"}},
    "bs_conformer": {"model": {name: value for name, value in ROFORMER.items() if "transformer" not in name}
                     | {"time_conformer_depth": 1, "freq_conformer_depth": 1},
                     "training": {"target_instrument": "Vocals"}},
}  # fmt: skip


def configured(kind: str, **settings: Any) -> dict[str, Any]:
    found = deepcopy(CONFIGURATIONS[kind])
    found["audio"] = {"chunk_size": 8192, **found.get("audio", {})}
    found["kwargs" if kind == "bandit_v2" else "model"].update(settings)
    return found


def network(kind: str, configuration: dict[str, Any]) -> torch.nn.Module:
    """A random network of the package."""
    settings = pymss_core._configuration(configuration).settings
    return shaken(pymss_core._built(kind, settings))


@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_each_is_recognised_and_gives_what_the_package_gives(kind: str, tmp_path: Path) -> None:
    configuration = configured(kind)
    reference = network(kind, configuration)
    path = write(tmp_path, {"state_dict": reference.state_dict()}, configuration).path
    model = find_separator(str(path))
    names = {"scnet": ("drums", "vocals"), "apollo": ("restored",)}.get(kind, ("speech", "instrumental"))
    assert (model.family, model.stems) == ("pymss_core", ("vocals",) if "former" in kind else names)
    found = load_network(model, "cpu", "float32")
    assert found.rate == (48000 if kind == "bandit_v2" else 44100)
    assert found.normalise == ("deviation" if kind == "scnet" else "none")
    windows = torch.randn(2, 2, found.window)
    mono = kind in ("bandit", "bandit_v2", "apollo")
    with torch.inference_mode():
        wanted = reference(windows.reshape(4, 1, -1) if mono else windows)
        wanted = wanted.reshape(2, 2, len(model.stems), -1).transpose(1, 2) if mono else wanted.reshape(2, -1, 2, 8192)
        assert snr(found.separate(windows), wanted) > 110
    song = Audio(np.random.default_rng(0).normal(0, 0.1, (2, 20_000)).astype(np.float32), found.rate)
    for stem in infer(Context(tmp_path), found, song, InferenceSettings()).values():
        assert stem.read().samples.shape == (2, 20_000)
    path.with_suffix(".yaml").rename(tmp_path / "config.yaml")  # the only one there
    assert find_separator(str(path)).family == "pymss_core"
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(UnderstudyError, match="needs the configuration"):
        find_separator(str(path))


def test_a_network_with_hyperace_is_told_by_its_tensors(tmp_path: Path) -> None:
    configuration = configured("bs_roformer", use_pope=False)
    write(tmp_path, {pymss_core.HYPERACE: torch.zeros(1)}, configuration)
    assert find_separator(str(tmp_path / "net.ckpt")).family == "pymss_core"
    write(tmp_path / "other", {"band_split.to_features.0.0.gamma": torch.zeros(1)}, configuration)
    assert find_separator(str(tmp_path / "other" / "net.ckpt")).family == "roformer"


@pytest.mark.parametrize(("kind", "settings", "named"), [
    ("scnet", {"gated_bands": 3}, "gated_bands"),
    ("scnet", {"dims": [4, 1 << 20]}, "dims"),
    ("scnet", {"num_dplayer": "many"}, "configuration"),
    ("bs_roformer", {"hyper_connections": 4}, "hyper_connections"),
    ("bs_roformer", {"use_pope": False, "hyper_connections": 4}, "hyper_connections"),
    ("apollo", {"layer": 10_000}, "layer"),
    ("bandit", {"in_channel": 2}, "fit"),
    ("bandit_v2", {"band_type": "round"}, "configuration"),
])  # fmt: skip
def test_what_is_not_known_is_refused_by_name(kind: str, settings: dict[str, Any], named: str, tmp_path: Path) -> None:
    tensors = network(kind, configured(kind)).state_dict()
    path = write(tmp_path, tensors, configured(kind, **settings)).path
    with pytest.raises(UnderstudyError, match=named) as caught:
        load_network(find_separator(str(path)), "cpu", "float32").separate(torch.randn(1, 2, 8192))
    assert caught.value.code == "model-invalid"
