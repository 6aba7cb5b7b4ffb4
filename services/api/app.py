"""The application: its routes, its middleware, and the threads that run beside the requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from threading import Event, Thread
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from understudy import __version__
from understudy.errors import UnderstudyError
from understudy.services.api import (
    account,
    answers,
    audit,
    batches,
    bodies,
    consents,
    covers,
    health,
    jobs,
    keys,
    models,
    openapi,
    problems,
    recordings,
    resumable,
    songs,
    trainings,
    verification,
    voices,
    webhooks,
)
from understudy.services.api import owners as owner_routes
from understudy.services.api.auth import is_loopback
from understudy.services.api.batches import BatchRequest
from understudy.services.api.events import Hub
from understudy.services.api.job_requests import CoverRequest, SeparationRequest
from understudy.services.api.middleware import AnswerHeaders, HeadRequests, HostGuard, RequestMetrics
from understudy.services.api.root_path import RootPath
from understudy.services.api.songs import SongSource
from understudy.services.api.state import AppState
from understudy.services.api.training_requests import TrainingRequest
from understudy.services.queue import bounded, deletion, housekeeping, owners, removals
from understudy.services.queue.audit import prune
from understudy.services.queue.bounded import Readers
from understudy.services.queue.database import Database
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.storage import Storage
from understudy.services.queue.webhooks import Deliveries
from understudy.services.web.page import add_page

READERS = 4
READER_MEMORY = 1 << 30
SWEEP = 300.0

CORS: dict[str, Any] = {  # what pages of the setting `origins` may send and read
    "allow_methods": ("GET", "HEAD", "POST", "PATCH", "DELETE"),
    "allow_headers": (
        "Authorization",
        "Idempotency-Key",
        "If-None-Match",
        "If-Range",
        "Last-Event-ID",
        "Prefer",
        "Range",
        "Tus-Resumable",
        "Upload-Checksum",
        "Upload-Length",
        "Upload-Metadata",
        "Upload-Offset",
    ),
    "expose_headers": (
        "Content-Disposition",
        "Content-Range",
        "ETag",
        "Idempotent-Replayed",
        "Location",
        "Preference-Applied",
        "RateLimit",
        "RateLimit-Policy",
        "Retry-After",
        "Tus-Extension",
        "Tus-Max-Size",
        "Tus-Resumable",
        "Tus-Version",
        "Upload-Expires",
        "Upload-Length",
        "Upload-Offset",
    ),
    "max_age": 3600,
}


def make_app(settings: ServerSettings) -> FastAPI:
    """The API over the database and the storage of `settings`; raises `UnderstudyError` if it may not be opened."""
    bounded.prepare()
    database = Database(settings.database_url)
    needs_keys = settings.keys or not is_loopback(settings.host)
    if needs_keys and not owners.has_keys(database):
        raise UnderstudyError(
            "keys-needed",
            f"There is no API key, and without keys everybody who reaches {settings.host} could use this server.",
            "Make one: understudy keys create --owner NAME. On 127.0.0.1 it runs without keys.",
        )
    storage = Storage(settings.storage, settings.storage_options, settings.data)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with housekeeping.process_folder(settings.data / "incoming") as folder:
            readers = Readers(READERS, READER_MEMORY)
            app.state.services = AppState(settings, database, storage, readers, folder, needs_keys)
            app.state.hub = Hub(database)
            stopping = Event()
            Deliveries(database, settings).run(stopping)
            Thread(target=deletion.run, args=(database, stopping), name="deletion", daemon=True).start()
            Thread(target=removals.run, args=(database, storage, stopping), name="removals", daemon=True).start()
            Thread(target=_sweep, args=(database, storage, settings, stopping), name="sweep", daemon=True).start()
            event_task = asyncio.create_task(app.state.hub.run())
            try:
                yield
            finally:
                app.state.services.stopping.set()
                app.state.services.fetches.stop()
                stopping.set()
                event_task.cancel()
                app.state.hub.close()
                readers.close()
                database.close()

    app = FastAPI(
        title="Understudy",
        version=__version__,
        summary="Covers of finished songs, sung by a cloned voice.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own pages load scripts of others; the page has the reference
        redoc_url=None,
        separate_input_output_schemas=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.metrics = health.Metrics(database)
    problems.install(app)
    for router in (
        songs.router,
        resumable.router,
        voices.router,
        recordings.router,
        consents.router,
        trainings.training,
        trainings.router,
        jobs.router,
        covers.covers,
        covers.separations,
        models.router,
        batches.router,
        account.router,
        keys.router,
        owner_routes.router,
        webhooks.router,
        audit.router,
        verification.router,
        health.router,
    ):
        app.include_router(router)
    app.webhooks.post("job-ended", status_code=204, operation_id="job_ended")(job_ended)
    add_page(app)
    # the last one is the outermost
    app.add_middleware(bodies.Bounds)
    app.add_middleware(audit.Auditing)
    app.add_middleware(AnswerHeaders)
    if settings.origins:
        app.add_middleware(CORSMiddleware, allow_origins=settings.origins, **CORS)
    app.add_middleware(HostGuard, settings=settings, keys=needs_keys)
    app.add_middleware(HeadRequests)
    app.add_middleware(RequestMetrics, metrics=app.state.metrics)
    app.add_middleware(RootPath, root=settings.root_path)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _sweep(database: Database, storage: Storage, settings: ServerSettings, stopping: Event) -> None:
    for round in count():
        with suppress(UnderstudyError, OSError):  # the database, the storage or the disk is away: next time
            housekeeping.sweep(database, settings)
            housekeeping.sweep_uploads(database, settings)
            if round % 12 == 0:
                housekeeping.sweep_orphans(database, storage, 86400)
                prune(database, settings)
        if stopping.wait(SWEEP):
            return


def job_ended(message: answers.JobEnded) -> None:
    """A job has ended whose request has a `webhook`. Signed as Standard Webhooks says, and sent again until the answer
    is 2xx."""


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        made = openapi.completed(
            FastAPI.openapi(app), (BatchRequest, CoverRequest, SeparationRequest, SongSource, TrainingRequest)
        )
        app.openapi_schema = made
    return FastAPI.openapi(app)
