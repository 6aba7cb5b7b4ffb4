"""Small files of real form, one for each family of separation networks: real tensors' names, few values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.support.onnx_files import model, node

BS = """audio: {chunk_size: 16384, sample_rate: 44100}
model:
  dim: 8
  depth: 1
  stereo: true
  num_stems: 1
  freqs_per_bands: !!python/tuple [8, 8, 8, 8, 33]
  dim_head: 4
  heads: 2
  stft_n_fft: 128
  stft_hop_length: 32
  stft_win_length: 128
training: {instruments: [Vocals, Instrumental], target_instrument: Vocals}
inference: {dim_t: 256, num_overlap: 2}
"""
MEL = BS.replace("freqs_per_bands: !!python/tuple [8, 8, 8, 8, 33]", "num_bands: 8\n  sample_rate: 44100")
MDX23C = """audio: {chunk_size: 8192, dim_f: 64, dim_t: 16, hop_length: 64, n_fft: 128, num_channels: 2,
        sample_rate: 44100}
model: {act: gelu, bottleneck_factor: 4, growth: 4, norm: InstanceNorm, num_blocks_per_scale: 1, num_channels: 4,
        num_scales: 2, num_subbands: 4, scale: [2, 2]}
training: {instruments: [Vocals, Instrumental], target_instrument: null}
inference: {batch_size: 1, num_overlap: 2}
"""


def state(path: Path, *names: str, wrapper: str | None = None) -> Path:
    """A checkpoint with tensors of these names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: torch.arange(6.0).reshape(2, 3) for name in names}
    torch.save({wrapper: tensors} if wrapper else tensors, path)
    return path


def roformer(path: Path, wrapper: str | None = None) -> Path:
    return state(
        path, "band_split.to_features.0.0.gamma", "mask_estimators.0.to_freqs.0.0.0.weight", "layers.0.0.norm.gamma",
        wrapper=wrapper,
    )  # fmt: skip


def mdx23c(path: Path) -> Path:
    return state(path, "first_conv.weight", "encoder_blocks.0.tfc_tdf.blocks.0.tfc1.0.weight", "final_conv.0.weight")


def vr(path: Path, new: bool = False) -> Path:
    first = "stg1_low_band_net.0.enc1.conv.0.weight" if new else "stg1_low_band_net.enc1.conv1.conv.0.weight"
    return state(path, first, "out.weight")


def open_unmix(path: Path) -> Path:
    return state(
        path, "input_mean", "input_scale", "output_scale", "output_mean", "fc1.weight", "bn1.weight",
        "lstm.weight_ih_l0", "sample_rate", "stft.window",
    )  # fmt: skip


def demucs(path: Path) -> Path:
    """A package as Demucs writes it: the class itself is named in it."""
    from demucs.htdemucs import HTDemucs

    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {"klass": HTDemucs, "args": (), "kwargs": {"sources": ["drums", "bass", "other", "vocals"]}}
    torch.save({**kept, "state": {"encoder.0.conv.weight": torch.zeros(4, 4)}, "training_args": None}, path)
    return path


def onnx(path: Path, shape: list[Any]) -> Path:
    """A network that gives what it is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model([node("Identity", ["input"], ["output"])], {}, {"input": shape}, {"output": shape}))
    return path
