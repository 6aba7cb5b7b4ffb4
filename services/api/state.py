"""`AppState`: what the routes of one server process share."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from understudy.services.api.limits import RateLimits
from understudy.services.api.model_fetches import Fetches
from understudy.services.api.shares import Shares, Transfers
from understudy.services.queue.bounded import Readers
from understudy.services.queue.database import Database
from understudy.services.queue.owners import Owner, local_owner
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.storage import Storage


@dataclass
class AppState:
    """One per server process.

    `readers`: the processes that read untrusted files. `incoming`: the folder of uploads in progress. `keys`: whether
    requests need an API key. `streams`: open event streams by owner.

    The shares of owners in what is slow: `identifying` is looking up a key, `requests` are routes that are plain
    functions, and transactions; `storing` is all that waits for the disk or the storage; `fetching` waits for other
    servers; `probing` is reading untrusted files, `verifying` that for senders without a key, who get one core and no
    more.
    """

    settings: ServerSettings
    database: Database
    storage: Storage
    readers: Readers
    incoming: Path
    keys: bool
    rates: RateLimits = field(default_factory=RateLimits)
    streams: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    transfers: Transfers = field(default_factory=Transfers)
    fetches: Fetches = field(default_factory=Fetches)
    identifying: Shares = field(default_factory=lambda: Shares(16, 2))
    requests: Shares = field(default_factory=lambda: Shares(16, 2))
    storing: Shares = field(default_factory=lambda: Shares(32, 4))
    fetching: Shares = field(default_factory=lambda: Shares(32, 2))
    verifying: Shares = field(default_factory=lambda: Shares(1, 1))
    probing: Shares = field(init=False)

    def __post_init__(self) -> None:
        self.probing = Shares(self.readers.count, 1)

    def stop(self) -> None:
        """Let slow requests end. May be called by a handler of signals."""
        self.loop.call_soon_threadsafe(self.stopping.set)

    @cached_property
    def open_owner(self) -> Owner | None:
        """The owner of everything on a server without keys; None on a server with keys."""
        return None if self.keys else local_owner(self.database)


async def app_state(request: Request) -> AppState:
    """The dependency behind `App`."""
    found = request.app.state.services
    assert isinstance(found, AppState)
    return found


App = Annotated[AppState, Depends(app_state)]
