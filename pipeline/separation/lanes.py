"""Lanes: threads that compute independent parts in parallel, each on one core.

torch splits every operation across all cores and waits for the slowest. With many short operations, and other programs
on the same cores, most of the time is waiting (a factor of eight was measured). With one independent part per core
nothing waits before the end. Each part is computed by one thread whatever the number of lanes, so the result doesn't
depend on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")

_made: dict[int, ThreadPoolExecutor] = {}
_making = Lock()
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_made.clear)  # threads stay with the parent


def in_lanes(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """``[function(item) for item in items]``, as many at a time as torch has threads, in inference mode. An exception
    is raised after all lanes have finished: they may write into memory that the caller owns."""

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
    """A pool of `count` threads in each of which torch uses one. torch's number of threads is set per thread, but a new
    thread takes it from the last setting anywhere; so every thread sets it to 1 (the barrier makes sure that each of
    them does), and the caller's is restored."""
    with _making:
        if count not in _made:
            lanes = ThreadPoolExecutor(count, thread_name_prefix="lane")
            started = Barrier(count)

            def stay_alone() -> None:
                torch.set_num_threads(1)  # of this thread, and of threads that begin from now on
                torch.get_num_threads()  # initialises this thread, so that a later setting elsewhere leaves it alone
                started.wait()

            for lane in [lanes.submit(stay_alone) for _ in range(count)]:
                lane.result()
            torch.set_num_threads(count)
            _made[count] = lanes
        return _made[count]
