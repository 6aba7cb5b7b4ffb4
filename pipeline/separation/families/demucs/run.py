"""How one network of Demucs is run on windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from understudy.models.precision import Precision
from understudy.pipeline.separation.families.demucs.checkpoint import Checkpoint
from understudy.pipeline.separation.families.demucs.construction import construct
from understudy.pipeline.separation.families.demucs.hybrid import hybrid

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Run:
    """`separate`: ``[batch, 2, frames]`` and the numbers of the stems that are wanted -> ``[batch, wanted, 2,
    frames]``. `bytes_per_frame`: that it takes while it does so, roughly."""

    separate: Callable[[Tensor, tuple[int, ...]], Tensor]
    bytes_per_frame: int


def prepared(checkpoint: Checkpoint, device: str, precision: Precision) -> Run:
    """The network of a file, ready to run on `device`: those with a transformer in `precision`, older ones in float32.
    Raises what `construct` raises."""
    import torch

    network = construct(checkpoint).to(device)
    if checkpoint.kind == "HTDemucs":
        computed = hybrid(network, getattr(torch, precision))
        if computed is not None:
            return Run(computed, 1500)
    return Run(lambda windows, wanted: _whole(network, windows, wanted), 2200)


def _whole(network: nn.Module, windows: Tensor, wanted: tuple[int, ...]) -> Tensor:
    found: Tensor = network(windows)
    return found[:, list(wanted)]
