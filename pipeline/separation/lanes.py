"""Lanes: threads that compute beside each other, each on one core.

torch spreads every operation over all cores and waits for the slowest. Where operations are short and many, and other
programs want the cores, too, it mostly waits (eight times as long was seen); work that falls into independent parts is
done in the time that its operations take when every part stays on one core. What comes out doesn't depend on the number
of lanes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_made: dict[int, ThreadPoolExecutor] = {}
_making = Lock()
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_made.clear)  # threads stay with the parent


def in_lanes(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """``function`` of every item, in their order; as many at a time as torch has threads. It runs in inference mode.
    What it raises is raised here, once no lane works any more."""
    import torch

    def inferred(item: T) -> R:
        with torch.inference_mode():
            return function(item)

    count = torch.get_num_threads()
    if count == 1:
        return [inferred(item) for item in items]
    futures = [_lanes(count).submit(inferred, item) for item in items]
    for future in futures:
        future.exception()  # waits
    return [future.result() for future in futures]


def _lanes(count: int) -> ThreadPoolExecutor:
    import torch

    with _making:
        if count not in _made:
            lanes = ThreadPoolExecutor(count, thread_name_prefix="lane")
            started = Barrier(count)

            def stay_alone() -> None:
                torch.set_num_threads(1)  # of this thread, and of threads that begin from now on
                torch.get_num_threads()  # makes it last
                started.wait()

            for lane in [lanes.submit(stay_alone) for _ in range(count)]:
                lane.result()
            torch.set_num_threads(count)
            _made[count] = lanes
        return _made[count]
