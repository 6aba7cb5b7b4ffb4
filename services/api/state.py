"""`AppState`: what the routes of one server process share."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from understudy.errors import UnderstudyError
from understudy.services.api.limits import RateLimits
from understudy.services.queue.bounded import Readers
from understudy.services.queue.database import Database
from understudy.services.queue.owners import Owner, local_owner, note_use
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

    def __post_init__(self) -> None:
        self.probing = asyncio.Semaphore(self.readers.count)
        self._local: Owner | None = None

    def note_use(self, key: str) -> None:
        """Store that the key is in use, once a minute. A failure to do so fails no request."""
        if not self.rates.take(f"used {key}", 1):
            with suppress(UnderstudyError):
                note_use(self.database, key)

    @property
    def open_owner(self) -> Owner | None:
        """The owner of everything on a server without keys; None on a server with keys."""
        if self.keys:
            return None
        if self._local is None:
            self._local = local_owner(self.database)
        return self._local


def app_state(request: Request) -> AppState:
    """The dependency behind `App`."""
    found = request.app.state.services
    assert isinstance(found, AppState)
    return found


App = Annotated[AppState, Depends(app_state)]
