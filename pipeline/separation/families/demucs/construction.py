"""A Demucs network with the weights of its file, ready to run: the package's module, or our own forward pass of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from understudy.models.precision import Precision
from understudy.pipeline.separation.families.demucs.arguments import network_class
from understudy.pipeline.separation.families.demucs.checkpoint import Checkpoint, invalid
from understudy.pipeline.separation.families.demucs.hybrid import hybrid


@dataclass(frozen=True)
class Run:
    """`separate`: ``[batch, 2, frames]`` and numbers of stems -> those stems, ``[batch, wanted, 2, frames]``.
    `bytes_per_frame`: memory that it takes meanwhile, roughly."""

    separate: Callable[[Tensor, tuple[int, ...]], Tensor]
    bytes_per_frame: int


def prepared(checkpoint: Checkpoint, device: str, precision: Precision) -> Run:
    """The network of a file, ready to run on `device`: those with a transformer in `precision`, older ones in float32.
    Raises what `construct` raises."""
    network = construct(checkpoint).to(device)
    if checkpoint.kind == "HTDemucs":
        computed = hybrid(network, getattr(torch, precision))
        if computed is not None:
            return Run(computed, 1500)
    return Run(lambda windows, wanted: _whole(network, windows, wanted), 2200)


def _whole(network: nn.Module, windows: Tensor, wanted: tuple[int, ...]) -> Tensor:
    found: Tensor = network(windows)
    return found[:, list(wanted)]


def construct(checkpoint: Checkpoint) -> nn.Module:
    """The package's network on the CPU in float32, for inference. It is built on the meta device first, so that sizes
    which a file claims cost no memory until its weights have been found to have them.

    Raises `UnderstudyError` ``model-invalid`` where the weights don't fit the arguments or aren't finite.
    """
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
        raise invalid(checkpoint.path, "some of its weights are not finite")
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
