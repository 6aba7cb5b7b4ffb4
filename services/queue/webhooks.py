"""Webhooks: when a job has ended, a message goes to an address of its owner's, and again until that answers 2xx.

Messages are signed as Standard Webhooks says (standardwebhooks.com): ``webhook-id``, ``webhook-timestamp`` (Unix
seconds) and ``webhook-signature`` (``v1,`` and the base64 of HMAC-SHA256 over ``id.timestamp.body``), with the owner's
secret. The older headers ``Understudy-Delivery`` and ``Understudy-Signature`` are sent for one more release.

The address comes from a user, so it must not reach into the server's own network: private and loopback addresses are
refused unless the configuration names their network. The name is resolved once, that address is checked, and the
connection goes to the same address: a name that is bound to another address in between gains nothing.
"""

from __future__ import annotations

import base64
import hmac
import http.client
import ipaddress
import logging
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from threading import Event, Timer
from urllib.parse import SplitResult, urlsplit

from sqlalchemy import select

from understudy.errors import UnderstudyError
from understudy.services.queue.database import Database
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.tables import deliveries, owners

log = logging.getLogger("understudy.webhooks")
_FIRST_PAUSE = 5.0


def sign(secret: str, id: str, at: int, body: str) -> dict[str, str]:
    """The headers of a message: its id, the Unix time `at`, and the signature made with `secret` (``whsec_`` and the
    key in base64)."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = base64.b64encode(hmac.digest(key, f"{id}.{at}.{body}".encode(), "sha256")).decode()
    old = hmac.digest(secret.encode(), f"{at}.{body}".encode(), "sha256").hex()
    return {
        "webhook-id": id,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{signature}",
        "Understudy-Delivery": id,
        "Understudy-Signature": f"t={at},v1={old}",
    }


def deliver_due(database: Database, settings: ServerSettings) -> int:
    """Send the messages that are due; returns how many were tried. Safe in several processes and threads at once."""
    tried = 0
    while True:
        with database.write() as connection:
            now = database.now(connection)
            due = deliveries.c.state == "waiting", deliveries.c.due <= now
            query = select(deliveries, owners.c.webhook_secret).join(owners).where(*due).order_by(deliveries.c.due)
            row = connection.execute(query.limit(1).with_for_update(skip_locked=True, of=deliveries)).first()
            if row is None:
                return tried
            last = row.tries + 1 >= settings.webhook_tries
            # Claim the message before it is sent: its next try is put behind the longest time that this one can take.
            # So nobody else sends it meanwhile, no transaction stays open during the call, and if this process dies
            # the message is simply due again.
            later = now + settings.webhook_seconds + _FIRST_PAUSE * 2**row.tries
            values = {"tries": row.tries + 1, "due": later}
            connection.execute(deliveries.update().where(deliveries.c.id == row.id).values(**values))
        tried += 1
        error = _send(row.url, row.body, row.id, row.webhook_secret, settings)
        state = "delivered" if error is None else "failed" if last else "waiting"
        with database.write() as connection:
            values = {"state": state, "error": error}
            connection.execute(deliveries.update().where(deliveries.c.id == row.id).values(**values))
        log.info("webhook %s", state, extra={"job": row.job, "delivery": row.id, "error": error})


def run(database: Database, settings: ServerSettings, stopping: Event) -> None:
    """Deliver until `stopping` is set."""
    while not stopping.wait(1.0):
        try:
            deliver_due(database, settings)
        except UnderstudyError as error:
            log.warning("webhooks wait: %s", error)
            stopping.wait(5.0)


def _send(url: str, body: str, id: str, secret: str, settings: ServerSettings) -> str | None:
    """Post `body`; returns None if the answer was 2xx, else the error. Redirects aren't followed."""
    try:
        parts, address = check(url, settings)
        connection = _Connection(parts.hostname or "", address, parts.port, parts.scheme, settings.webhook_seconds)
        signed = sign(secret, id, int(time.time()), body)
        headers = {"Content-Type": "application/json", "User-Agent": "Understudy", **signed}
        # the socket's timeout bounds each read; this bounds the whole call, also when an answer comes byte by byte
        deadline = Timer(settings.webhook_seconds, connection.hang_up)
        deadline.start()
        try:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", path, body.encode(), headers)
            status = connection.getresponse().status
        finally:
            deadline.cancel()
            connection.close()
    except UnderstudyError as error:
        return error.message
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"{type(error).__name__}: {error}"[:300]
    return None if 200 <= status < 300 else f"it answered {status}"


class _Connection(http.client.HTTPConnection):
    """A connection to one address, whatever its name resolves to meanwhile."""

    def __init__(self, host: str, address: str, port: int | None, scheme: str, timeout: float) -> None:
        super().__init__(host, port or (443 if scheme == "https" else 80), timeout=timeout)
        self._address, self._secure = address, scheme == "https"

    def hang_up(self) -> None:
        with suppress(OSError, AttributeError):  # it never came to a connection
            self.sock.shutdown(socket.SHUT_RDWR)

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        if self._secure:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)


def check(url: str, settings: ServerSettings) -> tuple[SplitResult, str]:
    """The parts of `url` and the address to connect to. Raises ``webhook-refused`` unless it may be called."""

    def refused(why: str) -> UnderstudyError:
        return UnderstudyError(
            "webhook-refused", f"The webhook can't be called: {why}.", "Give a public https address."
        )

    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise refused(str(error)) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise refused("it is not an http or https address")
    if parts.username or parts.password:
        raise refused("it contains a user name")
    if any(not "!" <= letter <= "~" for letter in url):
        raise refused("it contains characters that a URL can't have")
    try:
        found = socket.getaddrinfo(parts.hostname, port or 80, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise refused(f"{parts.hostname[:80]} is not known") from None
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    for address in addresses:
        if not _allowed(address, settings.webhook_networks):
            raise refused("its address is a private one")
    return parts, addresses[0]


def _allowed(address: str, networks: Sequence[str]) -> bool:
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        # an IPv6 address may embed an IPv4 address and reach the same host: judge the inner one
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        ip = inner or ip
    if any(ip in ipaddress.ip_network(network, strict=False) for network in networks):
        return True
    return ip.is_global and not ip.is_multicast
