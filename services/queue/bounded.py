"""Work on untrusted files in processes of its own, with bounds on time and memory.

A hostile file may crash its reader, loop for ever or exhaust memory. That happens in a child process, which is killed;
the server sees an error. Address space and CPU seconds of the child are bounded by the kernel (rlimits), wall time by
the parent.

Children come from a fork server: one process that has imported the readers and does nothing else. Forking it takes a
few milliseconds, where a new interpreter with these imports takes seconds; and it has no threads, whose locks would be
copied in whatever state they are in.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from threading import Event, Lock
from typing import Any

from understudy.errors import Cancelled, UnderstudyError

_PRELOAD = [
    "av",
    "understudy.audio.files",
    "understudy.pipeline.cover_graph",
    "understudy.__main__",  # children import the program's main module
    "understudy.services.queue.bounded",
    "understudy.services.queue.untrusted",
    "understudy.voices.library",
]
_context: Any = multiprocessing.get_context("forkserver" if sys.platform != "win32" else "spawn")

Progress = Callable[[float], None]


def prepare() -> None:
    """Start the fork server, so that the first call doesn't wait for its imports."""
    if sys.platform != "win32":
        from multiprocessing import forkserver

        _context.set_forkserver_preload(_PRELOAD)
        forkserver.ensure_running()


def call(
    function: Callable[..., Any],
    *arguments: Any,
    seconds: float,
    memory: int,
    progress: Progress | None = None,
    cancelled: Event | None = None,
) -> Any:
    """Call ``function(progress, *arguments)`` in a process of its own, for at most `seconds` of wall time and with at
    most `memory` bytes more than an empty process. Function, arguments and result must be picklable.

    Raises what the function raises, ``file-too-costly`` when it exceeds the bounds or dies, and `Cancelled`.
    """
    child = _Child(memory, seconds * (os.cpu_count() or 1))
    try:
        return child.call(function, arguments, seconds, progress, cancelled)
    finally:
        child.kill()


def too_costly(why: str) -> UnderstudyError:
    return UnderstudyError(
        "file-too-costly",
        f"The file can't be read safely: {why}.",
        "Save it again as flac or wav with another program, or cut out the part that you need.",
    )


def _outcome(function: Callable[..., Any], progress: Progress, arguments: tuple[Any, ...]) -> tuple[str, Any]:
    try:
        return "value", function(progress, *arguments)
    except UnderstudyError as error:
        return "error", error
    except MemoryError:
        return "error", too_costly("it takes too much memory")
    except Exception as error:
        return "error", too_costly(f"it broke the reader ({type(error).__name__})")


def limit(memory: int, cpu_seconds: float | None = None) -> None:
    """Bound this process for good: `memory` bytes more than it has mapped now, CPU seconds, no core dumps.

    What is mapped now counts, because the libraries that the fork server has loaded are part of the address space."""
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    mapped = _mapped()
    if mapped:
        resource.setrlimit(resource.RLIMIT_AS, (mapped + memory, mapped + memory))
    if cpu_seconds is not None:
        most = int(cpu_seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (most, most + 5))


def _mapped() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux: time is bounded, memory is not
        return 0


class _Child:
    """A process that makes one call after the other. `calls`: how many so far."""

    def __init__(self, memory: int, cpu_seconds: float | None = None) -> None:
        self._pipe, theirs = _context.Pipe()
        self._process = _context.Process(target=_serve, args=(theirs, memory, cpu_seconds), daemon=True)
        self._process.start()
        theirs.close()  # else the end of the child would not close the pipe
        self.calls = 0

    def call(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        seconds: float,
        progress: Progress | None = None,
        cancelled: Event | None = None,
    ) -> Any:
        """Like `call` of this module. After ``file-too-costly`` the process is of no more use."""
        self.calls += 1
        end = time.monotonic() + seconds
        try:
            self._pipe.send((function, arguments))
            while True:
                if self._pipe.poll(0.1):
                    kind, value = self._pipe.recv()
                    if kind == "value":
                        return value
                    if kind == "error":
                        raise value
                    if progress:
                        progress(value)
                if cancelled is not None and cancelled.is_set():
                    raise Cancelled
                if time.monotonic() > end:
                    raise too_costly(f"reading it takes more than {seconds:.0f} s")
        except (EOFError, OSError):
            raise too_costly("it broke the reader") from None

    def kill(self) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.join()


def _serve(pipe: Connection, memory: int, cpu_seconds: float | None) -> None:
    """What a `_Child` runs until its pipe is closed."""
    if hasattr(os, "nice"):
        os.nice(5)  # what answers requests comes first
    limit(memory, cpu_seconds)

    def progress(fraction: float) -> None:
        pipe.send(("progress", fraction))

    while True:
        try:
            function, arguments = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(_outcome(function, progress, arguments))


class Readers:
    """A few such processes that stay, for short work. Each is replaced after a failure, or after `most_calls`, so that
    leaked memory doesn't add up."""

    def __init__(self, count: int, memory: int, most_calls: int = 200) -> None:
        self.count, self._memory, self._most = count, memory, most_calls
        self._free: list[_Child | None] = [None] * count
        self._lock = Lock()

    def call(self, function: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
        """Like `call` of this module. No more than `count` threads may call at a time."""
        with self._lock:
            child = self._free.pop()
        spent = False
        try:
            child = child or _Child(self._memory)
            return child.call(function, arguments, seconds)
        except UnderstudyError as error:
            spent = error.code == "file-too-costly"
            raise
        finally:
            if child is not None and (spent or child.calls >= self._most):
                child.kill()
                child = None
            with self._lock:
                self._free.append(child)

    def close(self) -> None:
        with self._lock:
            for child in filter(None, self._free):
                child.kill()
            self._free = [None] * self.count
