"""`Ranks`: the processes that train together, one per GPU, and what they tell each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from os import environ
from typing import Any

import torch
from torch import Tensor

PATIENCE = timedelta(hours=3)  # the others wait that long while the first one evaluates


@dataclass(frozen=True)
class Ranks:
    """This process is number `rank` of `world`. `control`: a group for flags, on the CPU; None where it is alone."""

    rank: int = 0
    world: int = 1
    control: Any = None

    @property
    def first(self) -> bool:
        """Whether this process evaluates and writes files."""
        return self.rank == 0

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """For each flag, whether any process has set it."""
        if self.world == 1:
            return list(flags)
        found = torch.tensor([float(flag) for flag in flags])
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX, self.control)
        return [bool(value) for value in found]

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.any([False])

    def average(self, gradients: list[Tensor]) -> None:
        """Replace each of `gradients` by its mean over all processes, which have as many of the same shapes."""
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])  # one message in place of hundreds
        torch.distributed.all_reduce(flat)
        flat /= self.world
        for gradient, part in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """The processes that ``torchrun`` started with this one; alone where it didn't."""
    world = int(environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks()
        return
    torch.distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=PATIENCE)
    try:
        control = torch.distributed.new_group(backend="gloo", timeout=PATIENCE)
        yield Ranks(int(environ["RANK"]), world, control)
    finally:
        torch.distributed.destroy_process_group()
