"""HTTP connections with bounds, which uvicorn lacks: on their number, on the time and the bytes until the header of a
request is whole, and on the time for which the reader of an answer takes nothing.

A connection without a request costs its peer nothing, not even a key. So where there are too many, the one that has
been without a request for longest gives way: who sends a request at once is served, however many connections others
hold open.
"""

from __future__ import annotations

import asyncio
import sys
from typing import ClassVar

if sys.platform == "win32":
    from uvicorn.protocols.http.h11_impl import H11Protocol as HttpProtocol
else:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as HttpProtocol

FIRST = 10.0
"""Seconds in which the header of the first request must be whole."""
NEXT = 30.0
"""Seconds in which that of the next one must be."""
STALLED = 60.0
"""Seconds for which the reader of an answer may take nothing."""
LONGEST = 64 << 10
"""Bytes of a header."""


class Connection(HttpProtocol):
    """`most`: connections at a time. `idle`: those without a request, the oldest first."""

    most: ClassVar[int]
    idle: ClassVar[dict[Connection, None]]
    _timer: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None
    _header: int | None = None  # bytes of the header that is coming in

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait(FIRST)
        if len(self.connections) > self.most:
            next(iter(self.idle)).transport.abort()  # at worst this one

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._header is not None:
            self._header += len(data)
            if self._header > LONGEST:
                self.transport.abort()
        if self._has_request():
            self._go_on()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._header = 0

    def on_headers_complete(self) -> None:
        self._header = None
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._has_request():
            self._wait(NEXT)

    def connection_lost(self, exc: Exception | None) -> None:
        self._go_on()
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall = self.loop.call_later(STALLED, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _has_request(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self, seconds: float) -> None:
        """Be without a request, for at most so many `seconds`, whatever comes in meanwhile."""
        self._go_on()
        self.idle[self] = None
        self._timer = self.loop.call_later(seconds, self.transport.abort)

    def _go_on(self) -> None:
        self.idle.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def bounded(most: int) -> type[Connection]:
    """The protocol of a server that has at most `most` connections, or as many as half of the files that this process
    may open: the database, the storage and uploads need files, too."""
    if sys.platform != "win32":
        import resource

        _, allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))
        most = most if allowed == resource.RLIM_INFINITY else min(most, allowed // 2)

    class Bounded(Connection):
        pass

    Bounded.most, Bounded.idle = most, {}
    return Bounded
