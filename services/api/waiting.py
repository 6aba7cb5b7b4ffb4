"""``Prefer: wait=30`` (RFC 7240): a POST is answered when its job has ended, or after so many seconds.

A request that waits holds neither a thread nor a connection to the database: the `Hub`, which polls for all streams of
events, tells it of the end. It counts as one of the owner's streams.
"""

from __future__ import annotations

import asyncio
import re
import sys
from typing import Annotated

from fastapi import Depends, Header, Request

from understudy.services.api.events import Hub, listening
from understudy.services.api.state import AppState
from understudy.services.queue.owners import Owner

MOST = 50
"""Seconds that a request waits at most: many proxies close a connection on which nothing comes for a minute."""


async def preferred(
    request: Request,
    prefer: Annotated[
        str | None, Header(description="wait=30: answer when it has ended, or after so many seconds; at most 50")
    ] = None,
) -> int | None:
    """The dependency behind `Wait`."""
    given = ",".join(request.headers.getlist("prefer"))
    found = re.search(r'(?:^|,)\s*wait\s*=\s*"?([0-9]{1,9})"?\s*(?=[,;]|$)', given, re.IGNORECASE)
    return min(int(found[1]), MOST) if found else None


Wait = Annotated[int | None, Depends(preferred)]
"""The seconds for which the client would wait for an answer; None: it wants one at once."""


async def wait_for_end(request: Request, app: AppState, owner: Owner, job: str, seconds: float) -> bool:
    """Wait until `job` has ended or so many `seconds` are over; or until the client is gone, its key revoked, or the
    server about to stop. Returns False, at once, if the owner has all its streams open."""
    if app.streams.get(owner.id, 0) >= owner.limit("streams", app.settings):
        return False
    hub: Hub = request.app.state.hub
    with listening(app, hub, owner, job, sys.maxsize) as listener:  # no event has that number: only the end comes
        waiting = [asyncio.ensure_future(one) for one in (listener.queue.get(), app.stopping.wait(), _gone(request))]
        try:
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()
    return True


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
