"""Reads the files of the zero-shot engine's networks: untrusted checkpoints into networks of the expected shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from understudy.errors import UnderstudyError
from understudy.models import safetensors_file, torch_file
from understudy.models.safetensors_file import is_safetensors

N = TypeVar("N", bound=nn.Module)

Tensors = dict[str, Tensor]


def read_tensors(path: Path, *inside: str) -> Tensors:
    """The tensors in the file at `path` by their names, joined by points where a dictionary holds another. `inside`:
    the keys under which the checkpoints of this network have their tensors, as far as a file has them. Weight norm
    (Salimans and Kingma, 2016) is folded. Raises what `torch_file.load` and `safetensors_file.load` raise."""
    tree: object = safetensors_file.load(path)[0] if is_safetensors(path) else torch_file.load(path, unknown="ignore")
    for key in inside:
        if isinstance(tree, dict) and isinstance(tree.get(key), dict):
            tree = tree[key]
    found: Tensors = {}
    _collect(tree, "", found)
    for name in [name for name in found if name.endswith(("weight_g", "parametrizations.weight.original0"))]:
        stem = name.removesuffix("weight_g").removesuffix("parametrizations.weight.original0")
        other = f"{stem}{'weight_v' if name.endswith('weight_g') else 'parametrizations.weight.original1'}"
        length, direction = found.pop(name).float(), found.pop(other, torch.zeros(0)).float()
        norm = torch.linalg.vector_norm(direction, dim=tuple(range(1, direction.ndim)), keepdim=True)
        found[f"{stem}weight"] = direction * (length / norm)
    return found


def _collect(tree: object, prefix: str, found: Tensors) -> None:
    if isinstance(tree, Tensor):
        found[prefix] = tree
    elif isinstance(tree, dict):
        for name, value in tree.items():
            if isinstance(name, str):
                _collect(value, f"{prefix}.{name}" if prefix else name, found)


def fitted(path: Path, build: Callable[[], N], tensors: Mapping[str, Tensor], what: str) -> N:
    """The network that `build` makes with these weights in float32, ready to compute.

    `path`, `what`: the file that they are from and what it is to be, for errors. Tensors that the network doesn't use
    are left out, as the public programs do: checkpoints carry those of training. Raises `UnderstudyError`
    ``model-unsuitable`` where one is missing, of another shape or not finite.
    """
    with torch.device("meta"):  # allocates nothing
        network = build()
    expected = network.state_dict()
    missing = [name for name in expected if name not in tensors]
    if missing:
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        raise unsuitable(path, what, f"it lacks the tensor {missing[0]}{more}")
    for name, tensor in expected.items():
        if tensors[name].shape != tensor.shape:
            shapes = f"{list(tensors[name].shape)}, not {list(tensor.shape)}"
            raise unsuitable(path, what, f"its tensor {name} has the shape {shapes}")
    weights = {name: tensors[name].to(torch.float32, copy=True).contiguous() for name in expected}
    for name, tensor in weights.items():
        if not bool(tensor.sum().isfinite()):
            raise unsuitable(path, what, f"its tensor {name} has values that aren't numbers")
    network.load_state_dict(weights, assign=True)
    return network.eval().requires_grad_(False)


def unsuitable(path: Path, what: str, why: str) -> UnderstudyError:
    return UnderstudyError(
        "model-unsuitable",
        f"{path.name} is not {what}: {why}.",
        "docs/models.md lists the files of the zero-shot engine and where each is published.",
    )
