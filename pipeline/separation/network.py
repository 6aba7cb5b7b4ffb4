"""`Network`: what every family of separation networks looks like to the inference, once its weights are loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from understudy.pipeline.separation.layout import Layout, aligned

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Network:
    """A network that is ready to run.

    `stems`: names of what it gives, in order, by our names (``vocals``, ``drums``, ...). `rate`: of the
    sound it takes and gives, Hz. `window`: frames that it takes at once. `separate`: float32 ``[batch, 2, window]`` on
    `device` -> float32 ``[batch, stems, 2, window]``, at the gain of its input, sample-aligned with it.

    `step`: frames from one window to the next by default. `fade`: float32 ``[window]``, above zero,
    weight of each frame of a window where windows overlap. `layout`: where the windows of a song lie.
    `normalise`: ``deviation`` gives the network the song minus its mean, divided by its standard deviation (both of the
    mean of the channels over the entire song), and undoes it afterwards. `peak`: gives, for float32
    ``[batch, 2, window]``, a number that grows with its loudness; where there is one, the network gets the song divided
    by the largest such number of its windows, which is undone afterwards.

    `cautions`: warnings about its results for the user, as sentences. `size`: bytes of its weights. `working`: bytes
    that one window takes while it is computed, roughly. `shorter`: the same network with windows of half the length,
    None where they can't be shorter.
    """

    stems: tuple[str, ...]
    rate: int
    window: int
    step: int
    fade: Tensor
    separate: Callable[[Tensor], Tensor]
    device: str = "cpu"
    layout: Layout = aligned
    normalise: Literal["none", "deviation"] = "none"
    peak: Callable[[Tensor], float] | None = None
    cautions: tuple[str, ...] = ()
    size: int = 0
    working: int = 1 << 30
    shorter: Callable[[], Network] | None = field(default=None, repr=False)
