"""RVC files with random weights: the real format, at real sizes or at small ones that take no time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from understudy.voices.rvc.architecture import CONTENT_CHANNELS, Architecture, published, tensor_shapes
from understudy.voices.rvc.checkpoint import config_list

if TYPE_CHECKING:
    from torch import Tensor

Version = Literal["v1", "v2"]

REAL: tuple[tuple[Version, int, bool], ...] = tuple(
    (version, rate, f0) for version in ("v1", "v2") for rate in (32000, 40000, 48000) for f0 in (True, False)
)


def real(version: Version = "v2", sample_rate: int = 48000, f0: bool = True, speakers: int = 109) -> Architecture:
    """The architecture of the published models of that kind."""
    return published(version, sample_rate, f0, speakers)


def small(version: Version = "v2", f0: bool = True, speakers: int = 3) -> Architecture:
    """The same network with few channels, at 16 kHz: about 50,000 values."""
    return Architecture(
        version, f0, 16000, (10, 8, 2), (20, 16, 4), speakers, latent_channels=8, hidden_channels=8, filter_channels=16,
        layers=2, upsample_channels=32, speaker_channels=8,
    )  # fmt: skip


def random_weights(architecture: Architecture, seed: int = 0) -> dict[str, Tensor]:
    """Float16 weights of a size that lets sound through: no layer dies out or runs away."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in tensor_shapes(architecture).items():
        drawn = torch.randn(shape, generator=generator)
        if name.endswith(".gamma"):
            drawn = 1 + 0.1 * drawn
        elif name.endswith((".bias", ".beta")):
            drawn = 0.05 * drawn
        elif name.endswith(".weight_g"):
            drawn = 0.5 + 0.2 * drawn.abs()
        elif not name.startswith(("emb_g", "enc_p.emb_pitch")):
            inputs = drawn[0].numel() if drawn.ndim > 1 else 1
            drawn = drawn / inputs**0.5
        weights[name] = drawn.half()
    return weights


def document(architecture: Architecture, seed: int = 0, **variations: Any) -> dict[str, Any]:
    """What a `.pth` holds. `variations` replace entries; `None` leaves the entry out."""
    entries: dict[str, Any] = {
        "weight": random_weights(architecture, seed),
        "config": config_list(architecture),
        "info": "20epoch",
        "sr": f"{architecture.sample_rate // 1000}k",
        "f0": int(architecture.f0),
        "version": architecture.version,
        **variations,
    }
    return {key: value for key, value in entries.items() if value is not None}


def write_random_pth(path: Path, architecture: Architecture, seed: int = 0, **variations: Any) -> Path:
    """A `.pth` as training writes it, with random weights; returns `path`."""
    import torch

    torch.save(document(architecture, seed, **variations), path)
    return path


def write_random_index(path: Path, version: Version = "v2", vectors: int = 2000, seed: int = 0) -> Path:
    """A faiss file as training writes it (``IVF<lists>,Flat``, nprobe 1), of random features; returns `path`."""
    import faiss
    import numpy as np

    dimension = CONTENT_CHANNELS[version]
    features = np.random.default_rng(seed).standard_normal((vectors, dimension), np.float32)
    lists = max(1, min(int(16 * vectors**0.5), vectors // 39))
    index = faiss.index_factory(dimension, f"IVF{lists},Flat")
    faiss.extract_index_ivf(index).nprobe = 1
    index.train(features)
    index.add(features)
    faiss.write_index(index, str(path))
    return path
