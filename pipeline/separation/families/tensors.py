"""The named tensors of a checkpoint, exactly those that its network has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.errors import UnderstudyError
from understudy.models import safetensors_file, torch_file

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, ...]

LARGEST = 64 << 30
"""Bytes of a file: with the state of its optimiser one may have many times those of its network, none of which is read
into memory."""

_WRAPPERS = ("state_dict", "state", "model_state_dict", "model")
_PREFIXES = ("module.", "model.", "_orig_mod.")  # of what training wrapped the network in


def read_tensors(path: Path, expected: Mapping[str, Shape], unread: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """The tensors named in `expected`, on the CPU and mapped from the file at `path`, in the floating-point dtype in
    which they were stored. Tensors whose names end in one of `unread` may be there or not, and are left out.

    Raises `UnderstudyError`: ``model-invalid`` naming what is missing, too many, misshapen or not finite, and what
    `torch_file.load` and `safetensors_file.load` raise.
    """
    found = stored_tensors(path)
    faults = [f"{name} is missing" for name in expected if name not in found]
    for name, tensor in found.items():
        if name.endswith(unread):
            continue
        if name not in expected:
            faults.append(f"{name} has no place in it")
        elif tuple(tensor.shape) != expected[name]:
            faults.append(f"{name} is {list(tensor.shape)} instead of {list(expected[name])}")
        elif not tensor.is_floating_point():
            faults.append(f"{name} holds {tensor.dtype}")
        elif not tensor.isfinite().all():
            faults.append(f"{name} holds numbers that are not finite")
    if faults:
        more = f", and {len(faults) - 3} more faults" if len(faults) > 3 else ""
        raise invalid(
            path,
            f"its tensors don't fit its configuration: {'; '.join(faults[:3])}{more}",
            "Get it again together with its configuration, from where both were published.",
        )
    return {name: found[name] for name in expected}


def stored_tensors(path: Path) -> dict[str, Tensor]:
    """All named tensors in the file at `path`, unchecked; where a training wrapped the network in a module beside
    others, the network's alone; floats of 8 bits as bfloat16, which holds the same numbers. Raises `UnderstudyError` as
    `read_tensors` does."""
    import torch

    if safetensors_file.is_safetensors(path):
        tree: Any = safetensors_file.load(path, LARGEST)[0]
    else:
        tree = torch_file.load(path, LARGEST, unknown="ignore")
    if not isinstance(tree, Mapping):
        raise invalid(path, "it holds no named tensors")
    found = {
        name: value.bfloat16() if value.is_floating_point() and value.itemsize == 1 else value
        for name, value in unwrapped(tree).items()
        if isinstance(name, str) and isinstance(value, torch.Tensor)
    }
    own = {name: value for name, value in found.items() if name.startswith("model.")}
    return {plain_name(name): value for name, value in (own or found).items()}


def invalid(path: Path, why: str, hint: str = "Get it again from where it was published.") -> UnderstudyError:
    """The error for a file that is no separation model."""
    return UnderstudyError("model-invalid", f"{path} can't be used as a separation model: {why}.", hint)


def unwrapped(tree: Any) -> Mapping[Any, Any]:
    """The state dict in the contents of a checkpoint, where it may lie one level down; empty where there is none."""
    if not isinstance(tree, Mapping):
        return {}
    return next((tree[name] for name in _WRAPPERS if isinstance(tree.get(name), Mapping)), tree)


def plain_name(name: str) -> str:
    """A tensor's name without what training wrapped the network in."""
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name
