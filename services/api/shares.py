"""What one owner may have of a server process at a time, so that no owner's load slows another's.

Threads, reader processes, connections and disk serve all owners. Each owner has a share of them: more of its work waits
for a place of its own, while others go on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from understudy.services.api.problems import ApiError

Answer = TypeVar("Answer")
WAITING = 200
"""Most work of one owner that waits for a place; what comes then is refused."""


@dataclass
class _Share:
    """One owner's `places`. `users`: who has or waits for one of them."""

    places: asyncio.Semaphore
    users: int = 0


class Shares:
    """Places for `total` pieces of work at a time, at most `each` of them one owner's.

    An owner's work first waits for one of the owner's own places, then, in the order of arrival, for one of all. So it
    stands behind at most `each` pieces of any other owner's.
    """

    def __init__(self, total: int, each: int) -> None:
        self._each = each
        self._all = asyncio.Semaphore(total)
        self._threads = CapacityLimiter(total)
        self._owners: dict[str, _Share] = {}

    @asynccontextmanager
    async def place(self, owner: str) -> AsyncIterator[None]:
        """Hold a place. Raises ``rate-limited`` if `WAITING` pieces of the owner's work wait already."""
        share = self._owners.setdefault(owner, _Share(asyncio.Semaphore(self._each)))
        if share.users >= self._each + WAITING:
            raise ApiError("rate-limited", "Too many requests at a time.", "Send fewer.", {"Retry-After": "5"})
        share.users += 1
        try:
            async with share.places, self._all:
                yield
        finally:
            share.users -= 1
            if not share.users:
                del self._owners[owner]

    async def run(self, owner: str, function: Callable[..., Answer], *arguments: object, **more: object) -> Answer:
        """Call the function in a thread, on a place of the owner's."""
        async with self.place(owner):
            return await to_thread.run_sync(partial(function, *arguments, **more), limiter=self._threads)


class Transfers:
    """The uploads and downloads in progress. Each holds a connection and an open file, and an upload's bytes are on the
    server's disk before they are stored."""

    def __init__(self) -> None:
        self._lock = Lock()  # files are written by several threads
        self._open: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    def check(self, owner: str, most: int) -> None:
        """Raise ``too-many-transfers`` if the owner has `most` of them."""
        if self._open[owner] >= most:
            text = f"You have {most} uploads and downloads under way."
            raise ApiError("too-many-transfers", text, "Wait until one has ended.", {"Retry-After": "10"})

    @contextmanager
    def one(self, owner: str) -> Iterator[None]:
        """An upload or download of the owner's, as long as the ``with`` block lasts."""
        self._add(self._open, owner, 1)
        try:
            yield
        finally:
            self._add(self._open, owner, -1)

    def check_room(self, owner: str, more: int, room: float) -> None:
        """Raise ``storage-used-up`` if the owner's uploads with `more` bytes were more than `room`."""
        if self._bytes[owner] + more > room:
            raise ApiError(
                "storage-used-up",
                f"Your uploads need more room than the {max(0.0, room) / 1e6:.1f} MB that you have left.",
                "Delete some of what you have stored and send it again.",
            )

    def hold(self, owner: str, more: int, room: float) -> None:
        """Count `more` bytes on disk, unless `check_room` raises. `release` must follow."""
        with self._lock:
            self.check_room(owner, more, room)
            self._bytes[owner] += more

    def release(self, owner: str, bytes: int) -> None:
        self._add(self._bytes, owner, -bytes)

    def _add(self, counter: Counter[str], owner: str, more: int) -> None:
        with self._lock:
            counter[owner] += more
            if not counter[owner]:
                del counter[owner]
