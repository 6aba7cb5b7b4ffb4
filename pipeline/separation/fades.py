"""How much each frame of a window counts where windows overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

OVERLAP = 0.25
"""Share of a window that the next one sees, too. A network knows least at its window's edges, where it lacks what came
before or comes next; the more of a window overlaps, the more is computed twice."""


def edges_faded(window: int, overlap: float = OVERLAP) -> Tensor:
    """Float32 ``[window]``: one in the middle, and over `overlap` at either end a squared sine that comes from (almost)
    nothing, so that where another window begins or ends nothing jumps. Above zero everywhere."""
    import torch

    count = max(1, min(window // 2, round(window * overlap)))
    rise = torch.sin((torch.arange(count, dtype=torch.float64) + 0.5) * (torch.pi / 2 / count)) ** 2
    fade = torch.ones(window)
    fade[:count] = rise
    fade[window - count :] = rise.flip(0)
    return fade
