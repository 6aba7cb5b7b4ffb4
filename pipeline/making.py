"""Making one artifact: what every executor does with a stage, on whatever machine and in whatever process it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from threading import Event
from typing import Any, Literal, Protocol

from understudy.context import Context
from understudy.disk import explained, is_full
from understudy.errors import Cancelled, UnderstudyError
from understudy.memory import return_freed_memory
from understudy.pipeline.graph import Stage
from understudy.pipeline.store import Artifact, Record, Store

State = Literal["cached", "started", "progress", "finished", "delayed"]


class Report(Protocol):
    def __call__(self, state: State, fraction: float, seconds: float, device: str, why: str = "") -> None:
        """Hear how far the work got: `fraction` is 0..1, `seconds` the wall time so far, `why` a sentence that says
        what a ``delayed`` stage waits for or why it is run again. An exception stops it."""


def make(
    store: Store,
    key: str,
    voices: tuple[str, ...],
    name: str,
    stage: Stage[Any],
    arguments: Callable[[], Mapping[str, Any]],
    device: str,
    workers: int,
    report: Report,
    cancelled: Event,
) -> tuple[Record, bool]:
    """Run `stage` for the node `name` into `store` under `key`. Returns how the artifact was made, and whether it was
    there already, because somebody else had made it meanwhile. `voices`: those that it comes from. `arguments` is
    called only if it wasn't there.

    Raises what the stage raises; `UnderstudyError` ``disk-full``, ``out-of-memory``; `Cancelled`.
    """
    with store.making(key, cancelled) as folder:
        if store.has(key):  # another run, or another node that does the same, was first
            found = store.record(key)
            report("cached", 1.0, 0.0, found.device)
            return found, True
        if cancelled.is_set():  # it waited for its turn until then
            raise Cancelled
        begun = time.monotonic()

        def progress(fraction: float) -> None:
            report("progress", fraction, time.monotonic() - begun, device)

        context = Context(folder, device, workers, progress, cancelled)
        report("started", 0.0, 0.0, device)
        context.progress(0.0)
        try:
            given = arguments()
            try:
                value = stage(context, given)
            except RuntimeError as error:
                if device == "cpu" or type(error).__name__ != "OutOfMemoryError":
                    raise
                device = "cpu"
                context.warn(f"{name}: the GPU ran out of memory, so this stage ran on the CPU.")
                value = stage(replace(context, device=device), given)
            seconds = time.monotonic() - begun
            sealed = store.seal(key, Artifact(stage.name, device, seconds, tuple(context.warnings), voices, value))
        except OSError as error:
            if not is_full(error):
                raise
            raise explained(store.root, error) from error
        except MemoryError as error:
            raise UnderstudyError(
                "out-of-memory",
                f"The stage {name!r} ran out of memory.",
                "Close other programs, or cover the song in parts with --start and --duration.",
            ) from error
        del given, value
        return_freed_memory()
        report("finished", 1.0, time.monotonic() - begun, device)
        return sealed, False
