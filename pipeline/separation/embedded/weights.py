"""The network's weights as a file: safetensors in half precision, with the network's shape beside them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.errors import UnderstudyError
from understudy.models import safetensors_file
from understudy.pipeline.separation.embedded.network import Shape, build

if TYPE_CHECKING:
    from torch import nn

LARGEST = 64 << 20
"""Bytes."""


def write(network: nn.Module, shape: Shape, path: Path) -> None:
    """The network at `path`, which appears at once; the same network gives the same bytes."""
    import torch
    from safetensors.torch import save_file

    tensors = {
        name: value.to(torch.float16).contiguous() if value.is_floating_point() else value.contiguous()
        for name, value in sorted(network.state_dict().items())
    }
    part = path.with_suffix(".part")
    save_file(tensors, part, {"shape": json.dumps(asdict(shape), sort_keys=True)})
    part.replace(path)


def read(path: Path) -> nn.Module:
    """The network at `path`, float32 on the CPU, ready to run. Raises `UnderstudyError`: ``model-damaged``,
    ``model-too-large``, and ``model-invalid`` where the file holds something else."""
    tensors, facts = safetensors_file.load(path, LARGEST)
    try:
        shape = json.loads(facts["shape"])
        network = build(Shape(tuple(map(int, shape["widths"])), int(shape["memory"]), int(shape["spread"])))
        wanted = network.state_dict()
        network.load_state_dict({name: value.to(wanted[name].dtype) for name, value in tensors.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UnderstudyError(
            "model-invalid",
            f"{path} holds no network of the embedded separator ({type(error).__name__}).",
            "Give a file that 'understudy train-separator' wrote.",
        ) from error
    return network.eval()
