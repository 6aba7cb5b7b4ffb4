"""`Checkpoint`: a trained RVC model as read from its file, validated tensor by tensor, and writing it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voices.rvc.architecture import Architecture
from voices.rvc.shapes import tensor_shapes

if TYPE_CHECKING:
    from torch import Tensor

INFO = (
    "info", "epoch", "step", "creation_date", "model_hash", "dataset_length", "model_name", "author", "embedder_model",
    "speakers_id", "vocoder",
)  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """`weights`: tensors under RVC's names, with the values and precision of the file, weight-norm pairs not folded.
    `info`: what the file tells of itself (`INFO`), plain strings and numbers."""

    architecture: Architecture
    weights: dict[str, Tensor]
    info: dict[str, Any] = field(default_factory=dict)


def read_checkpoint(path: Path) -> Checkpoint:
    """The model in the `.pth` or `.safetensors` file at `path`."""
    if path.suffix.lower() == ".safetensors":
        document = _read_safetensors(path)
    else:
        import torch

        document = torch.load(path, map_location="cpu", weights_only=True)
    weights = {name: tensor for name, tensor in document["weight"].items() if "enc_q" not in name}
    architecture = _architecture(document, weights)
    shapes = tensor_shapes(architecture)
    assert {name: tuple(tensor.shape) for name, tensor in weights.items()} == shapes
    return Checkpoint(architecture, weights, {key: document[key] for key in INFO if key in document})


def write_pth(checkpoint: Checkpoint, path: Path) -> None:
    """Write `checkpoint` as RVC itself does, for other tools to load."""
    import torch

    torch.save({"weight": dict(checkpoint.weights), **_header(checkpoint)}, path)


def write_safetensors(checkpoint: Checkpoint, path: Path) -> None:
    """Write `checkpoint` as safetensors; the entries of a `.pth` beside its weights stand in the metadata as JSON."""
    from safetensors.torch import save_file

    metadata = {key: json.dumps(value) for key, value in _header(checkpoint).items()}
    save_file({name: tensor.contiguous() for name, tensor in checkpoint.weights.items()}, path, metadata)


def config_list(architecture: Architecture) -> list[Any]:
    """The 18 positional values that a `.pth` states its sizes with."""
    a = architecture
    return [
        1025 if a.sample_rate > 32000 else 513,  # bins of the spectrogram that training saw
        32,  # frames of a training segment
        a.latent_channels, a.hidden_channels, a.filter_channels, a.heads, a.layers, a.kernel,
        0,  # dropout
        "1",  # kind of residual block
        list(a.resblock_kernels), [list(row) for row in a.resblock_dilations], list(a.upsample_rates),
        a.upsample_channels, list(a.upsample_kernels), a.speakers, a.speaker_channels, a.sample_rate,
    ]  # fmt: skip


def _header(checkpoint: Checkpoint) -> dict[str, Any]:
    architecture = checkpoint.architecture
    return {
        "config": config_list(architecture),
        "info": "",
        "sr": f"{architecture.sample_rate // 1000}k",
        "f0": int(architecture.f0),
        "version": architecture.version,
        **checkpoint.info,
    }


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        metadata = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
        return {**metadata, "weight": {name: file.get_tensor(name) for name in file.keys()}}  # noqa: SIM118


def _architecture(document: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Architecture:
    config = document["config"]
    return Architecture(
        version="v1" if weights["enc_p.emb_phone.weight"].shape[1] == 256 else "v2",
        f0=bool(document.get("f0", 1)),
        sample_rate=config[17],
        upsample_rates=tuple(config[12]),
        upsample_kernels=tuple(config[14]),
        speakers=weights["emb_g.weight"].shape[0],
        latent_channels=config[2],
        hidden_channels=config[3],
        filter_channels=config[4],
        heads=config[5],
        layers=config[6],
        kernel=config[7],
        upsample_channels=config[13],
        resblock_kernels=tuple(config[10]),
        resblock_dilations=tuple(map(tuple, config[11])),
        speaker_channels=config[16],
    )
