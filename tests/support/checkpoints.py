"""Checkpoints with the YAML beside them, and how much one sound differs from another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml

from understudy.models.installed import Weights


def write(folder: Path, tensors: Any, configuration: Any) -> Weights:
    """`tensors` as `torch.save` writes them, `configuration` (a text, or what becomes YAML) beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(tensors, folder / "net.ckpt")
    text = configuration if isinstance(configuration, str) else yaml.safe_dump(configuration)
    (folder / "net.yaml").write_text(text)
    return Weights(folder / "net.ckpt", "0" * 64, (Weights(folder / "net.yaml", "1" * 64),))


def snr(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Decibels of `wanted` over what `found` is off."""
    return float(10 * torch.log10(wanted.double().pow(2).sum() / (found.double() - wanted.double()).pow(2).sum()))


def shaken(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Random weights with which no part is idle: norms that aren't one, biases that aren't zero, attention that
    prefers some tokens."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if name.endswith("gamma") or (tensor.ndim == 1 and name.endswith("weight")):
                tensor.add_(torch.randn_like(tensor) * 0.2)
            elif name.endswith("bias"):
                tensor.copy_(torch.randn_like(tensor) * 0.3)
            elif "to_qkv" in name:
                tensor.mul_(2.0)
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.3)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2.0)
    return network.eval()
