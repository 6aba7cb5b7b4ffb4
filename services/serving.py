"""The server process with its workers beside it, and the worker process."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from socket import IPPROTO_TCP, TCP_NODELAY
from threading import Event, Thread
from types import FrameType

import segno
import uvicorn
from fastapi import FastAPI

from understudy.environment import gpus
from understudy.errors import UnderstudyError
from understudy.services import connections
from understudy.services.api.app import make_app
from understudy.services.api.middleware import behind_proxies
from understudy.services.queue import claims, jobs
from understudy.services.queue.database import Database, open_when_up
from understudy.services.queue.settings import PREFIX, ServerSettings
from understudy.services.queue.tables import new_id
from understudy.services.tls import own_address, self_signed

log = logging.getLogger("understudy.server")

GRACE = 15  # seconds for requests and workers to end
LOOK = 1.0  # seconds between looks for a training that waits


def serve(settings: ServerSettings, migrate: bool = False) -> None:
    """Serve until a signal arrives; then take no new requests, and stop the workers, which put their jobs back. With
    `migrate`, first bring the tables of the database to this version."""
    database = open_when_up(settings.database_url, migrate)
    app = make_app(settings)
    sys.setswitchinterval(0.001)  # the event loop waits for threads that parse uploads no longer than that, each time
    pool = WorkerPool(settings, database)
    certificate, key = self_signed(settings.data / "tls") if settings.tls else (None, None)
    config = uvicorn.Config(
        behind_proxies(app, settings.proxies) if settings.proxies else app,
        settings.host,
        settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # `behind_proxies` does that
        timeout_graceful_shutdown=GRACE,
        timeout_keep_alive=30,
        http=connections.bounded(settings.connections),
        ws="none",
        ssl_certfile=certificate,
        ssl_keyfile=key,
        h11_max_incomplete_event_size=connections.LONGEST,
    )
    try:
        socket = config.bind_socket()
        socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)  # asyncio does so only for sockets that it made itself
    except SystemExit:
        raise UnderstudyError(
            "address-in-use",
            f"{settings.host}:{settings.port} can't be bound: another program may use it.",
            "Choose another port with --port, or end the other program.",
        ) from None
    host, port = socket.getsockname()[:2]
    scheme, shown = "https" if settings.tls else "http", own_address() if host in ("0.0.0.0", "::") else host
    url = f"{scheme}://{f'[{shown}]' if ':' in shown else shown}:{port}{settings.root_path}"
    log.info("serving", extra={"url": url})
    if settings.tls and sys.stderr.isatty():
        segno.make(url).terminal(out=sys.stderr, compact=True)
    pool.start()
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn raises them once more when it is done, to end the process
        signal.signal(number, lambda number, frame: None)
    try:
        _Server(config, app).run(sockets=[socket])
    finally:
        pool.stop()
        database.close()


class _Server(uvicorn.Server):
    """Tells the requests when a signal has arrived: uvicorn would wait for slow uploads until the end of their grace,
    and then break them off without an answer."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.started:
            self._app.state.services.stop()
        super().handle_exit(sig, frame)


def work(settings: ServerSettings, name: str | None, parent: int | None, training: bool = False) -> None:
    """Run one worker until a signal arrives; with `training` one for trainings alone. Where a cluster does the work,
    it runs several jobs at a time, each in a thread."""
    from understudy.services.queue.worker import Worker

    if hasattr(os, "nice"):
        os.nice(19 if training else settings.niceness)  # on a CPU, covers come first
    if settings.executor == "ray" and not training:
        from understudy.pipeline.ray_executor import connect

        connect(settings.address or None)  # before the handlers below: Ray sets one for SIGTERM, too
    first = Worker(settings, name, parent, training)
    at_once = settings.jobs_at_once if settings.executor == "ray" and not training else 1
    workers = [first, *(Worker(settings, f"{first.name}-{number}", parent) for number in range(2, at_once + 1))]

    def stop(number: int, frame: FrameType | None) -> None:
        for worker in workers:
            worker.stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    threads = [Thread(target=worker.run, name=worker.name) for worker in workers[1:]]
    for thread in threads:
        thread.start()
    first.run()
    stop(0, None)
    for thread in threads:
        thread.join()


def training_devices(settings: ServerSettings) -> list[str]:
    """The device of each training that may run on this machine at a time."""
    devices = [f"cuda:{number}" for number in range(gpus())] if settings.device == "auto" else [settings.device]
    devices = devices or ["cpu"]
    most = len(devices) if settings.trainings is None else settings.trainings
    return [devices[slot % len(devices)] for slot in range(most)]


class WorkerPool:
    """The worker processes of this server: started, replaced when one dies, stopped at the end. Those for trainings are
    started when a training waits, and end by themselves when none does: an idle one would hold memory of the GPU."""

    def __init__(self, settings: ServerSettings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._stopping = Event()
        self._thread = Thread(target=self._watch, name="pool", daemon=True)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, float] = {}
        self._slots: dict[str, int] = {}  # of the workers for trainings

    def start(self) -> None:
        if self._settings.workers or self._settings.trainings:
            self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        for process in self._processes.values():
            process.terminate()
        end = time.monotonic() + GRACE
        for process in self._processes.values():
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _watch(self) -> None:
        pause, looked = 0.2, 0.0
        while not self._stopping.is_set():
            for name, process in list(self._processes.items()):
                if process.poll() is not None:
                    del self._processes[name]
                    if self._slots.pop(name, None) is not None and process.returncode == 0:
                        continue  # there was no training left
                    log.warning("a worker died", extra={"worker": name, "code": process.returncode})
                    try:
                        jobs.abandon(self._database, name)
                    except UnderstudyError as error:
                        log.warning("its jobs wait for their leases: %s", error)
                    # a worker that may be unable to run here: wait longer each time
                    if time.monotonic() - self._started[name] < 5:
                        pause = min(10.0, pause * 2)
            while len(self._processes) - len(self._slots) < self._settings.workers and not self._stopping.is_set():
                self._start(new_id("worker", 8))
            if time.monotonic() - looked > LOOK:
                looked = time.monotonic()
                self._start_trainer()
            if self._stopping.wait(pause):
                break
            pause = max(0.2, pause * 0.98)

    def _start_trainer(self) -> None:
        """Start a worker for trainings if one waits that this machine has room for."""
        try:
            if not claims.waits(self._database, self._settings, training=True):
                return
        except UnderstudyError:
            return  # the database is unreachable: next time
        for slot, device in enumerate(training_devices(self._settings)):
            if slot not in self._slots.values():
                name = new_id("trainer", 8)
                self._slots[name] = slot
                return self._start(name, "--training", device=device)

    def _start(self, name: str, *options: str, device: str | None = None) -> None:
        settings = self._settings.model_copy(update={"device": device} if device else {})
        environment = dict(os.environ)
        environment.pop(f"{PREFIX}CONFIG", None)
        for field, value in settings.model_dump(mode="json").items():
            environment.pop(PREFIX + field.upper(), None)
            if value not in ("", [], {}):
                environment[PREFIX + field.upper()] = value if isinstance(value, str) else json.dumps(value)
        command = [sys.executable, "-m", "understudy", "worker", "--name", name, "--parent", str(os.getpid()), *options]
        # In a session of its own: Ctrl-C then reaches the server only, which stops its workers in order.
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)
        self._processes[name], self._started[name] = process, time.monotonic()
