"""A server below a path, behind nginx: everything is found there, and nobody hides behind the proxy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.services.api.conftest import KEYS, Sounds
from tests.support.command import HANGS
from tests.support.proxy import NGINX, nginx
from tests.support.server import serve
from understudy.services.queue import owners
from understudy.services.queue.database import Database
from understudy.services.queue.settings import ServerSettings
from understudy.services.web.page import STATIC

pytestmark = [pytest.mark.slow, pytest.mark.skipif(NGINX is None, reason="no nginx is installed; CI installs one")]
PATH = "/covers/by/understudy"


@dataclass(frozen=True)
class Proxied:
    """The server's own address, and those of proxies that leave the path in the request or take it away."""

    direct: str
    keeps: str
    removes: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    folder = tmp_path_factory.mktemp("proxied")
    database = Database(ServerSettings(data=folder / "data").database_url)
    key, _ = owners.create_key(database, "ada", "", KEYS)
    database.close()
    (folder / "server.yaml").write_text("proxies: [127.0.0.1]\n")
    options = ("--keys", "--workers", "0", "--config", str(folder / "server.yaml"), "--root-path", PATH)
    with serve(folder, *options) as running, nginx(folder, running.address, PATH) as (keeps, removes):
        yield Proxied(running.address, keeps, removes, key)


@pytest.mark.parametrize("proxy", ["keeps", "removes"])
def test_what_the_api_names_is_found(proxied: Proxied, proxy: str, sounds: Sounds):
    base = getattr(proxied, proxy)
    root = base.removesuffix(PATH)
    with httpx.Client(headers=proxied.headers, timeout=HANGS) as client:
        song = {"song": ("song.wav", sounds["song"].read_bytes())}
        made = client.post(f"{base}/v1/separations", files=song)
        job = made.json()
        assert made.headers["location"] == f"{PATH}/v1/separations/{job['id']}"
        assert client.get(root + made.headers["location"]).json()["id"] == job["id"]
        with client.stream("GET", root + job["events"]) as events:
            assert next(line for line in events.iter_lines() if line.startswith("event:")) == "event: state"
        (uploaded, *_) = client.get(f"{base}/v1/songs").json()["items"]
        assert client.get(root + uploaded["audio"]).content == sounds["song"].read_bytes()
        assert client.get(f"{base}/openapi.json").json()["servers"] == [{"url": PATH}]
        assert client.get(f"{base}/healthz").json() == {"status": "ok"}
        session = client.post(f"{base}/v1/session", json={"key": proxied.key}).headers["set-cookie"]
    assert f"Path={PATH}/" in session
    assert "Secure" in session, "the proxy says that its client came by HTTPS"


@pytest.mark.skipif(not STATIC.is_dir(), reason="the page isn't built")
@pytest.mark.parametrize("proxy", ["keeps", "removes"])
def test_the_page_finds_its_files(proxied: Proxied, proxy: str):
    base = getattr(proxied, proxy)
    for page in ("/", "/docs"):
        answer = httpx.get(base + page, timeout=HANGS)
        named = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
        assert len(named) >= 3
        for name in named:
            assert httpx.get(answer.url.join(name), timeout=HANGS).status_code == 200, name
    assert httpx.get(base, timeout=HANGS).headers["location"].endswith(f"{PATH}/")


def test_an_address_that_a_client_makes_up_dodges_no_limit(proxied: Proxied):
    """The proxy appends the address that it sees; from others, nothing is believed."""
    wrong = {"Authorization": "Bearer us_wrong_0"}
    for base, address in ((proxied.removes, "127.0.0.2"), (proxied.direct, "127.0.0.3")):
        transport = httpx.HTTPTransport(local_address=address)
        with httpx.Client(headers=wrong, transport=transport, timeout=HANGS) as client:
            made_up = [
                {"X-Forwarded-For": f"198.51.{number}.7", "X-Real-IP": f"10.0.0.{number}"} for number in range(60)
            ]
            statuses = [client.get(f"{base}/v1/songs", headers=headers).status_code for headers in made_up]
        assert statuses[:30] == [401] * 30
        assert 429 in statuses[30:]
    # from the proxy's own host any address is believed, but no more than ten clients guess through it
    with httpx.Client(headers=wrong, timeout=HANGS) as client:
        statuses = [
            client.get(f"{proxied.direct}/v1/songs", headers={"X-Forwarded-For": f"198.52.{number}.7"}).status_code
            for number in range(302)
        ]
    assert (statuses[0], statuses[-1]) == (401, 429)
