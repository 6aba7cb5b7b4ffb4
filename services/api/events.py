"""Server-sent events of jobs. One look into the database serves all streams of this process."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Header, Request
from fastapi.responses import Response
from sqlalchemy import and_, or_, select
from sse_starlette import EventSourceResponse, ServerSentEvent

from understudy.errors import UnderstudyError
from understudy.services.api.problems import ApiError
from understudy.services.api.state import AppState
from understudy.services.queue.database import Database
from understudy.services.queue.jobs import ACTIVE
from understudy.services.queue.owners import Owner
from understudy.services.queue.tables import events, jobs, keys

log = logging.getLogger("understudy.api")
LOOK = 0.25  # seconds between looks into the database
LastEventId = Annotated[str | None, Header(alias="Last-Event-ID", max_length=20, description="go on after this event")]


STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "Events until the end", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
    204: {"description": "It has ended, and nothing came after that event"},
}


@dataclass(eq=False)
class _Listener:
    job: str
    after: int
    key: str | None
    queue: asyncio.Queue[tuple[int, str, dict[str, Any]] | None] = field(default_factory=asyncio.Queue)


class Hub:
    """Who listens to which job; `run` looks into the database for all of them at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: set[_Listener] = set()

    def join(self, job: str, after: int, key: str | None) -> _Listener:
        listener = _Listener(job, after, key)
        self._listeners.add(listener)
        return listener

    def leave(self, listener: _Listener) -> None:
        self._listeners.discard(listener)

    def close(self) -> None:
        for listener in self._listeners:
            listener.queue.put_nowait(None)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            if not self._listeners:
                continue
            after: dict[str, int] = {}
            for listener in self._listeners:
                after[listener.job] = min(listener.after, after.get(listener.job, listener.after))
            used = {listener.key for listener in self._listeners if listener.key}
            try:
                news, over, revoked = await asyncio.to_thread(self._look, after, used)
            except UnderstudyError as error:
                log.warning("event streams wait: %s", error)
                await asyncio.sleep(1)
                continue
            for listener in list(self._listeners):
                for number, type, data in news.get(listener.job, []):
                    if number > listener.after:
                        listener.after = number
                        listener.queue.put_nowait((number, type, data))
                if listener.job in over or listener.key in revoked:
                    if listener.job not in after:
                        continue  # it came while we looked
                    self.leave(listener)
                    listener.queue.put_nowait(None)

    def _look(
        self, after: dict[str, int], used: set[str]
    ) -> tuple[dict[str, list[tuple[int, str, dict[str, Any]]]], set[str], set[str]]:
        """(new events by job, jobs that have ended or are gone, keys that were revoked)."""
        news: dict[str, list[tuple[int, str, dict[str, Any]]]] = {}
        with self._database.read() as connection:
            query = select(jobs.c.id, jobs.c.state, jobs.c.events).where(jobs.c.id.in_(after))
            states = {row.id: row for row in connection.execute(query)}
            changed = [row.id for row in states.values() if row.events > after[row.id]]
            for first in range(0, len(changed), 100):  # databases bound how much one question may hold
                parts = [and_(events.c.job == id, events.c.number > after[id]) for id in changed[first : first + 100]]
                found = select(events).where(or_(*parts)).order_by(events.c.job, events.c.number)
                for row in connection.execute(found):
                    news.setdefault(row.job, []).append((row.number, row.type, {**row.data, "at": row.at}))
            gone = select(keys.c.id).where(keys.c.id.in_(used), keys.c.revoked.is_not(None))
            revoked = set(connection.scalars(gone)) if used else set()
        return news, {id for id in after if id not in states or states[id].state not in ACTIVE}, revoked


async def stream(request: Request, app: AppState, owner: Owner, job: str, last: str | None) -> Response:
    """The events of `job` after the one numbered `last`, until it has ended."""
    after = int(last) if last and last.isascii() and last.isdigit() else 0
    most = owner.limit("streams", app.settings)
    if app.streams[owner.id] >= most:
        text = f"You have {most} event streams open."
        raise ApiError("too-many-streams", text, "Close some of them.", {"Retry-After": "10"})
    hub: Hub = request.app.state.hub
    if after:

        def ended() -> bool:
            with app.database.read() as connection:
                row = connection.execute(select(jobs.c.state, jobs.c.events).where(jobs.c.id == job)).first()
            return row is None or (row.state not in ACTIVE and row.events <= after)

        if await asyncio.to_thread(ended):
            return Response(status_code=204)  # tells an EventSource that there is nothing to come back for

    async def told() -> AsyncIterator[ServerSentEvent]:
        app.streams[owner.id] += 1
        listener = hub.join(job, after, owner.key)
        try:
            yield ServerSentEvent(comment="understudy", retry=2000)
            while (event := await listener.queue.get()) is not None:
                number, type, data = event
                yield ServerSentEvent(json.dumps(data, separators=(",", ":")), id=str(number), event=type)
        finally:
            hub.leave(listener)
            app.streams[owner.id] -= 1
            if not app.streams[owner.id]:
                with suppress(KeyError):
                    del app.streams[owner.id]

    return EventSourceResponse(told(), ping=15)
