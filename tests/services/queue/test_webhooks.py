"""Webhooks: signed, tried again, and never to addresses that are nobody's business."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event, Semaphore, Thread
from typing import Any

import pytest
from sqlalchemy import select
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from tests.support.command import HANGS, ROOT, without_settings
from understudy.errors import UnderstudyError
from understudy.services.queue import claims, jobs, owners, webhooks
from understudy.services.queue.database import Database
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.tables import deliveries
from understudy.services.queue.tables import jobs as jobs_table
from understudy.services.queue.tables import owners as table

PRIVATE = "The webhook can't be called: its address is a private one."


@dataclass
class Receiver:
    """What came in; `statuses` are answered one after the other, then 200."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], str]] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            found.got.append((dict(self.headers), body))
            self.send_response(found.statuses.pop(0) if found.statuses else 200)
            self.send_header("Location", "http://127.0.0.1/elsewhere")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    found.url = f"http://127.0.0.1:{server.server_port}/hook?x=1"
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def allowed(settings: ServerSettings) -> ServerSettings:
    return settings.model_copy(update={"webhook_networks": ("127.0.0.0/8",), "webhook_tries": 2})


def end_a_job(database: Database, settings: ServerSettings, url: str, name: str = "ada") -> str:
    owner = owners.ensure_owner(database, name)
    with database.write() as connection:
        values: dict[str, Any] = {"name": "song", "request": {}, "priority": 0, "webhook": url}
        id = jobs.submit(connection, database.now(connection), owner, "cover", **values)
    job = claims.claim(database, "w", settings)
    assert job is not None
    jobs.finish(database, job, settings, {}, 0, [])
    return id


def state(database: Database):
    with database.read() as connection:
        return connection.execute(select(deliveries)).one()


def make_due(database: Database) -> None:
    with database.write() as connection:
        connection.execute(deliveries.update().values(due=0.0))


def test_it_is_delivered_once_and_signed(database: Database, allowed: ServerSettings, receiver: Receiver):
    id = end_a_job(database, allowed, receiver.url)
    assert webhooks.Deliveries(database, allowed).deliver_due() == 1
    assert webhooks.Deliveries(database, allowed).deliver_due() == 0
    headers, body = receiver.got.pop()
    assert json.loads(body)["id"] == id
    assert json.loads(body)["type"] == "cover.done"
    with database.read() as connection:
        secret = str(connection.scalar(select(table.c.webhook_secret)))
    assert Webhook(secret).verify(body, headers) == json.loads(body)
    assert documented_check()(secret, {name.lower(): text for name, text in headers.items()}, body.encode())
    at, signature = (part.partition("=")[2] for part in headers["Understudy-Signature"].split(","))
    assert signature == hmac.new(secret.encode(), f"{at}.{body}".encode(), hashlib.sha256).hexdigest()
    assert state(database).state == "delivered"


def documented_check() -> Callable[[str, Mapping[str, str], bytes], bool]:
    """The function with which docs/api.md verifies a message."""
    text = (Path(__file__).parents[3] / "docs" / "api.md").read_text("utf-8")
    (block,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "def is_genuine" in block)
    names: dict[str, Any] = {}
    exec(block, names)
    return names["is_genuine"]


@pytest.mark.parametrize("secret", ["whsec_" + "0123456789abcdef" * 3, "whsec_" + base64.b64encode(bytes(32)).decode()])
def test_secrets_of_this_and_of_older_releases_sign(secret: str):
    at = int(time.time())
    headers = webhooks.sign([secret], "delivery_1", at, "{}")
    assert Webhook(secret).verify("{}", headers) == {}
    assert documented_check()(secret, headers, b"{}")
    assert not documented_check()(secret, headers, b"{ }")
    assert not documented_check()(secret, webhooks.sign([secret], "delivery_1", at - 600, "{}"), b"{}")
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify("{ }", headers)


def test_receivers_are_changed_one_after_the_other(database: Database, allowed: ServerSettings, receiver: Receiver):
    """While a former secret signs, too, each of both verifies a message; afterwards the new one alone."""
    end_a_job(database, allowed, receiver.url)
    with database.write() as connection:
        former = str(connection.scalar(select(table.c.webhook_secret)))
        now = database.now(connection)
        secret = webhooks.change_secret(connection, now, str(connection.scalar(select(table.c.id))), 3600)
    for known in (2, 1):
        webhooks.Deliveries(database, allowed).deliver_due()
        headers, body = receiver.got.pop()
        assert len(headers["webhook-signature"].split()) == known
        lower = {name.lower(): text for name, text in headers.items()}
        for verifies, key in ((True, secret), (known == 2, former)):
            assert documented_check()(key, lower, body.encode()) == verifies
        Webhook(secret).verify(body, headers)
        with database.write() as connection:
            connection.execute(table.update().values(former_until=now))
            webhooks.send_again(connection, now, connection.execute(select(deliveries)).one())


def test_it_is_sent_again_on_request(database: Database, allowed: ServerSettings, receiver: Receiver):
    receiver.statuses = [410, 503]
    id = end_a_job(database, allowed, receiver.url)

    def of_job() -> str:
        with database.read() as connection:
            return str(connection.scalar(select(jobs_table.c.webhook_state).where(jobs_table.c.id == id)))

    for _ in range(2):
        assert of_job() == "waiting"
        with database.write() as connection, pytest.raises(UnderstudyError, match="being sent"):
            webhooks.send_again(connection, database.now(connection), connection.execute(select(deliveries)).one())
        make_due(database)
        webhooks.Deliveries(database, allowed).deliver_due()
    assert (of_job(), state(database).status, state(database).tries) == ("failed", 503, 2)
    with database.write() as connection:
        webhooks.send_again(connection, database.now(connection), connection.execute(select(deliveries)).one())
    webhooks.Deliveries(database, allowed).deliver_due()
    assert (of_job(), state(database).status, state(database).tries) == ("delivered", 200, 1)
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1


def test_it_is_called_for_the_ends_that_were_asked_for(database: Database, settings: ServerSettings):
    owner = owners.ensure_owner(database, "ada")
    with database.write() as connection:
        values: dict[str, Any] = {"name": "song", "request": {}, "webhook": "https://example.org", "priority": 0}
        for events in ("failed", "failed cancelled"):
            jobs.submit(connection, 0.0, owner, "cover", webhook_events=events, **values)
        for row in connection.execute(select(jobs_table)).all():
            jobs.cancel(connection, 1.0, row)
        found = {row.webhook_events: row.webhook_state for row in connection.execute(select(jobs_table))}
        assert found == {"failed": "unwanted", "failed cancelled": "waiting"}
        assert json.loads(connection.scalars(select(deliveries.c.body)).one())["type"] == "cover.cancelled"


def test_it_is_tried_again_with_longer_pauses_and_then_given_up(database, allowed, receiver: Receiver):
    receiver.statuses = [500, 302]
    end_a_job(database, allowed, receiver.url)
    webhooks.Deliveries(database, allowed).deliver_due()
    assert (state(database).state, state(database).error) == ("waiting", "it answered 500")
    assert webhooks.Deliveries(database, allowed).deliver_due() == 0, "not before its time"
    make_due(database)
    webhooks.Deliveries(database, allowed).deliver_due()
    assert (state(database).state, state(database).error) == ("failed", "it answered 302")
    make_due(database)
    assert webhooks.Deliveries(database, allowed).deliver_due() == 0
    assert len(receiver.got) == 2


def test_an_owner_whose_receivers_hang_delays_nobody_else(database, allowed, monkeypatch):
    urls = [f"http://127.0.0.1/hangs/{number}" for number in range(webhooks.SHARE + 1)]
    for url in urls:
        end_a_job(database, allowed, url)
    end_a_job(database, allowed, "http://127.0.0.1/answers", "bea")
    begun, go = Semaphore(0), Event()
    sent: list[str] = []

    def send(url: str, *_: object) -> tuple[int, None]:
        sent.append(url)
        if "hangs" in url:
            begun.release()
            assert go.wait(HANGS)
        return 200, None

    monkeypatch.setattr(webhooks, "_send", send)
    sending = webhooks.Deliveries(database, allowed)
    with ThreadPoolExecutor(webhooks.SHARE) as pool:
        try:
            hanging = [pool.submit(sending.deliver_due) for _ in range(webhooks.SHARE)]
            for _ in hanging:
                begun.acquire()
            assert sending.deliver_due() == 1
            assert sent[-1].endswith("answers"), "the owner's share is used up, and no place of another's"
        finally:
            go.set()
        assert sum(one.result() for one in hanging) == webhooks.SHARE + 1
    assert sorted(sent) == sorted([*urls, "http://127.0.0.1/answers"]), "each once"


def test_a_name_server_that_never_answers_costs_a_try_and_no_more(database, allowed, monkeypatch):
    answer, real = Event(), socket.getaddrinfo

    def resolve(host, port, family=0, type=0, proto=0, flags=0):
        if host == "silent.example" and not flags & socket.AI_NUMERICHOST:
            assert answer.wait(HANGS)
        return real("127.0.0.1", port, family, type, proto, flags)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    end_a_job(database, allowed, "http://silent.example/")
    webhooks.Deliveries(database, allowed.model_copy(update={"webhook_seconds": 0.1})).deliver_due()
    answer.set()
    assert "no name server says in time" in state(database).error


def test_a_target_that_is_down(database, allowed):
    end_a_job(database, allowed, "http://127.0.0.1:9/")
    webhooks.Deliveries(database, allowed).deliver_due()
    assert state(database).state == "waiting"
    assert "refused" in state(database).error


def test_a_name_that_was_bound_to_a_private_address_meanwhile(database, settings, receiver: Receiver):
    end_a_job(database, settings, receiver.url.replace("127.0.0.1", "localhost"))
    webhooks.Deliveries(database, settings).deliver_due()
    assert state(database).error == PRIVATE
    assert receiver.got == []


def test_what_is_checked_is_what_is_called(database, allowed, receiver: Receiver, monkeypatch):
    """A name server that answers differently the second time changes nothing."""
    answers = iter(["127.0.0.1", "10.0.0.1"])
    real = socket.getaddrinfo

    def resolve(host, port, family=0, type=0, proto=0, flags=0):
        asks = host == "tricky.example" and not flags & socket.AI_NUMERICHOST
        return real(next(answers) if asks else host, port, family, type, proto, flags)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    end_a_job(database, allowed, receiver.url.replace("127.0.0.1", "tricky.example"))
    webhooks.Deliveries(database, allowed).deliver_due()
    assert state(database).state == "delivered"
    assert receiver.got[0][0]["Host"].startswith("tricky.example")


IN_A_NETWORK = ("unshare", "--map-root-user", "--net", "--mount")


def may_have_a_network() -> bool:
    return (
        shutil.which("unshare") is not None
        and not subprocess.run([*IN_A_NETWORK, "true"], capture_output=True).returncode
    )


@pytest.mark.skipif(not may_have_a_network(), reason="this system lets no process have a network of its own")
def test_real_names_and_servers_that_lead_inside(tmp_path: Path):
    """Names that are bound anew, redirects, and addresses of both kinds, with a resolver and web servers."""
    command = [*IN_A_NETWORK, sys.executable, "-m", "tests.support.own_network", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=without_settings(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    came = json.loads(done.stdout)
    assert came["outcomes"] == {
        "honest.example": "delivered",
        "redirecting.example": "it answered 307",
        "rebound.example": PRIVATE,
        "rebound-while-sending.example": "delivered",
        "both.example": PRIVATE,
        "metadata.example": PRIVATE,
        "translated.example": PRIVATE,
    }
    assert came["public"] == ["honest.example", "redirecting.example", "rebound-while-sending.example"]
    assert came["private"] == []
    assert came["asked"]["rebound-while-sending.example"] == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://0.0.0.0/",
        "http://169.254.169.254/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::127.0.0.1]/",
        "http://0x7f.1/",
        "http://127.1/",
        "http://1.1.1.1:22/",
        "https://1.1.1.1:6379/",
        "gopher://example.org/",
        "http:///x",
        "http://exa mple/",
        "http://a:99999/",
    ],
)
def test_addresses_that_are_refused(url: str):
    with pytest.raises(UnderstudyError) as caught:
        webhooks.check(url, ServerSettings())
    assert caught.value.code == "webhook-refused"


def test_addresses_that_are_taken():
    for url in ("https://1.1.1.1/x", "http://1.1.1.1", "https://1.1.1.1:8443/"):
        webhooks.check(url, ServerSettings())
    webhooks.check("http://10.1.2.3:9000/x", ServerSettings(webhook_networks=("10.0.0.0/8",)))
    webhooks.check("http://1.1.1.1:9000/x", ServerSettings(webhook_ports=(9000,)))
    with pytest.raises(UnderstudyError):
        webhooks.check("http://1.1.1.1:9000/x", ServerSettings(webhook_networks=("10.0.0.0/8",)))
