"""MDX23C: equal to the published network, and what is read and refused."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.checkpoints import shaken, snr, write
from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.models.installed import Weights
from understudy.pipeline.separation.families import mdx23c
from understudy.pipeline.separation.inference import infer
from understudy.pipeline.separation.settings import InferenceSettings

pytest.importorskip("audio_separator", reason="the published network isn't installed")
ConfigDict = pytest.importorskip("ml_collections").ConfigDict

CONFIG: dict[str, Any] = {
    "audio": {
        "chunk_size": 4032, "dim_f": 128, "dim_t": 64, "hop_length": 64, "n_fft": 512, "num_channels": 2,
        "sample_rate": 44100,
    },
    "model": {
        "act": "gelu", "bottleneck_factor": 4, "growth": 8, "norm": "InstanceNorm", "num_blocks_per_scale": 2,
        "num_channels": 8, "num_scales": 2, "num_subbands": 4, "scale": [2, 2],
    },
    "training": {"instruments": ["Vocals", "Instrumental"], "target_instrument": None},
    "inference": {"batch_size": 1, "dim_t": 64, "num_overlap": 4},
}  # fmt: skip
WINDOW = 64 * 63


def config(training: dict[str, Any] | None = None, audio: dict[str, Any] | None = None, **model: Any) -> dict[str, Any]:
    changed = deepcopy(CONFIG)
    changed["model"].update(model)
    changed["training"].update(training or {})
    changed["audio"].update(audio or {})
    return changed


def published(configuration: dict[str, Any]) -> torch.nn.Module:
    from audio_separator.separator.uvr_lib_v5.tfc_tdf_v3 import TFC_TDF_net

    return shaken(TFC_TDF_net(ConfigDict(configuration), "cpu"))


def noise(batch: int = 1, frames: int = WINDOW) -> torch.Tensor:
    return torch.randn(batch, 2, frames, generator=torch.Generator().manual_seed(1)) * 0.1


@pytest.mark.parametrize(
    "configuration",
    [
        config(),
        config({"target_instrument": "Vocals"}),
        config(norm="BatchNorm", act="relu", num_scales=3),
        config(norm="GroupNorm4", act="elu0.5", scale=[2, 4], num_blocks_per_scale=1, bottleneck_factor=2),
        config(norm=None, num_subbands=2, bottleneck_factor=8),
    ],
    ids=["instance norm", "one target", "batch norm", "group norm", "no norm"],
)
def test_it_computes_what_the_published_network_does(tmp_path: Path, configuration: dict[str, Any]) -> None:
    network = published(configuration)
    weights = write(tmp_path, network.state_dict(), configuration)
    with torch.inference_mode():
        wanted = network(noise(2))
        wanted = wanted if wanted.ndim == 4 else wanted[:, None]
        assert snr(mdx23c.load(weights, "cpu", "float32").separate(noise(2)), wanted) > 110
        assert snr(mdx23c.load(weights, "cpu", "bfloat16").separate(noise(2)), wanted) > 30
    one = configuration["training"]["target_instrument"]
    assert mdx23c.stems(weights) == (("vocals",) if one else ("vocals", "instrumental"))


def test_one_channel_networks_hear_both_channels_alone(tmp_path: Path) -> None:
    configuration = config(audio={"num_channels": 1})
    network = published(configuration)
    weights = write(tmp_path, network.state_dict(), configuration)
    sound = noise(2)
    with torch.inference_mode():
        alone = [mdx23c.load(weights, "cpu", "float32").separate(part.expand(1, 2, -1)) for part in sound[:, 0]]
        both = mdx23c.load(weights, "cpu", "float32").separate(sound)
    for found, wanted in zip(both, alone, strict=True):
        assert snr(found[:, 0], wanted[0, :, 0]) > 110
        assert torch.equal(wanted[0, :, 0], wanted[0, :, 1])


def test_windows_can_be_halved_as_long_as_the_scales_allow(tmp_path: Path) -> None:
    configuration = config()
    weights = write(tmp_path, published(configuration).state_dict(), configuration)
    network = mdx23c.load(weights, "cpu", "float32")
    assert network.window == WINDOW
    sizes = []
    while network.shorter is not None:
        network = network.shorter()
        sizes.append(network.window)
        assert network.separate(noise(frames=network.window)).shape == (1, 2, 2, network.window)
    assert sizes == [64 * 31, 64 * 15]  # the next would be shorter than a spectrum


def test_a_song_comes_out_as_long_as_it_was_and_the_same_again(tmp_path: Path) -> None:
    configuration = config()
    weights = write(tmp_path, published(configuration).state_dict(), configuration)
    network = mdx23c.load(weights, "cpu", "bfloat16")
    song = Audio(noise(frames=3 * WINDOW + 77)[0].numpy(), 44100)
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        stems = infer(Context(tmp_path / name), network, song, InferenceSettings())
        assert {file.frames for file in stems.values()} == {song.frames}
        found.append({stem: file.read().samples.tobytes() for stem, file in stems.items()})
    assert found[0] == found[1]


def refused(weights: Weights) -> str:
    with pytest.raises(UnderstudyError) as error:
        mdx23c.load(weights, "cpu", "float32")
    assert error.value.hint
    return f"{error.value.code}: {error.value.message}"


@pytest.mark.parametrize(
    ("configuration", "said"),
    [
        (config(act="tanh"), "'tanh'"),
        (config(scale=2), "scale"),
        (config(num_scales=40), "num_scales"),
        (config(num_subbands=3), "bins"),
        (config(audio={"n_fft": None}), "n_fft is missing"),
        (config(num_scales=5), "can't be halved"),
        (config(growth=16), "instead of"),
        (config({"instruments": []}), "instruments"),
    ],
)
def test_configurations_of_no_such_network_are_refused(
    tmp_path: Path, configuration: dict[str, Any], said: str
) -> None:
    message = refused(write(tmp_path, published(config()).state_dict(), configuration))
    assert message.startswith("model-invalid")
    assert said in message


def test_without_its_configuration_it_is_not_read(tmp_path: Path) -> None:
    weights = write(tmp_path, published(config()).state_dict(), config())
    assert refused(Weights(weights.path, weights.sha256)).startswith("model-companion")
