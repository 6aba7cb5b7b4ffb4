"""Connections to addresses that come from users: webhooks, and songs by their URL.

They must not reach into the server's own network: addresses that aren't public (`addresses.py`) and ports that aren't
for the web are refused unless the configuration names their network. The name is resolved once, that address is
checked, and the connection goes to the same address: a name that is bound to another address in between gains nothing.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from threading import Thread, Timer
from urllib.parse import SplitResult, urlsplit

from understudy.errors import UnderstudyError
from understudy.services.queue.addresses import is_public, is_within
from understudy.services.queue.settings import ServerSettings

Refusal = Callable[[str], UnderstudyError]
"""The error for an address that can't be called, because of a reason."""


def check(url: str, settings: ServerSettings, refused: Refusal) -> SplitResult:
    """The parts of `url`. Raises `refused` if it can't be called, or names a private address; what address a name has
    is looked up by `connection`, because that may take long."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if it is none
    except ValueError as error:
        raise refused(str(error)) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise refused("it is not an http or https address")
    if parts.username or parts.password:
        raise refused("it contains a user name")
    if any(not "!" <= letter <= "~" for letter in url):
        raise refused("it contains characters that a URL can't have")
    with suppress(OSError, UnicodeError):  # a name is no number
        _check_addresses(_addresses(parts.hostname, socket.AI_NUMERICHOST), _port(parts), settings, refused)
    if f".{parts.hostname.rstrip('.')}".endswith(".localhost"):
        _check_addresses(["127.0.0.1"], _port(parts), settings, refused)
    if not settings.webhook_networks:  # else it depends on the address
        _check_port(_port(parts), settings, refused)
    return parts


def connection(parts: SplitResult, settings: ServerSettings, seconds: float, refused: Refusal) -> Connection:
    """A connection to what `check` gave, not open yet; at most so many `seconds` for looking its name up. Raises
    `refused` for an address that may not be called."""
    host, port = parts.hostname or "", _port(parts)
    found = _resolved(host, seconds, refused)
    _check_addresses(found, port, settings, refused)
    return Connection(parts, host, port, found[0], seconds)


class Connection(http.client.HTTPConnection):
    """A connection to one address, whatever its name resolves to meanwhile. `target`: path and query of the URL."""

    def __init__(self, parts: SplitResult, host: str, port: int, address: str, timeout: float) -> None:
        super().__init__(host, port, timeout=timeout)
        self._address, self._secure = address, parts.scheme == "https"
        self.target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    @contextmanager
    def until(self, end: float) -> Iterator[None]:
        """Use the connection in the ``with`` block, until the time `end` (of the monotonic clock): the socket's timeout
        bounds each read, this bounds all of them, also when an answer comes byte by byte."""
        self.timeout = max(0.1, end - time.monotonic())
        deadline = Timer(self.timeout, self._hang_up)
        deadline.start()
        try:
            yield
        finally:
            deadline.cancel()
            self.close()

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        if self._secure:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)

    def _hang_up(self) -> None:
        with suppress(OSError, AttributeError):  # it never came to a connection
            self.sock.shutdown(socket.SHUT_RDWR)


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _resolved(host: str, seconds: float, refused: Refusal) -> list[str]:
    """The addresses of `host`. The system's look-up can't be stopped: it has a thread of its own, which is left to
    itself after so many `seconds`."""
    answers: SimpleQueue[list[str]] = SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(_addresses(host))
        except (OSError, UnicodeError):
            answers.put([])

    Thread(target=look_up, name="dns", daemon=True).start()
    try:
        found = answers.get(timeout=max(0.0, seconds))
    except Empty:
        raise refused(f"no name server says in time what address {host[:80]} has") from None
    if not found:
        raise refused(f"{host[:80]} is not known")
    return found


def _addresses(host: str, flags: int = 0) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags)
    return [str(entry[4][0]).partition("%")[0] for entry in found]


def _check_addresses(addresses: Sequence[str], port: int, settings: ServerSettings, refused: Refusal) -> None:
    for address in addresses:
        if not is_within(address, settings.webhook_networks):
            if not is_public(address):
                raise refused("its address is a private one")
            _check_port(port, settings, refused)


def _check_port(port: int, settings: ServerSettings, refused: Refusal) -> None:
    if port not in settings.webhook_ports:
        raise refused(f"its port is none of {', '.join(map(str, settings.webhook_ports))}")
