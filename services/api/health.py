"""``/healthz``, ``/readyz`` and ``/metrics``."""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Lock
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel
from sqlalchemy import Row, func, select

from understudy.errors import UnderstudyError
from understudy.services.api.problems import ApiError, documented
from understudy.services.api.state import App
from understudy.services.queue.database import Database
from understudy.services.queue.jobs import PRIORITIES, TRAINING
from understudy.services.queue.tables import counters, deliveries, jobs

router = APIRouter(tags=["health"])
FRESH = 5.0
"""Seconds for which the metrics of the database are kept."""


class Health(BaseModel):
    status: str


@router.get("/healthz")
async def healthz() -> Health:
    """The process lives."""
    return Health(status="ok")


@router.get("/readyz", response_model=Health, responses={503: {"model": Health, "description": "Not now"}})
def readyz(app: App) -> JSONResponse:
    """It can take requests: the database answers, and it isn't about to stop."""
    try:
        with app.database.read() as connection:
            connection.execute(select(1))
    except UnderstudyError as error:
        return JSONResponse({"status": error.code}, 503)
    if app.stopping.is_set():
        return JSONResponse({"status": "stopping"}, 503)
    return JSONResponse({"status": "ok"})


@router.get("/metrics", response_class=PlainTextResponse, responses=documented())
def metrics(request: Request, app: App) -> Response:
    """Figures for Prometheus; those of the jobs are the same on every server of a database. The operator may have set a
    token that they need."""
    wanted, given = app.settings.metrics_token, request.headers.get("authorization", "")
    if wanted and not hmac.compare_digest(given.encode(), f"Bearer {wanted}".encode()):
        raise ApiError("key-missing", "The metrics need the server's own token.", "Ask the server's operator.")
    return Response(generate_latest(request.app.state.metrics.registry), media_type="text/plain; version=0.0.4")


class Metrics:
    """The metrics of this process, and those that are stored in the database."""

    def __init__(self, database: Database) -> None:
        self.registry = CollectorRegistry()
        names = ("method", "route", "status")
        self.requests = Counter("understudy_requests", "Answered requests.", names, registry=self.registry)
        buckets = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 10, 60)
        self.seconds = Histogram(
            "understudy_request_seconds", "Until the answer began.", ("route",), buckets=buckets, registry=self.registry
        )
        self.registry.register(DatabaseMetrics(database))


class DatabaseMetrics(Collector):
    """Figures of the database, which is asked once in `FRESH` seconds, however often they are wanted."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database, self._clock = database, clock
        self._lock = Lock()
        self._found: list[Metric] = []
        self._until = -math.inf

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            if self._clock() >= self._until:
                self._found = list(self._asked())
                self._until = self._clock() + FRESH
            return self._found

    def _asked(self) -> Iterator[Metric]:
        with self._database.read() as connection:
            now = self._database.now(connection)
            depth = list(
                connection.execute(
                    select(jobs.c.state, jobs.c.priority, func.count())
                    .where(jobs.c.state.in_(("queued", "running")))
                    .group_by(jobs.c.state, jobs.c.priority)
                )
            )
            waits = select(func.min(jobs.c.created)).where(jobs.c.state == "queued")
            firsts = [connection.scalar(waits.where(jobs.c.priority == priority)) for priority in PRIORITIES.values()]
            oldest = min(filter(None, firsts), default=None)  # a training may wait for days, and isn't among them
            waiting = connection.scalar(select(func.count()).where(deliveries.c.state == "waiting"))
            rows = list(connection.execute(select(counters)))
        queue = GaugeMetricFamily("understudy_jobs", "Jobs waiting and running.", labels=("state", "priority"))
        names = {priority: name for name, priority in PRIORITIES.items()} | {TRAINING: "training"}
        for state, priority, count in depth:
            queue.add_metric((state, names[priority]), count)
        yield queue
        yield GaugeMetricFamily("understudy_queue_age_seconds", "Of the oldest waiting job.", now - (oldest or now))
        yield GaugeMetricFamily("understudy_webhooks_waiting", "Webhooks to deliver.", waiting or 0)
        yield from _counters(rows)


_COUNTERS = (  # name in the table, column, metric, its help and labels
    ("stage", "number", "understudy_stages", "Stages that ran.", ("stage",)),
    ("stage-cached", "number", "understudy_cache_hits", "Stages found made.", ("stage",)),
    ("job", "number", "understudy_jobs_ended", "Jobs by how they ended.", ("kind", "state")),
    ("failure", "number", "understudy_failures", "Failed jobs by code.", ("code",)),
    ("stage", "seconds", "understudy_stage_seconds", "Wall time of stages.", ("stage",)),
    ("job", "seconds", "understudy_job_seconds", "From start to end.", ("kind", "state")),
)


def _counters(rows: Sequence[Row[Any]]) -> Iterator[Metric]:
    for name, column, metric, help, labels in _COUNTERS:
        family = CounterMetricFamily(metric, help, labels=labels)
        for row in rows:
            if row.name == name:
                family.add_metric(row.label.split(" ", len(labels) - 1), getattr(row, column))
        yield family
