"""A worker: one process that claims one job after the other and does them.

Beside the job runs a heartbeat: it renews the lease, stores progress and learns of cancellation. A worker that is asked
to stop puts its job back; the job of a killed worker goes to the next one when its lease has expired.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Event, Thread
from typing import TypeVar

from filelock import FileLock, Timeout

from understudy.disk import explained, is_full
from understudy.environment import choose_device
from understudy.errors import Cancelled, UnderstudyError
from understudy.services.queue import bounded, housekeeping, jobs, logs, work
from understudy.services.queue.database import Database
from understudy.services.queue.jobs import Claimed
from understudy.services.queue.progress import Progress, models_run
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.storage import Storage
from understudy.services.queue.tables import new_id

Answer = TypeVar("Answer")
log = logging.getLogger("understudy.worker")

IDLE = 0.3  # seconds between looks into an empty queue
HEARTBEAT = 0.4
SWEEP = 300.0
PASSING = ("disk-full", "out-of-memory", "database-unavailable", "storage-unavailable", "internal-error")
"""What may be better soon: such jobs are tried again."""


class Worker:
    def __init__(self, settings: ServerSettings, name: str | None = None, parent: int | None = None) -> None:
        """`parent`: the process that this one ends with."""
        bounded.prepare()
        self.name = name or f"{socket.gethostname()[:40]}-{os.getpid()}-{new_id('w', 6)[2:]}"
        self.settings = settings
        self.stopping = Event()
        self._parent = parent
        self._device = choose_device(settings.device)
        self._database = Database(settings.database_url)
        self._storage = Storage(settings.storage, settings.storage_options, settings.data)
        self._scratch = settings.data / "scratch" / self.name
        self._scratch.mkdir(parents=True)
        importlib.import_module("understudy.jobs")  # before the first job waits for it
        self._lock = FileLock(settings.data / "scratch" / f"{self.name}.lock")
        self._lock.acquire()
        _remove_leftovers(settings)

    def run(self) -> None:
        """Until `stopping` is set."""
        log.info("worker ready", extra={"worker": self.name, "device": self._device})
        pause, looked = IDLE, -SWEEP
        try:
            while not self._is_over():
                try:
                    if time.monotonic() - looked > SWEEP:
                        housekeeping.sweep_machine(self._database, self._storage, self.settings)
                        looked = time.monotonic()
                    job = jobs.claim(self._database, self.name, self.settings)
                    pause = IDLE
                except UnderstudyError as error:
                    log.warning("waiting: %s", error)
                    job, pause = None, min(5.0, pause * 2)
                if job is None:
                    self.stopping.wait(pause)
                else:
                    with logs.about(job.id):
                        self._do(job)
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._lock.release()
            with suppress(OSError):
                os.unlink(self._lock.lock_file)
            self._database.close()

    def _is_over(self) -> bool:
        return self.stopping.is_set() or (self._parent is not None and os.getppid() != self._parent)

    def _do(self, job: Claimed) -> None:
        begun = time.monotonic()
        log.info("started", extra={"kind": job.kind, "attempt": job.attempts, "owner": job.owner})
        progress = Progress(job.kind, models_run(job.request))
        heartbeat = _Heartbeat(self, job, progress, self._database)
        try:
            with work.scratch(self._scratch / "job") as folder:
                context = work.JobContext(
                    self._database,
                    self._storage,
                    self.settings,
                    self._device,
                    folder,
                    heartbeat.cancelled,
                    progress.update,
                )
                made = work.do(job, context)
            heartbeat.stop()
            end = partial(jobs.finish, self._database, job, self.settings, made.result, made.size, made.stages)
            if self._insist(end) is False:
                kind, id = ("voices", str(job.voice)) if job.kind == "voice" else ("jobs", job.id)
                self._insist(lambda: housekeeping.remove_if_gone(self._database, self._storage, job.owner, kind, id))
            log.info("done", extra={"seconds": round(time.monotonic() - begun, 2)})
        except Cancelled:
            heartbeat.stop()
            if heartbeat.verdict == "cancelled":
                self._insist(lambda: jobs.confirm_cancelled(self._database, job, self.settings))
            elif heartbeat.verdict == "stopping":
                self._insist(lambda: jobs.release(self._database, job))
            log.info("given up", extra={"because": heartbeat.verdict})
        except Exception as error:
            heartbeat.stop()
            problem = self._explained(error)
            again = min(300.0, 5.0 * 2**job.failures) if problem.code in PASSING else 0.0
            over = self._insist(lambda: jobs.fail(self._database, job, self.settings, problem, again))
            if over == "over" and job.kind == "voice":
                self._insist(lambda: self._storage.remove(f"{job.request['path']}-sent"))
            log.warning("failed: %s", problem.message, extra={"code": problem.code}, exc_info=problem.code in PASSING)

    def _explained(self, error: Exception) -> UnderstudyError:
        """The error in words for the job's owner: no folders of this machine, no tracebacks."""
        if isinstance(error, OSError) and is_full(error):
            error = explained(self._scratch, error)
        if not isinstance(error, UnderstudyError):
            return UnderstudyError(
                "internal-error",
                "Something unexpected went wrong in the server.",
                "It was tried several times. Tell the server's operator, with the id of this job.",
            )
        texts = []
        for text in (error.message, error.hint):
            text = re.sub(re.escape(f"{self._scratch}/job/in/") + "[^/]+/", "", text)
            texts.append(text.replace(str(self.settings.data.resolve()), "…").replace(str(self.settings.data), "…"))
        return UnderstudyError(error.code, *texts)

    def _insist(self, write: Callable[[], Answer]) -> Answer | None:
        """What `write` answers, even if the database is away for a while; None when the worker has to stop first."""
        pause = 0.5
        while True:
            try:
                return write()
            except UnderstudyError as error:
                if self._is_over():
                    return None
                log.warning("can't write the job's end yet: %s", error)
                self.stopping.wait(pause)
                pause = min(10.0, pause * 2)


class _Heartbeat:
    """The thread beside a job. `cancelled` is what the job's stages look at; `verdict` says why it was set."""

    def __init__(self, worker: Worker, job: Claimed, progress: Progress, database: Database) -> None:
        self.cancelled = Event()
        self.verdict = "held"
        self._worker, self._job, self._progress, self._database = worker, job, progress, database
        self._over = Event()
        self._thread = Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """After the last progress is written down."""
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        renewed, every = time.monotonic(), min(2.0, self._worker.settings.lease / 4)
        while not self._over.wait(HEARTBEAT):
            if self._worker._is_over() and self.verdict == "held":
                self.verdict = "stopping"
                self.cancelled.set()
            with suppress(UnderstudyError):  # the database is away: the next beat tries again
                self._tell()
                if time.monotonic() - renewed >= every:
                    verdict = jobs.renew(self._database, self._job, self._worker.settings)
                    renewed = time.monotonic()
                    if verdict != "held" and self.verdict == "held":
                        self.verdict = verdict
                        self.cancelled.set()
        with suppress(UnderstudyError):
            self._tell()

    def _tell(self) -> None:
        notes, stage, fraction = self._progress.take()
        if notes:
            jobs.record(self._database, self._job, notes, stage, fraction)


def _remove_leftovers(settings: ServerSettings) -> None:
    """Free the disk of what killed workers left: a scratch folder whose lock nobody holds."""
    for lock in (settings.data / "scratch").glob("*.lock"):
        with suppress(Timeout, OSError), FileLock(lock, timeout=0):
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)
