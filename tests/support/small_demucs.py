"""Small Demucs networks with random weights, and files of them as Demucs writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

RATE = 8000
SOURCES = ("drums", "bass", "other", "vocals")
HYBRID: Mapping[str, Any] = {
    "audio_channels": 2, "channels": 8, "growth": 2, "nfft": 2048, "depth": 4, "dconv_mode": 3, "dconv_comp": 4,
    "bottom_channels": 32, "t_layers": 3, "t_heads": 4, "t_hidden_scale": 2.0, "multi_freqs": [], "samplerate": RATE,
    "segment": Fraction(8, 5), "t_dropout": 0.02,
}  # fmt: skip
OLDER: Mapping[str, Any] = {
    "audio_channels": 2, "channels": 4, "growth": 2, "nfft": 4096, "depth": 6, "samplerate": RATE, "segment": 2,
    "hybrid_old": False, "dconv_comp": 1,
}  # fmt: skip
WAVES: Mapping[str, Any] = {"channels": 8, "depth": 4, "samplerate": RATE, "segment": 2, "dconv_comp": 2}


def network(kind: str, seed: int = 0, **changed: Any) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The network and its arguments. Its residual branches are as loud as those of trained ones, which begin at a
    thousandth."""
    from demucs.demucs import Demucs
    from demucs.hdemucs import HDemucs
    from demucs.htdemucs import HTDemucs

    classes = {"HTDemucs": (HTDemucs, HYBRID), "HDemucs": (HDemucs, OLDER), "Demucs": (Demucs, WAVES)}
    klass, known = classes[kind]
    arguments = {"sources": list(SOURCES), **known, **changed}
    torch.manual_seed(seed)
    made = klass(**arguments).eval().requires_grad_(False)
    for name, value in made.named_parameters():
        if name.endswith(".scale"):
            value.uniform_(0.1, 0.4)
        elif "norm" in name:
            value.add_(0.2 * torch.randn(value.shape))
    return made, arguments


def write(path: Path, made: torch.nn.Module, arguments: Mapping[str, Any], **changed: Any) -> Path:
    kept = {"klass": type(made), "args": (), "kwargs": dict(arguments), "state": dict(made.state_dict())}
    torch.save({**kept, "training_args": {"epochs": 360, "dset": {"sources": ["a"]}}, **changed}, path)
    return path


def write_safetensors(path: Path, made: torch.nn.Module, arguments: Mapping[str, Any], **changed: str) -> Path:
    def encoded(value: Any) -> Any:
        return {"_type": "fraction", "numerator": value.numerator, "denominator": value.denominator}

    klass = type(made)
    metadata = {
        "klass": f"{klass.__module__}.{klass.__name__}",
        "args": "[]",
        "kwargs": json.dumps(dict(arguments), default=encoded),
    }
    save_file({name: value.contiguous() for name, value in made.state_dict().items()}, path, {**metadata, **changed})
    return path


def music(seconds: float, rate: int = RATE) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    time = torch.arange(round(seconds * rate)) / rate
    tone = torch.sin(2 * torch.pi * 220 * time * (1 + 0.02 * torch.sin(3 * time)))
    noise = torch.randn(2, time.numel(), generator=generator)
    return 0.2 * tone + 0.05 * noise * (1 + torch.sin(5 * time)) + 0.01


def snr(truth: torch.Tensor, found: torch.Tensor) -> float:
    truth, found = truth.double(), found.double()
    return float(10 * torch.log10(truth.square().sum() / (truth - found).square().sum()))
