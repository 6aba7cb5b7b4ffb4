"""The threads that a run computes with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from understudy.voices.training.ranks import Ranks
from understudy.voices.training.run_folder import Run


@contextmanager
def as_many_threads(run: Run, device: str, ranks: Ranks) -> Iterator[None]:
    """Has torch compute with the threads that the run began with: the last bits of a sum depend on their number."""
    import torch

    before = torch.get_num_threads()
    if run.threads is not None and not device.startswith("cuda"):
        torch.set_num_threads(max(1, run.threads // ranks.world))
    try:
        yield
    finally:
        torch.set_num_threads(before)
