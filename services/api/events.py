"""Server-sent events of jobs.

A client that asks for JSON gets the events there are, and asks again: a browser has six connections to a server, and
each open stream in each of its tabs takes one.

Streams don't poll the database one by one: hundreds may be open. The `Hub` polls for all streams of this process with a
few queries, and hands each stream the events that came after the last one it has.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from anyio import CapacityLimiter, to_thread
from fastapi import Header, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from sqlalchemy import Connection, and_, or_, select
from sse_starlette import EventSourceResponse, ServerSentEvent

from understudy.errors import UnderstudyError
from understudy.services.api.problems import ApiError
from understudy.services.api.state import AppState
from understudy.services.queue import sessions
from understudy.services.queue.database import Database
from understudy.services.queue.jobs import ACTIVE
from understudy.services.queue.owners import Owner, living
from understudy.services.queue.tables import events, jobs, keys

log = logging.getLogger("understudy.api")
POLL = 0.25  # seconds between polls of the database
LastEventId = Annotated[str | None, Header(alias="Last-Event-ID", max_length=20, description="go on after this event")]


Access = tuple[str | None, str | None]
"""The ids of the key and of the session with which a stream was asked for."""


class JobEvent(BaseModel):
    """`number`: counts the events of a job, from 1."""

    number: int
    type: Literal["state", "stage", "progress", "preview", "training"]
    data: dict[str, Any]


class EventList(BaseModel):
    """Events in order. `ended`: the job has, and no event follows."""

    events: list[JobEvent]
    ended: bool


STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events until the end; with `Accept: application/json` those there are, at once",
        "model": EventList,
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    204: {"description": "It has ended, and nothing came after that event"},
}


@dataclass(eq=False)
class Listener:
    """One open stream. `after`: the number of the last event it has; None in `queue` ends it."""

    job: str
    after: int
    access: Access
    queue: asyncio.Queue[JobEvent | None] = field(default_factory=asyncio.Queue)


class Hub:
    """The open streams of this process. `run` polls the database for all of them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: set[Listener] = set()
        self._thread = CapacityLimiter(1)  # of its own: requests and uploads have theirs

    def join(self, job: str, after: int, access: Access) -> Listener:
        listener = Listener(job, after, access)
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        self._listeners.discard(listener)

    def events(self, job: str, after: int) -> tuple[list[JobEvent], bool]:
        """The events of `job` after number `after`, and whether it has ended."""
        found, ended, _ = self._poll({job: after}, set())
        return found.get(job, []), job in ended

    def close(self) -> None:
        for listener in self._listeners:
            listener.queue.put_nowait(None)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(POLL)
            if not self._listeners:
                continue
            after: dict[str, int] = {}
            for listener in self._listeners:
                after[listener.job] = min(listener.after, after.get(listener.job, listener.after))
            used = {listener.access for listener in self._listeners}
            try:
                found, ended, closed = await to_thread.run_sync(self._poll, after, used, limiter=self._thread)
            except UnderstudyError as error:
                log.warning("event streams wait: %s", error)
                await asyncio.sleep(1)
                continue
            for listener in list(self._listeners):
                for event in found.get(listener.job, []):
                    if event.number > listener.after:  # two streams of a job may have begun at different events
                        listener.after = event.number
                        listener.queue.put_nowait(event)
                if listener.job in ended or listener.access in closed:
                    if listener.job not in after:
                        continue  # it joined during the poll, which didn't ask for its events
                    self.leave(listener)
                    listener.queue.put_nowait(None)

    def _poll(
        self, after: dict[str, int], used: set[Access]
    ) -> tuple[dict[str, list[JobEvent]], set[str], set[Access]]:
        """The events after number `after` by job, the jobs that have ended or are gone, and those `used` whose key or
        session has ended.

        States and events are read from the same snapshot: a job that is found ended has all its events here.
        """
        found: dict[str, list[JobEvent]] = {}
        with self._database.read() as connection:
            query = select(jobs.c.id, jobs.c.state, jobs.c.events).where(jobs.c.id.in_(after))
            states = {row.id: row for row in connection.execute(query)}
            changed = [row.id for row in states.values() if row.events > after[row.id]]
            for first in range(0, len(changed), 100):  # databases bound the number of terms in a query
                parts = [and_(events.c.job == id, events.c.number > after[id]) for id in changed[first : first + 100]]
                rows = select(events).where(or_(*parts)).order_by(events.c.job, events.c.number)
                for row in connection.execute(rows):
                    event = JobEvent(number=row.number, type=row.type, data={**row.data, "at": row.at})
                    found.setdefault(row.job, []).append(event)
            now, given = self._database.now(connection), {key for key, _ in used if key}
            revoked = given - set(connection.scalars(select(keys.c.id).where(keys.c.id.in_(given), living(now))))
            over = sessions.ended(connection, now, {id for _, id in used if id})
            closed = {(key, session) for key, session in used if key in revoked or session in over}
        ended = {id for id in after if id not in states or states[id].state not in ACTIVE}
        return found, ended, closed


async def stream(
    request: Request, app: AppState, owner: Owner, find: Callable[[Connection], str], last: str | None
) -> Response:
    """The events after the one numbered `last` of the job whose id `find` gives, until the job has ended. 204 if it
    has, and none is left. To a request for JSON: those there are."""
    after = int(last) if last and last.isascii() and last.isdigit() else 0

    def found() -> tuple[str, bool]:
        with app.database.read() as connection:
            id = find(connection)
            row = connection.execute(select(jobs.c.state, jobs.c.events).where(jobs.c.id == id)).first()
        return id, row is None or (row.state not in ACTIVE and row.events <= after)

    job, over = await app.requests.run(owner.id, found)
    hub: Hub = request.app.state.hub
    if request.headers.get("accept", "").startswith("application/json"):
        listed, ended = await app.requests.run(owner.id, hub.events, job, after)
        return JSONResponse(EventList(events=listed, ended=ended).model_dump(mode="json"))
    most = owner.limit("streams", app.settings)
    if app.streams[owner.id] >= most:
        text = f"You have {most} event streams open."
        raise ApiError("too-many-streams", text, "Close some of them.", {"Retry-After": "10"})
    if after and over:
        return Response(status_code=204)  # an EventSource that gets it doesn't connect again
    if "head" in request.scope:
        return Response(media_type="text/event-stream")

    async def messages() -> AsyncIterator[ServerSentEvent]:
        with listening(app, hub, owner, job, after) as listener:
            yield ServerSentEvent(comment="understudy", retry=2000)
            while (event := await listener.queue.get()) is not None:
                data = json.dumps(event.data, separators=(",", ":"))
                yield ServerSentEvent(data, id=str(event.number), event=event.type)

    return EventSourceResponse(messages(), ping=15)


@contextmanager
def listening(app: AppState, hub: Hub, owner: Owner, job: str, after: int) -> Iterator[Listener]:
    """A listener to the events of `job` after number `after`; one of the owner's `streams`."""
    app.streams[owner.id] += 1
    listener = hub.join(job, after, (owner.key, owner.session))
    try:
        yield listener
    finally:
        hub.leave(listener)
        app.streams[owner.id] -= 1
        if not app.streams[owner.id]:
            app.streams.pop(owner.id)
