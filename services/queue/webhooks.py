"""Webhooks: when a job has ended, a message goes to an address of its owner's, and again until that answers 2xx.

Messages are signed as Standard Webhooks says (standardwebhooks.com): ``webhook-id``, ``webhook-timestamp`` (Unix
seconds) and ``webhook-signature`` (``v1,`` and the base64 of HMAC-SHA256 over ``id.timestamp.body``), with the owner's
secret. For a while after that was changed, a second signature is made with the former one. The older headers
``Understudy-Delivery`` and ``Understudy-Signature`` are sent for one more release.

The address comes from a user: `outbound.py` says what it may reach. Redirects aren't followed.

A receiver may hang, or its name server. So several threads deliver, and one owner's messages take no more than a share
of them: those of other owners don't wait.
"""

from __future__ import annotations

import base64
import hmac
import http.client
import logging
import time
from collections import Counter
from collections.abc import Sequence
from secrets import token_bytes
from threading import Event, Lock, Thread
from typing import Any
from urllib.parse import SplitResult

from sqlalchemy import Connection, Row, Select, and_, case, literal, or_, select

from understudy.errors import UnderstudyError
from understudy.services.queue import outbound
from understudy.services.queue.database import Database
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.tables import deliveries, jobs, owners

log = logging.getLogger("understudy.webhooks")
THREADS = 16
SHARE = 4  # of one owner
_FIRST_PAUSE = 5.0


def sign(secrets: Sequence[str], id: str, at: int, body: str) -> dict[str, str]:
    """The headers of a message: its id, the Unix time `at`, and a signature made with each of `secrets` (``whsec_`` and
    the key in base64)."""
    keys = [base64.b64decode(secret.removeprefix("whsec_")) for secret in secrets]
    signed = f"{id}.{at}.{body}".encode()
    signatures = [base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys]
    old = [hmac.digest(secret.encode(), f"{at}.{body}".encode(), "sha256").hex() for secret in secrets]
    return {
        "webhook-id": id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
        "Understudy-Delivery": id,
        "Understudy-Signature": ",".join([f"t={at}", *(f"v1={signature}" for signature in old)]),
    }


def new_secret() -> str:
    """A secret of 192 random bits."""
    return f"whsec_{base64.b64encode(token_bytes(24)).decode()}"


def change_secret(connection: Connection, now: float, owner: str, overlap: float) -> str:
    """Give the owner a new secret; the one before it signs, too, for so many seconds. Returns the new one."""
    secret = new_secret()
    values = {"former_secret": owners.c.webhook_secret, "former_until": now + overlap, "webhook_secret": secret}
    connection.execute(owners.update().where(owners.c.id == owner).values(**values))
    return secret


def send_again(connection: Connection, now: float, row: Row[Any]) -> None:
    """Send the message in `row` once more, with as many tries as a new one. Raises ``delivery-waiting`` if it is still
    to be sent."""
    over = and_(deliveries.c.id == row.id, deliveries.c.state != "waiting")
    if not _note(connection, row, over, {"state": "waiting", "tries": 0, "due": now}):
        text = "This message is being sent, or will be in a moment."
        raise UnderstudyError("delivery-waiting", text, "GET /v1/webhooks/deliveries says when.")


def _note(connection: Connection, row: Row[Any], where: Any, values: dict[str, Any]) -> bool:
    """Change `values` of the message in `row`, and the webhook's state in its job; returns whether `where` was so. The
    job's row is locked first, as by whoever ends or deletes it."""
    connection.execute(select(jobs.c.id).where(jobs.c.id == row.job).with_for_update())
    if not connection.execute(deliveries.update().where(where).values(**values)).rowcount:
        return False
    connection.execute(jobs.update().where(jobs.c.id == row.job).values(webhook_state=values["state"]))
    return True


class Deliveries:
    """The sending of messages by one process, from several threads."""

    def __init__(self, database: Database, settings: ServerSettings) -> None:
        self._database, self._settings = database, settings
        self._claiming = Lock()
        self._sending: Counter[str] = Counter()  # messages that are being sent, by owner

    def run(self, stopping: Event) -> None:
        """Deliver until `stopping` is set, from `THREADS` threads that end with the process."""
        for _ in range(THREADS):
            Thread(target=self._run, args=(stopping,), name="webhooks", daemon=True).start()

    def _run(self, stopping: Event) -> None:
        while not stopping.wait(1.0):
            try:
                self.deliver_due()
            except UnderstudyError as error:
                log.warning("webhooks wait: %s", error)
                stopping.wait(5.0)

    def deliver_due(self) -> int:
        """Send the messages that are due, but those of owners who have their share already; returns how many were
        tried. Safe in several processes and threads at once."""
        tried = 0
        while (row := self._claimed()) is not None:
            try:
                tried += 1
                secrets = [row.webhook_secret, *([row.former] if row.former else [])]
                status, error = _send(row.url, row.body, row.id, secrets, self._settings)
                last = row.tries + 1 >= self._settings.webhook_tries
                state = "delivered" if error is None else "failed" if last else "waiting"
                with self._database.write() as connection:
                    now = self._database.now(connection)
                    values = {"state": state, "error": error, "status": status, "tried": now}
                    _note(connection, row, deliveries.c.id == row.id, values)
                log.info("webhook %s", state, extra={"job": row.job, "delivery": row.id, "error": error})
            finally:
                with self._claiming:
                    self._sending[row.owner] -= 1
        return tried

    def _claimed(self) -> Row[Any] | None:
        """The next message, counted as being sent; None if there is none."""
        with self._claiming:
            full = [owner for owner, count in self._sending.items() if count >= SHARE]
            with self._database.read() as connection:  # most looks find nothing, and a read is in nobody's way
                if connection.execute(self._due(connection, full)).first() is None:
                    return None
            with self._database.write() as connection:
                row = connection.execute(
                    self._due(connection, full).with_for_update(skip_locked=True, of=deliveries)
                ).first()
                if row is None:
                    return None
                # Claim the message before it is sent: its next try is put behind the longest time that this one can
                # take. So nobody else sends it meanwhile, no transaction stays open during the call, and if this
                # process dies the message is simply due again.
                later = self._database.now(connection) + self._settings.webhook_seconds + _FIRST_PAUSE * 2**row.tries
                values = {"tries": row.tries + 1, "due": later}
                connection.execute(deliveries.update().where(deliveries.c.id == row.id).values(**values))
            self._sending[row.owner] += 1
            return row

    def _due(self, connection: Connection, full: Sequence[str]) -> Select[Any]:
        now = self._database.now(connection)
        pause = self._settings.webhook_seconds + _FIRST_PAUSE * literal(1).bitwise_lshift(deliveries.c.tries)
        due = or_(deliveries.c.due <= now, deliveries.c.due > now + pause)  # the latter: the clock was set back
        mine = deliveries.c.state == "waiting", due, deliveries.c.owner.not_in(full)
        former = case((owners.c.former_until > now, owners.c.former_secret)).label("former")
        query = select(deliveries, owners.c.webhook_secret, former).join(owners).where(*mine)
        return query.order_by(deliveries.c.due).limit(1)


def _send(
    url: str, body: str, id: str, secrets: Sequence[str], settings: ServerSettings
) -> tuple[int | None, str | None]:
    """Post `body`; returns the status of the answer, if there was one, and the error, None if it was 2xx. Redirects
    aren't followed. Takes at most `webhook_seconds`."""
    end = time.monotonic() + settings.webhook_seconds
    try:
        connection = outbound.connection(check(url, settings), settings, settings.webhook_seconds, _refused)
        signed = sign(secrets, id, int(time.time()), body)
        headers = {"Content-Type": "application/json", "User-Agent": "Understudy", **signed}
        with connection.until(end):
            connection.request("POST", connection.target, body.encode(), headers)
            status = connection.getresponse().status
    except UnderstudyError as error:
        return None, error.message
    except (OSError, http.client.HTTPException, ValueError) as error:
        return None, f"{type(error).__name__}: {error}"[:300]
    return status, None if 200 <= status < 300 else f"it answered {status}"


def check(url: str, settings: ServerSettings) -> SplitResult:
    """The parts of `url`. Raises ``webhook-refused`` if it can't be called, or names a private address; what address a
    name has is looked up when a message is sent, because that may take long."""
    return outbound.check(url, settings, _refused)


def _refused(why: str) -> UnderstudyError:
    return UnderstudyError("webhook-refused", f"The webhook can't be called: {why}.", "Give a public https address.")
