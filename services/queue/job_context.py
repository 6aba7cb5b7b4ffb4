"""What a running job has at hand, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

from understudy.jobs import Runner
from understudy.pipeline.executor import Executor, LocalExecutor, StageEvent, StageRun
from understudy.pipeline.shared_store import SharedStore, StoreAddress
from understudy.pipeline.store import Store
from understudy.services.queue import bounded
from understudy.services.queue.database import Database
from understudy.services.queue.jobs import Claimed
from understudy.services.queue.progress import Progress
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.storage import Storage

if TYPE_CHECKING:
    from understudy.pipeline.ray_executor import RayExecutor

TYPES = {
    ".flac": "audio/flac",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".opus": "audio/ogg",
    ".mp4": "video/mp4",
    ".mid": "audio/midi",
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

    def store(self, job: Claimed) -> Store:
        """Where the artifacts of the job are. What trainings keep stays on this machine."""
        if job.kind == "training":
            return Store(self.training(job))
        address = artifacts(self.settings, f"{job.owner}-{job.generation}")
        return Store(self.cache(job)) if address is None else SharedStore(address, self.cache(job))

    def runner(self, job: Claimed) -> Runner:
        store = self.store(job)
        executor: Executor = LocalExecutor(store, self.device)
        if self.settings.executor == "ray" and isinstance(store, SharedStore):
            executor = _cluster(store, self.settings)
        return Runner(executor, self.notify, self.cancelled)

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


def artifacts(settings: ServerSettings, owner: str) -> StoreAddress | None:
    """The artifacts that all machines share, None where each has its own."""
    url = settings.store or (str(settings.data.resolve() / "artifacts") if settings.executor == "ray" else "")
    return StoreAddress(url, settings.store_options, owner) if url else None


_executor: list[RayExecutor] = []
_connecting = Lock()


def _cluster(store: SharedStore, settings: ServerSettings) -> Executor:
    """What runs stages on the cluster, to which this process connects once."""
    from understudy.pipeline.ray_executor import RayExecutor

    with _connecting:
        if not _executor:
            _executor.append(RayExecutor(store, settings.address or None, settings.device, settings.gpu_share))
    return _executor[0].on(store)
