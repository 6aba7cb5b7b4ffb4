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
    "understudy.pipeline.cover",
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
    ours, theirs = _context.Pipe()
    process = _context.Process(target=_serve_one, args=(theirs, function, arguments, seconds, memory), daemon=True)
    process.start()
    theirs.close()  # else the end of the child would not close the pipe
    end = time.monotonic() + seconds
    try:
        while True:
            if ours.poll(0.1):
                try:
                    kind, value = ours.recv()
                except (EOFError, OSError):
                    raise too_costly("it broke the reader") from None
                if kind == "progress":
                    if progress:
                        progress(value)
                elif kind == "error":
                    raise value
                else:
                    return value
            if cancelled is not None and cancelled.is_set():
                raise Cancelled
            if time.monotonic() > end:
                raise too_costly(f"reading it takes more than {seconds:.0f} s")
    finally:
        ours.close()
        if process.is_alive():
            process.kill()
        process.join()


def too_costly(why: str) -> UnderstudyError:
    return UnderstudyError(
        "file-too-costly",
        f"The file can't be read safely: {why}.",
        "Save it again as flac or wav with another program, or cut out the part that you need.",
    )


def _serve_one(
    pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...], seconds: float, memory: int
) -> None:
    limit(memory, seconds * (os.cpu_count() or 1))

    def progress(fraction: float) -> None:
        pipe.send(("progress", fraction))

    pipe.send(_outcome(function, progress, arguments))


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


class Readers:
    """A few such processes that stay, for short work. Each is replaced after a failure, or after `most_calls`, so that
    leaked memory doesn't add up."""

    def __init__(self, count: int, memory: int, most_calls: int = 200) -> None:
        self._memory, self._most = memory, most_calls
        self._free: list[_Reader | None] = [None] * count
        self._lock = Lock()

    @property
    def count(self) -> int:
        return len(self._free)

    def call(self, function: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
        """Like `call` of this module. No more than `count` threads may call at a time."""
        with self._lock:
            reader = self._free.pop()
        try:
            if reader is None:
                reader = _Reader(self._memory)
            try:
                kind, value = reader.ask(function, arguments, seconds)
            except (EOFError, OSError, TimeoutError) as error:
                reader.kill()
                reader = None
                took = f"reading it takes more than {seconds:.0f} s"
                raise too_costly(took if isinstance(error, TimeoutError) else "it broke the reader") from None
            if (kind == "error" and value.code == "file-too-costly") or reader.calls >= self._most:
                reader.kill()
                reader = None
        finally:
            with self._lock:
                self._free.append(reader)
        if kind == "error":
            raise value
        return value

    def close(self) -> None:
        with self._lock:
            for reader in self._free:
                if reader is not None:
                    reader.kill()
            self._free = [None] * len(self._free)


class _Reader:
    def __init__(self, memory: int) -> None:
        self._pipe, other = _context.Pipe()
        self._process = _context.Process(target=_serve_many, args=(other, memory), daemon=True)
        self._process.start()
        other.close()
        self.calls = 0

    def ask(self, function: Callable[..., Any], arguments: tuple[Any, ...], seconds: float) -> tuple[str, Any]:
        self.calls += 1
        self._pipe.send((function, arguments))
        if not self._pipe.poll(seconds):
            raise TimeoutError
        kind, value = self._pipe.recv()
        return str(kind), value

    def kill(self) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.join()


def _serve_many(pipe: Connection, memory: int) -> None:
    limit(memory)
    while True:
        try:
            function, arguments = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(_outcome(function, lambda fraction: None, arguments))
