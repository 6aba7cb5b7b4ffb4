"""``GET /v1/audit-log``, and how requests get into it."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, Field
from sqlalchemy import select
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from understudy.errors import UnderstudyError
from understudy.services.api import answers
from understudy.services.api.auth import KeyKeeper
from understudy.services.api.pages import Cursor, Page, Size, page
from understudy.services.api.problems import documented
from understudy.services.api.state import App, AppState
from understudy.services.queue import audit
from understudy.services.queue.owners import Owner
from understudy.services.queue.tables import audit as entries

log = logging.getLogger("understudy.api")
router = APIRouter(prefix="/v1/audit-log", tags=["audit"])
_READS = ("GET", "HEAD", "OPTIONS")


class AuditEntry(BaseModel):
    """Something that was done."""

    id: str
    created: answers.Time
    key: str | None = Field(description="the id of the key; operator: at the server's command line")
    action: str = Field(description="the operation's id in the OpenAPI document")
    resource: str = Field(description="the path of what it was done to")
    address: str = Field(description="where the request came from")


@router.get("", responses=documented(400, 422))
def audit_log(
    app: App,
    owner: KeyKeeper,
    key: Annotated[str | None, Query(max_length=20, description="the id of a key: what was done with it")] = None,
    action: Annotated[str | None, Query(max_length=60, description="an operation's id")] = None,
    since: Annotated[AwareDatetime | None, Query(description="done then or later")] = None,
    until: Annotated[AwareDatetime | None, Query(description="done before")] = None,
    cursor: Cursor = None,
    size: Size = 20,
) -> Page[AuditEntry]:
    """What was done with your keys, newest first: every request that changed something."""
    query = select(entries).where(entries.c.owner == owner.id)
    if key is not None:
        query = query.where(entries.c.key == key)
    if action is not None:
        query = query.where(entries.c.action == action)
    if since is not None:
        query = query.where(entries.c.created >= since.timestamp())
    if until is not None:
        query = query.where(entries.c.created < until.timestamp())
    return page(app.database, query, entries, cursor, size, lambda row: AuditEntry.model_validate(row._asdict()))


class Auditing:
    """Records each request that changed something, before its answer is sent. Routes leave their owner in the request's
    state."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    @cached_property
    def _threads(self) -> CapacityLimiter:
        return CapacityLimiter(4)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in _READS:
            await self._app(scope, receive, send)
            return

        async def recorded(message: Message) -> None:
            owner = scope.get("state", {}).get("owner")
            if message["type"] == "http.response.start" and message["status"] < 400 and owner is not None:
                made = Headers(raw=message["headers"]).get("location")
                await to_thread.run_sync(_record, scope, owner, made, limiter=self._threads)
            await send(message)

        await self._app(scope, receive, recorded)


def _record(scope: Scope, owner: Owner, made: str | None) -> None:
    app: AppState = scope["app"].state.services
    resource = (made or scope["path"]).removeprefix(scope.get("root_path", ""))
    route: Any = scope.get("route")
    host = scope["client"][0] if scope.get("client") else ""
    try:
        with app.database.write() as connection:
            now = app.database.now(connection)
            audit.record(connection, now, owner.id, owner.key, route.name, resource, host)
    except UnderstudyError as error:  # what was done is done: the answer has to say so
        log.error("not in the audit log: %s of %s", route.name, resource, exc_info=error)
