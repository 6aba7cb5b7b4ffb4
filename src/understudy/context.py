"""`Context`: how long-running work reports progress and warnings, and learns that it was cancelled."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event

from understudy.errors import Cancelled


def _ignore(fraction: float) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Context:
    """The first argument of every stage, and all that a stage knows of its surroundings.

    `folder`: an existing folder for the files that the work makes; they become the artifact's.
    `device`: a torch device string, ``cpu`` or ``cuda:0``. `workers`: threads that the work may use.
    `on_progress` is called with 0..1. `cancelled`: the work stops when this event is set. `warnings` collects sentences
    for the user, in order.
    """

    folder: Path
    device: str = "cpu"
    workers: int = 1
    on_progress: Callable[[float], None] = _ignore
    cancelled: Event = field(default_factory=Event)
    warnings: list[str] = field(default_factory=list)

    def progress(self, fraction: float) -> None:
        """Report that `fraction` (0..1) is done. Raises `Cancelled` when the work is to stop: call it often."""
        if self.cancelled.is_set():
            raise Cancelled
        self.on_progress(min(1.0, max(0.0, fraction)))

    def warn(self, sentence: str) -> None:
        """Add a sentence to the warnings, once. Warnings are stored with the artifact and shown in the report."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)

    def part(self, start: float, stop: float) -> Context:
        """The same context for a sub-task whose progress 0..1 is `start`..`stop` of the whole."""
        return replace(self, on_progress=lambda fraction: self.on_progress(start + (stop - start) * fraction))


@contextmanager
def scratch_context(
    on_progress: Callable[[float], None] | None = None, cancel: Event | None = None
) -> Iterator[Context]:
    """A context with an empty folder that is removed afterwards; `cancel`: an event that stops the work."""
    with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
        yield Context(Path(folder), on_progress=on_progress or _ignore, cancelled=cancel or Event())
