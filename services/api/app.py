"""The application: its routes, middleware, and the threads that run beside the requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from understudy import __version__
from understudy.errors import UnderstudyError
from understudy.services.api import account, covers, health, problems, songs, trainings, verification, voices
from understudy.services.api.auth import is_loopback
from understudy.services.api.events import Hub
from understudy.services.api.job_requests import CoverRequest, SeparationRequest
from understudy.services.api.problems import ApiError
from understudy.services.api.state import AppState
from understudy.services.api.training_requests import TrainingRequest
from understudy.services.queue import bounded, housekeeping, owners, webhooks
from understudy.services.queue.bounded import Readers
from understudy.services.queue.database import Database
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.storage import Storage
from understudy.services.web.page import add_page

READERS = 4
READER_MEMORY = 1 << 30
SWEEP = 300.0

_METHODS = ("GET", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "PUT")


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
        with housekeeping.process_folder(settings.data / "incoming", uuid4().hex) as folder:
            readers = Readers(READERS, READER_MEMORY)
            app.state.services = AppState(settings, database, storage, readers, folder, needs_keys)
            app.state.hub = Hub(database)
            stopping = Event()
            webhooks.Deliveries(database, settings).run(stopping)
            Thread(target=_sweep, args=(database, storage, settings, stopping), name="sweep", daemon=True).start()
            event_task = asyncio.create_task(app.state.hub.run())
            try:
                yield
            finally:
                app.state.services.stopping = True
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
        voices.router,
        trainings.training,
        trainings.router,
        covers.covers,
        covers.separations,
        account.router,
        verification.router,
        health.router,
    ):
        app.include_router(router)
    add_page(app)
    app.add_middleware(HostGuard, settings=settings, keys=needs_keys)
    app.add_middleware(RequestMetrics, metrics=app.state.metrics)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


class HostGuard:
    """Refuses requests that a foreign web page sends through its visitor's browser.

    A browser lets any page send requests to 127.0.0.1, where the server may be open. Two checks stop that: the ``Host``
    must be a name of this server (a foreign name could be bound to its address: DNS rebinding), and the ``Origin``, if
    there is one, must be this server or a host of the setting ``hosts``."""

    def __init__(self, app: ASGIApp, settings: ServerSettings, keys: bool) -> None:
        self._app, self._hosts, self._keys = app, {host.casefold() for host in settings.hosts}, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = None
        # load balancers call /healthz and /readyz by the server's address
        if scope["type"] == "http" and scope["path"] not in ("/healthz", "/readyz"):
            headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
            refused = self._refused(headers.get(b"host", ""), headers.get(b"origin"))
        answer = self._app if refused is None else problems.problem(refused)
        await answer(scope, receive, send)

    def _refused(self, host: str, origin: str | None) -> UnderstudyError | None:
        name = _hostname(f"//{host}")
        known = name in self._hosts or (is_loopback(name) if not self._keys else not self._hosts)
        if not known:
            text = f"The host {host[:80]!r} isn't a name of this server."
            return ApiError("host-refused", text, "Name it in the setting 'hosts'.")
        if origin is not None and urlsplit(origin).netloc != host and _hostname(origin) not in self._hosts:
            text = f"Web pages of {origin[:80]!r} may not use this server."
            return ApiError("origin-refused", text, "Name its host in the setting 'hosts'.")
        return None


def _hostname(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").casefold()
    except ValueError:
        return ""


class RequestMetrics:
    """Counts requests and the time until their answer began."""

    def __init__(self, app: ASGIApp, metrics: health.Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "other")
                self._metrics.seconds.labels(route).observe(time.perf_counter() - started)
                method = scope["method"] if scope["method"] in _METHODS else "other"
                self._metrics.requests.labels(method, route, message["status"]).inc()
            await send(message)

        await self._app(scope, receive, counted)


def _sweep(database: Database, storage: Storage, settings: ServerSettings, stopping: Event) -> None:
    for round in count():
        with suppress(UnderstudyError):  # the database or the storage is unreachable: next time
            housekeeping.sweep(database, storage, settings)
            if round % 12 == 0:
                housekeeping.sweep_orphans(database, storage, 86400)
        if stopping.wait(SWEEP):
            return


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The document, with the schemas of problems and of the bodies that routes read themselves."""
    if app.openapi_schema is None:
        schema = FastAPI.openapi(app)
        schemas = schema["components"]["schemas"]
        for model in (problems.Problem, CoverRequest, SeparationRequest, TrainingRequest):
            made = model.model_json_schema(ref_template="#/components/schemas/{model}")
            for name, inner in made.pop("$defs", {}).items():
                schemas.setdefault(name, inner)
            schemas[model.__name__] = made
        problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        for path in schema["paths"].values():
            for operation in path.values():
                if "422" in operation["responses"]:
                    operation["responses"]["422"] = {"description": "Something in it is wrong", "content": problem}
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
    return FastAPI.openapi(app)
