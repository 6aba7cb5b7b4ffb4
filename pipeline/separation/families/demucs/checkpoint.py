"""The contents of a Demucs checkpoint: class, constructor arguments and weights.

Three forms exist: ``.th``, which `torch.save` wrote with the class itself in it (Défossez, demucs/states.py; here only
its name is read); safetensors, whose metadata name the class and give the arguments as JSON (demucs/hf.py); and weights
alone with a YAML of MSST (R. Solovyev, Music-Source-Separation-Training), which trains HTDemucs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from understudy.errors import UnderstudyError
from understudy.models import safetensors_file, torch_file
from understudy.pipeline.separation import configuration
from understudy.pipeline.separation.families.checked_config import section
from understudy.pipeline.separation.families.demucs.arguments import Kind, checked, refuse_others
from understudy.pipeline.separation.families.tensors import stored_tensors

_OF_TRAINING = {
    "sources": "instruments",
    "samplerate": "samplerate",
    "audio_channels": "channels",
    "segment": "segment",
}
"""Arguments that MSST's configurations have in their section of the training, under these names."""

_LARGEST = 2 << 30  # bytes; the largest published ones have 0.3 GB


@dataclass(frozen=True)
class Checkpoint:
    """`arguments` are within bounds, `state` holds plain float tensors on the CPU, mapped from the file."""

    path: Path
    kind: Kind
    arguments: Mapping[str, Any]
    state: Mapping[str, Tensor]

    @property
    def sources(self) -> tuple[str, ...]:
        """The stems as the file names them."""
        return tuple(self.arguments["sources"])


def read_checkpoint(path: Path, yaml: Path | None = None) -> Checkpoint:
    """The network in the file at `path`. `yaml`: its configuration, where the file holds weights alone.

    Raises `UnderstudyError`: ``model-invalid`` for what isn't a Demucs network or has arguments beyond all sense,
    ``model-quantised`` for one that needs a decoder of its weights; what `torch_file.load` and
    `safetensors_file.load` raise.
    """
    if yaml is not None:
        return _configured(path, yaml)
    klass, positional, named, state = _safetensors(path) if safetensors_file.is_safetensors(path) else _pickled(path)
    kind = next((kind for kind in get_args(Kind) if klass.endswith(f".{kind}")), None)
    if kind is None or not klass.startswith("demucs."):
        raise invalid(path, f"it names the class {klass[:60]!r}, which is no network of Demucs")
    if isinstance(positional, list | tuple) and positional:
        named = {"sources": positional[0], **named}
    state = {name: value for name, value in state.items() if _is_weight(value)}
    if not state:
        raise invalid(path, "it has no weights")
    try:
        arguments = checked(kind, named)
    except ValueError as error:
        raise invalid(path, str(error)) from error
    return Checkpoint(path, kind, arguments, state)


def _configured(path: Path, yaml: Path) -> Checkpoint:
    """The HTDemucs whose weights are at `path` and whose settings MSST's configuration has."""
    found = configuration.read_configuration(yaml)
    training, named = section(found, "training"), section(found, "htdemucs")
    try:
        refuse_others("HTDemucs", named)
        given = {name: training[value] for name, value in _OF_TRAINING.items() if value in training}
        arguments = checked("HTDemucs", {**named, **given})
    except ValueError as error:
        raise configuration.invalid(yaml, str(error)) from error
    return Checkpoint(path, "HTDemucs", arguments, {n: v for n, v in stored_tensors(path).items() if _is_weight(v)})


def invalid(path: Path, why: str) -> UnderstudyError:
    """The error for a file that is no working Demucs network."""
    return UnderstudyError(
        "model-invalid",
        f"{path} can't be used as a Demucs model: {why}.",
        "Get the file again from where it was first published; it must be a checkpoint of Demucs v3 or v4.",
    )


def _pickled(path: Path) -> tuple[str, Any, Mapping[str, Any], Mapping[str, Any]]:
    tree = torch_file.load(path, _LARGEST, unknown="ignore")
    if not isinstance(tree, dict) or not isinstance(tree.get("klass"), torch_file.Name):
        raise invalid(path, "it doesn't name its network (its class is missing)")
    named, state = tree.get("kwargs"), tree.get("state")
    if not isinstance(named, dict) or not isinstance(state, dict):
        raise invalid(path, "its arguments or its weights are missing")
    if state.get("__quantized"):
        raise _quantised(path)
    return tree["klass"].text.replace(" ", "."), tree.get("args"), named, state


def _safetensors(path: Path) -> tuple[str, Any, Mapping[str, Any], Mapping[str, Any]]:
    tensors, metadata = safetensors_file.load(path, _LARGEST)
    if not {"klass", "args", "kwargs"} <= set(metadata):
        raise invalid(path, "it doesn't name its network (its metadata lack the class or its arguments)")
    if "structure" in metadata:
        raise _quantised(path)
    try:
        positional, named = (json.loads(metadata[key], object_hook=_fractions) for key in ("args", "kwargs"))
    except (ValueError, RecursionError) as error:
        raise invalid(path, "its arguments are no JSON") from error
    if not isinstance(named, dict):
        raise invalid(path, "its arguments are no dictionary")
    return metadata["klass"], positional, named, tensors


def _fractions(value: dict[str, Any]) -> Any:
    if value.get("_type") != "fraction":
        return value
    above, below = value.get("numerator"), value.get("denominator")
    if not isinstance(above, int) or not isinstance(below, int) or not below:
        raise ValueError("a fraction without numbers")
    return Fraction(above, below)


def _is_weight(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _quantised(path: Path) -> UnderstudyError:
    return UnderstudyError(
        "model-quantised",
        f"{path} holds quantised weights, which only the package diffq can read (its licence forbids commercial use).",
        "Take the version of this model that isn't quantised: its name has no '_q' (mdx for mdx_q, mdx_extra for "
        "mdx_extra_q), or htdemucs.",
    )
