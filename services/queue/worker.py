"""A worker: one process that claims one job after the other and runs them.

Beside the job runs a heartbeat: it renews the lease, stores progress and learns of cancellation. A worker that is asked
to stop puts its job back; the job of a killed worker goes to the next one when its lease has expired. A worker runs
either trainings or all other jobs.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import time
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import TypeVar

from understudy.disk import explained, is_full
from understudy.environment import choose_device
from understudy.errors import Cancelled, UnderstudyError
from understudy.services.queue import bounded, claims, housekeeping, jobs, logs
from understudy.services.queue.database import Database, open_when_up
from understudy.services.queue.job_context import JobContext
from understudy.services.queue.jobs import Claimed
from understudy.services.queue.progress import Progress, models_run
from understudy.services.queue.run_job import run_job
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.storage import Storage
from understudy.services.queue.tables import new_id

Answer = TypeVar("Answer")
log = logging.getLogger("understudy.worker")

IDLE = 0.3  # seconds between polls of an empty queue
HEARTBEAT = 0.4  # seconds between beats beside a job
SWEEP = 300.0  # seconds between cleanups of this machine
TRAINING_IDLE = 30.0  # seconds without a training after which a worker for them ends, if a server started it
COUNTED = 30.0  # seconds after which the time of a training is counted again
TRANSIENT = (
    "disk-full",
    "out-of-memory",
    "database-unavailable",
    "storage-unavailable",
    "internal-error",
    "gpu-lost",
    "cluster-unreachable",
    "cluster-empty",
    "cluster-unstable",
    "training-running",  # by a worker that lost it and ends in a moment
)
"""Codes of errors that may pass: such jobs are tried again."""


class Worker:
    def __init__(
        self, settings: ServerSettings, name: str | None = None, parent: int | None = None, training: bool = False
    ) -> None:
        """`parent`: the worker stops when this process is no longer its parent. `training`: it runs trainings alone."""
        if name is not None and not (name.isprintable() and 1 <= len(name) <= 70):
            raise UnderstudyError("option-invalid", "A worker's name has 1 to 70 characters.", "Use --name gpu-0.")
        bounded.prepare()
        self.name = name or f"{socket.gethostname()[:40]}-{os.getpid()}-{new_id('w', 6)[2:]}"
        self.settings = settings
        self.stopping = Event()
        self._parent = parent
        self._training = training
        self._device = choose_device(settings.device)
        self._database = open_when_up(settings.database_url)
        self._storage = Storage(settings.storage, settings.storage_options, settings.data)

    def run(self) -> None:
        """Run jobs until `stopping` is set."""
        log.info("worker ready", extra={"worker": self.name, "device": self._device})
        pause, swept, worked = IDLE, -SWEEP, time.monotonic()
        folder = housekeeping.process_folder(self.settings.data / "scratch")
        with closing(self._database), folder as self._scratch:
            while not self._is_over():
                try:
                    if time.monotonic() - swept > SWEEP:
                        housekeeping.sweep_machine(self._database, self._storage, self.settings)
                        swept = time.monotonic()
                    job = claims.claim(self._database, self.name, self.settings, self._training)
                    pause = IDLE
                except UnderstudyError as error:
                    log.warning("waiting: %s", error)
                    job, pause = None, min(5.0, pause * 2)
                if job is None:
                    if self._training and self._parent is not None and time.monotonic() - worked > TRAINING_IDLE:
                        return  # the server starts another one when there is a training
                    self.stopping.wait(pause)
                else:
                    with logs.about(job.id):
                        self._run(job)
                    worked = time.monotonic()

    def _is_over(self) -> bool:
        return self.stopping.is_set() or (self._parent is not None and os.getppid() != self._parent)

    def _run(self, job: Claimed) -> None:
        started = time.monotonic()
        log.info("started", extra={"kind": job.kind, "attempt": job.attempts, "owner": job.owner})
        progress = Progress(job.kind, models_run(job.request), job.result)
        heartbeat = _Heartbeat(self, job, progress, self._database)
        try:
            with TemporaryDirectory(dir=self._scratch, ignore_cleanup_errors=True) as folder:
                context = JobContext(
                    self._database,
                    self._storage,
                    self.settings,
                    self._device,
                    Path(folder),
                    heartbeat.cancelled,
                    progress,
                    heartbeat.enough,
                )
                made = run_job(job, context)
            heartbeat.stop()
            end = partial(jobs.finish, self._database, job, self.settings, made.result, made.size, made.stages)
            if heartbeat.enough.is_set():  # a cancelled training that has kept the best of what it had
                values = {"result": made.result, "bytes": made.size}
                end = partial(jobs.confirm_cancelled, self._database, job, self.settings, **values)
            if self._persist(end) is False:  # its owner deleted it meanwhile, or the lease was lost
                kind, id = ("voices", str(job.voice)) if job.kind == "voice" else ("jobs", job.id)
                self._persist(lambda: housekeeping.remove_if_gone(self._database, self._storage, job.owner, kind, id))
            log.info("done", extra={"seconds": round(time.monotonic() - started, 2)})
        except Cancelled:
            heartbeat.stop()
            if heartbeat.reason == "cancelled":
                self._persist(lambda: jobs.confirm_cancelled(self._database, job, self.settings))
            elif heartbeat.reason == "paused":
                self._persist(lambda: jobs.confirm_paused(self._database, job))
            elif heartbeat.reason == "stopping":
                self._persist(lambda: jobs.release(self._database, job))
            elif heartbeat.reason == "used up":
                self._persist(lambda: jobs.put_off(self._database, job, jobs.USED_UP, _USED_UP))
            elif job.kind == "training":  # lost: what it stored since its voice was deleted
                self._persist(lambda: housekeeping.remove_samples(self._database, self._storage, job))
            if job.kind == "cover":
                self._persist(lambda: housekeeping.remove_previews(self._database, self._storage, job))
            log.info("given up", extra={"because": heartbeat.reason})
        except Exception as error:
            heartbeat.stop()
            problem = self._explained(error)
            again = min(jobs.RETRY, 5.0 * 2**job.failures) if problem.code in TRANSIENT else 0.0
            over = self._persist(lambda: jobs.fail(self._database, job, self.settings, problem, again))
            if over == "over" and job.kind == "cover":
                self._persist(lambda: housekeeping.remove_previews(self._database, self._storage, job))
            if over == "over" and job.kind == "voice":
                self._persist(lambda: self._storage.remove(f"{job.request['path']}-sent"))
            if problem.code == "gpu-lost":  # this process can't use it any more
                self.stopping.set()
            log.warning("failed: %s", problem.message, extra={"code": problem.code}, exc_info=problem.code in TRANSIENT)

    def _explained(self, error: Exception) -> UnderstudyError:
        """The error for the job's owner, without folders of this machine and without a traceback."""
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
            text = re.sub(re.escape(f"{self._scratch}/") + "[^/]+/in/[^/]+/", "", text)
            texts.append(text.replace(str(self.settings.data.resolve()), "…").replace(str(self.settings.data), "…"))
        return UnderstudyError(error.code, *texts)

    def _persist(self, write: Callable[[], Answer]) -> Answer | None:
        """Call `write` until the database is reachable; returns its answer, or None if the worker has to stop first.

        If it has to stop, nothing is lost: the job's lease expires and the next worker finds all stages cached."""
        pause = 0.5
        while True:
            try:
                return write()
            except UnderstudyError as error:
                if self._is_over():
                    return None
                log.warning("the end of the job can't be stored yet: %s", error)
                self.stopping.wait(pause)
                pause = min(10.0, pause * 2)


class _Heartbeat:
    """The thread beside a job: it stores progress, renews the lease, and learns of cancellation.

    The job's stages poll `cancelled`. `reason` says why it is set: ``cancelled`` or ``paused`` by the owner, ``lost``
    (the lease expired and the job belongs to another worker, or its row is gone), ``used up`` (the owner's minutes of
    training), or ``stopping`` (this worker is to end). A cancelled training that has a checkpoint gets `enough`
    instead: it ends with the best one."""

    def __init__(self, worker: Worker, job: Claimed, progress: Progress, database: Database) -> None:
        self.cancelled, self.enough = Event(), Event()
        self.reason = "held"
        self._worker, self._job, self._progress, self._database = worker, job, progress, database
        self._over = Event()
        self._thread = Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread. The last progress is stored before this returns."""
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        # four renewals in the time of one lease: a slow database or a busy machine may miss some
        renewed, every = time.monotonic(), min(2.0, self._worker.settings.lease / 4)
        counted = time.monotonic()
        while not self._over.wait(HEARTBEAT):
            if self._worker._is_over() and not self.cancelled.is_set():
                self._give_up("stopping")
            with suppress(UnderstudyError):  # the database is unreachable: the next beat tries again
                self._record()
                if time.monotonic() - renewed >= every:
                    reason = jobs.renew(self._database, self._job, self._worker.settings)
                    renewed = time.monotonic()
                    if reason == "lost" or (reason != "held" and self.reason == "held"):
                        self._give_up(reason)
                if self._job.kind == "training" and time.monotonic() - counted >= COUNTED:
                    counted = self._count(counted)
        with suppress(UnderstudyError):
            self._record()
            if self._job.kind == "training":
                self._count(counted)

    def _give_up(self, reason: str) -> None:
        self.reason = reason
        if reason == "cancelled" and self._progress.best is not None:
            self.enough.set()
        else:
            self.cancelled.set()

    def _record(self) -> None:
        notes, stage, fraction = self._progress.take()
        if notes:
            jobs.record(self._database, self._job, notes, stage, fraction, **self._progress.so_far())

    def _count(self, since: float) -> float:
        """Count the minutes since then as training of the job's owner; returns the time now."""
        now = time.monotonic()
        within = jobs.count_training(self._database, self._job, (now - since) / 60, self._worker.settings)
        if not within and self.reason == "held":
            self._give_up("used up")
        return now


_USED_UP = UnderstudyError(
    "minutes-used-up",
    "The minutes of training that its owner has within a day are used up.",
    "It goes on by itself as soon as there are minutes again.",
)
