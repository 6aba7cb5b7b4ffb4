"""A Demucs network with the weights of its file, as a module of the package demucs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from understudy.pipeline.separation.families.demucs.arguments import network_class
from understudy.pipeline.separation.families.demucs.checkpoint import Checkpoint, invalid

if TYPE_CHECKING:
    from torch import Tensor, nn


def construct(checkpoint: Checkpoint) -> nn.Module:
    """The network on the CPU in float32, ready to run and nothing else. It is laid out without memory first, so that
    what a file claims costs nothing before its weights prove it.

    Raises `UnderstudyError` ``model-invalid`` where the weights don't fit the arguments or aren't finite.
    """
    import torch
    from torch import nn

    try:
        with torch.device("meta"):
            network = network_class(checkpoint.kind)(**checkpoint.arguments)
    except (AssertionError, RuntimeError, ValueError, TypeError, ZeroDivisionError) as error:
        raise invalid(checkpoint.path, f"no network can be made with its arguments ({_first_line(error)})") from error
    state = {name: value.detach().to(torch.float32, copy=True) for name, value in checkpoint.state.items()}
    if checkpoint.kind == "Demucs":
        state = _renumbered(state)
    try:
        nn.Module.load_state_dict(network, state, assign=True)  # Demucs has one of its own, which can't assign
    except RuntimeError as error:
        raise invalid(checkpoint.path, f"its weights don't fit its arguments ({_first_line(error)})") from error
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise invalid(checkpoint.path, "some of its weights are no numbers")
    return network.eval().requires_grad_(False)


def _renumbered(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Networks of the generation before had one layer less before the gate of each block."""
    names = {}
    for name in state:
        older = re.fullmatch(r"((?:en|de)coder\.\d+)\.2\.(weight|bias)", name)
        newer = f"{older[1]}.3.{older[2]}" if older else name
        names[name] = name if newer in state else newer
    return {names[name]: value for name, value in state.items()}


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:200] or type(error).__name__
