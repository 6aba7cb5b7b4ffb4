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
    """

    settings: ServerSettings
    database: Database
    storage: Storage
    readers: Readers
    incoming: Path
    keys: bool
    rates: RateLimits = field(default_factory=RateLimits)
    streams: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    stopping: bool = False
    probing: asyncio.Semaphore = field(init=False)  # no more requests wait for a reader than there are readers
    verifying: asyncio.Semaphore = field(init=False)  # those who need no key get one core, and no more

    def __post_init__(self) -> None:
        self.probing = asyncio.Semaphore(self.readers.count)
        self.verifying = asyncio.Semaphore(1)

    @cached_property
    def open_owner(self) -> Owner | None:
        """The owner of everything on a server without keys; None on a server with keys."""
        return None if self.keys else local_owner(self.database)


def app_state(request: Request) -> AppState:
    """The dependency behind `App`."""
    found = request.app.state.services
    assert isinstance(found, AppState)
    return found


App = Annotated[AppState, Depends(app_state)]
