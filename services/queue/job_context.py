"""What a running job has at hand, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

from understudy.jobs import Runner
from understudy.pipeline.executor import LocalExecutor, StageEvent, StageRun
from understudy.pipeline.store import Store
from understudy.services.queue import bounded
from understudy.services.queue.database import Database
from understudy.services.queue.jobs import Claimed
from understudy.services.queue.progress import Progress
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.storage import Storage

TYPES = {
    ".flac": "audio/flac",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".opus": "audio/ogg",
    ".mp4": "video/mp4",
    ".c2pa": "application/c2pa",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
}


@dataclass(frozen=True)
class JobContext:
    """What a job runs with. `scratch`: an empty folder of its own; `progress` gets the events of its stages. `enough`:
    a training ends with the best that it has."""

    database: Database
    storage: Storage
    settings: ServerSettings
    device: str
    scratch: Path
    cancelled: Event
    progress: Progress
    enough: Event = field(default_factory=Event)

    def notify(self, event: StageEvent) -> None:
        self.progress.update(event)

    def cache(self, job: Claimed) -> Path:
        """The artifacts of the job's owner. Owners share none: the time that a song takes would reveal
        whether another owner has it."""
        return self.settings.data / "cache" / f"{job.owner}-{job.generation}"

    def training(self, job: Claimed) -> Path:
        """What the trainings of the job's voice keep on this machine: artifacts and the folders of their runs."""
        return self.settings.data / "trainings" / f"{job.owner}-{job.generation}" / str(job.voice)

    def runner(self, job: Claimed) -> Runner:
        folder = self.training(job) if job.kind == "training" else self.cache(job)
        return Runner(LocalExecutor(Store(folder), self.device), self.notify, self.cancelled)

    def read(self, stage: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of `untrusted` in a bounded process, as the stage `stage` of the job."""
        self.notify(StageEvent(stage, "started", 0.0, 0.0, "cpu"))
        return bounded.call(
            function,
            *arguments,
            seconds=self.settings.decode_seconds,
            memory=self.settings.decode_memory,
            progress=lambda fraction: self.notify(StageEvent(stage, "progress", fraction, 0.0, "cpu")),
            cancelled=self.cancelled,
        )


@dataclass(frozen=True)
class JobResult:
    """What a job made: `result` for its owner (``files`` by name: path in the storage, bytes, type, file name), the
    `size` in bytes of its files, and its stages."""

    result: dict[str, Any]
    size: int
    stages: tuple[StageRun, ...] = ()
