"""`House`: what the server's routes share, and who asks."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from understudy.errors import UnderstudyError
from understudy.services.api.problems import ApiError
from understudy.services.queue.bounded import Readers
from understudy.services.queue.database import Database
from understudy.services.queue.owners import Owner, find_owner, local_owner, note_use
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.storage import Storage

COOKIE = "understudy_key"


@dataclass
class House:
    """One per server process."""

    settings: ServerSettings
    database: Database
    storage: Storage
    readers: Readers
    incoming: Path
    keys: bool
    buckets: Buckets = field(default_factory=lambda: Buckets())
    streams: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    stopping: bool = False
    probing: asyncio.Semaphore = field(init=False)

    def note_use(self, key: str) -> None:
        """Write down once a minute that the key is in use; nothing that an answer would wait or fail for."""
        if not self.buckets.take(f"used {key}", 1):
            with suppress(UnderstudyError):
                note_use(self.database, key)

    def __post_init__(self) -> None:
        self.probing = asyncio.Semaphore(self.readers.count)
        self._local: Owner | None = None

    @property
    def open_owner(self) -> Owner | None:
        """Who everything belongs to when the server asks for no keys."""
        if self.keys:
            return None
        if self._local is None:
            self._local = local_owner(self.database)
        return self._local


class Buckets:
    """Token buckets: so many a minute, a minute's worth at once at the most. One server process counts for itself."""

    def __init__(self) -> None:
        self._left: dict[str, tuple[float, float]] = {}
        self._lock = Lock()

    def take(self, name: str, a_minute: float) -> float:
        """0 if there was one to take, else the seconds until there is."""
        now = time.monotonic()
        with self._lock:
            left, at = self._left.get(name, (a_minute, now))
            left = min(a_minute, left + (now - at) * a_minute / 60)
            wait = 0.0 if left >= 1 else (1 - left) * 60 / a_minute
            self._left[name] = (left if wait else left - 1, now)
            if len(self._left) > 10_000:
                self._left = {key: value for key, value in self._left.items() if now - value[1] < 60}
        return wait


def house_of(request: Request) -> House:
    found = request.app.state.house
    assert isinstance(found, House)
    return found


TheHouse = Annotated[House, Depends(house_of)]
_bearer = HTTPBearer(auto_error=False, description="An API key, made with 'understudy keys create'.")


def asker(scope: str) -> Callable[..., Owner]:
    """A dependency: who asks, if the key has that scope and the owner's rate allows it."""

    def ask(
        request: Request,
        house: TheHouse,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    ) -> Owner:
        owner = identify(house, request, credentials)
        if scope not in owner.scopes:
            raise ApiError(
                "scope-missing", f"This key may not do that: it lacks the scope {scope!r}.", "Ask for another key."
            )
        if wait := house.buckets.take(f"owner {owner.id}", owner.limit("requests_a_minute", house.settings)):
            raise too_fast(wait)
        return owner

    return ask


def identify(house: House, request: Request, credentials: HTTPAuthorizationCredentials | None) -> Owner:
    """Who asks; raises ``key-missing`` or ``key-invalid``."""
    if (owner := house.open_owner) is not None:
        return owner
    key = credentials.credentials if credentials else request.cookies.get(COOKIE)
    if not key:
        raise ApiError("key-missing", "An API key is needed.", "Send it as 'Authorization: Bearer us_...'.")
    with house.database.read() as connection:
        owner = find_owner(connection, key)
    if owner is not None:
        house.note_use(str(owner.key))
    if owner is None:
        address = request.client.host if request.client else "?"
        if wait := house.buckets.take(f"guess {address}", 30):
            raise too_fast(wait)
        raise ApiError("key-invalid", "This API key is wrong or was revoked.", "Ask for another key.")
    return owner


def too_fast(wait: float) -> ApiError:
    return ApiError(
        "rate-limited",
        "Too many requests.",
        f"Wait {wait:.1f} seconds.",
        {"Retry-After": str(max(1, round(wait + 0.5)))},
    )


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


Reader = Annotated[Owner, Depends(asker("read"))]
Maker = Annotated[Owner, Depends(asker("make"))]
VoiceMaker = Annotated[Owner, Depends(asker("voices"))]
Deleter = Annotated[Owner, Depends(asker("delete"))]
