"""HuBERT files of random weights, in every format that is in use: real sizes, or small ones for tests.

    python -m tests.support.contentvec_files FORMAT PATH

writes one of real size (94.6 million values, float16).
"""

from __future__ import annotations

import argparse
import enum
import sys
import types
from pathlib import Path
from typing import Any, Literal, get_args
from unittest.mock import patch

import numpy as np
import torch

from understudy.voices.rvc.hubert.weights import KERNELS, Sizes, tensor_shapes

Format = Literal["fairseq", "fairseq-legacy", "transformers", "transformers-parametrized", "safetensors"]

BASE = Sizes(512, 768, 768, 3072, 12, 256, 128, 16)
SMALL = Sizes(32, 768, 64, 64, 12, 256, 16, 16)  # as wide outside as the real one, so that it serves real voices
TINY = Sizes(16, 128, 128, 96, 12, 32, 8, 4)  # for transformers, which can't have `inner` differ from `hidden`


def random_weights(sizes: Sizes = BASE, seed: int = 0) -> dict[str, torch.Tensor]:
    """float32 tensors by transformers' names (old weight norm), scaled such that every layer's output has a spread
    near 1, attention picks some frames and not others, and no part is without effect. What follows a GELU, whose mean
    isn't 0, has rows of mean 0: features would otherwise hardly change over time."""
    random = np.random.default_rng(seed)

    def normal(shape: tuple[int, ...], spread: float, mean: float = 0.0) -> torch.Tensor:
        values = random.standard_normal(shape, dtype=np.float32)
        return torch.from_numpy(values * np.float32(spread) + np.float32(mean))

    weights = {}
    for name, shape in sorted(tensor_shapes(sizes).items()):
        if name.endswith("conv.weight_g"):
            elements = sizes.hidden * sizes.hidden // sizes.position_groups
            reach = sizes.hidden // sizes.position_groups * sizes.position_kernel
            weights[name] = normal(shape, 0.1, 0.5 * (elements / reach) ** 0.5).abs()
        elif "norm.weight" in name:
            weights[name] = normal(shape, 0.1, 1.0)
        elif name.endswith("bias"):
            weights[name] = normal(shape, 0.03)
        elif ".conv_layers." in name:
            weights[name] = normal(shape, (2 / (shape[1] * shape[2])) ** 0.5)
            if shape[1] > 1:
                weights[name] -= weights[name].mean(1, keepdim=True)
        elif "q_proj" in name or "k_proj" in name:
            weights[name] = normal(shape, 2.0 * shape[1] ** -0.5)
        else:
            branch = "out_proj" in name or "output_dense" in name
            weights[name] = normal(shape, (0.4 if branch else 1.0) * shape[-1] ** -0.5)
            if "output_dense" in name or "projection" in name:
                weights[name] -= weights[name].mean(1, keepdim=True)
    return weights


def write_random_contentvec(
    path: Path,
    format: Format = "fairseq",
    *,
    sizes: Sizes = BASE,
    seed: int = 0,
    dtype: torch.dtype = torch.float16,
    without: tuple[str, ...] = (),
) -> dict[str, torch.Tensor]:
    """Write a HuBERT of random weights to the file `path`; returns the weights as they would be read (float32 of what
    is stored). `without`: beginnings of (transformers') names to leave out."""
    weights = {name: tensor.to(dtype) for name, tensor in random_weights(sizes, seed).items()}
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith(without)} if without else weights
    match format:
        case "fairseq" | "fairseq-legacy":
            write_fairseq(path, {fairseq_name(n): t for n, t in kept.items()}, legacy=format == "fairseq-legacy")
        case "transformers":
            torch.save(kept | {"masked_spec_embed": torch.zeros(sizes.hidden, dtype=dtype)}, path)
        case "transformers-parametrized":
            torch.save({parametrized(name): tensor for name, tensor in kept.items()}, path)
        case "safetensors":
            from safetensors.torch import save_file

            save_file({parametrized(name): tensor for name, tensor in kept.items()}, path, {"format": "pt"})
    return {name: tensor.float() for name, tensor in kept.items()}


def parametrized(name: str) -> str:
    return name.replace("conv.weight_g", "conv.parametrizations.weight.original0").replace(
        "conv.weight_v", "conv.parametrizations.weight.original1"
    )


def fairseq_name(name: str) -> str:
    for ours, theirs in (
        ("feature_projection.layer_norm", "layer_norm"),
        ("feature_projection.projection", "post_extract_proj"),
        ("pos_conv_embed.conv", "pos_conv.0"),
        (".attention.", ".self_attn."),
        ("feed_forward.intermediate_dense", "fc1"),
        ("feed_forward.output_dense", "fc2"),
    ):
        name = name.replace(ours, theirs)
    if name.startswith("encoder.layers."):
        name = name.replace(".layer_norm.", ".self_attn_layer_norm.")
    for layer in range(len(KERNELS)):
        name = name.replace(f"conv_layers.{layer}.conv.", f"conv_layers.{layer}.0.")
        name = name.replace(f"conv_layers.{layer}.layer_norm.", f"conv_layers.{layer}.2.")
    return name


def write_fairseq(path: Path, model: dict[str, torch.Tensor], *, legacy: bool = False, **more: Any) -> None:
    """A checkpoint as fairseq's trainer pickles it: the tensors beside whole objects of its own and of others. `more`
    is put beside them."""
    dictionary = _class("fairseq.data.dictionary", "Dictionary")
    config = _class("omegaconf.dictconfig", "DictConfig")
    choice = enum.Enum("LogFormat", {"json": "json", "tqdm": "tqdm"}, module="fairseq.dataclass.constants")  # type: ignore[misc]
    symbols = dictionary()
    symbols.symbols = [str(n) for n in range(500)]
    symbols.indices = {str(n): n for n in range(500)}
    settings = config()
    settings._content = {"normalize": False, "labels": ["km"], "format": choice("json")}
    checkpoint = {
        "args": argparse.Namespace(arch="hubert", seed=1337, log_format=choice("json")),
        "cfg": {"_name": None, "task": settings, "model": {"extractor_mode": "default", "layer_norm_first": False}},
        "model": model | {"mask_emb": torch.zeros(4), "label_embs_concat": torch.zeros(504, 8)},
        "criterion": None,
        "optimizer_history": [{"criterion_name": "HubertCriterion", "best_loss": np.float64(2.5), "num_updates": 4}],
        "task_state": {"dictionaries": [symbols, symbols]},
        "extra_state": {"metrics": {("valid", 1): torch.zeros(1)}, "epochs": {1, 2}},
        "last_optimizer_state": None,
    } | more
    modules: dict[str, types.ModuleType] = {}
    for kind in (dictionary, config, choice):
        parts = kind.__module__.split(".")
        for end in range(1, len(parts) + 1):
            name = ".".join(parts[:end])
            modules.setdefault(name, types.ModuleType(name))
        setattr(modules[kind.__module__], kind.__name__, kind)
    with patch.dict(sys.modules, modules):
        torch.save(checkpoint, path, _use_new_zipfile_serialization=not legacy)


def _class(module: str, name: str) -> Any:
    return type(name, (), {"__module__": module})


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in get_args(Format):
        raise SystemExit(f"FORMAT is one of {', '.join(get_args(Format))}")
    write_random_contentvec(Path(sys.argv[2]), sys.argv[1])  # type: ignore[arg-type]
