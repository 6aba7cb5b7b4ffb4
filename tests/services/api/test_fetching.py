"""Songs that the server fetches by their URL."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

import pytest

from tests.services.api.conftest import Service, Sounds, Start
from tests.services.api.test_requests import refused


class Files(BaseHTTPRequestHandler):
    """Serves `song` in the ways that servers do, by path."""

    song = b""
    asked: ClassVar[list[str]] = []

    server: ThreadingHTTPServer

    def do_GET(self) -> None:
        Files.asked.append(f"{self.headers['Host'].partition(':')[0]}{self.path}")
        redirects = {
            "/moved": "/songs/My%20song.mp3?v=1",
            "/inside": f"http://127.0.0.2:{self.server.server_port}/songs/a.wav",
            "/file": "file:///etc/passwd",
            "/loop": "/loop",
        }
        if target := redirects.get(self.path):
            self.send_response(302)
            self.send_header("Location", target)
            self.end_headers()
            return
        self.send_response(404 if self.path == "/gone" else 200)
        self.send_header("Content-Type", "text/html; charset=utf-8" if self.path == "/page" else "audio/mpeg")
        if self.path == "/named":
            self.send_header("Content-Disposition", "attachment; filename*=UTF-8''%C3%96l.wav")
        body = b"noise" * 1000 if self.path == "/noise" else Files.song
        if self.path != "/unsized":
            self.send_header("Content-Length", str(len(body) + (self.path == "/cut")))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def address(sounds: Sounds) -> Iterator[str]:
    """Of a server of `Files`."""
    Files.song = sounds["song"].read_bytes()
    Files.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_song_is_fetched_in_bounds(start: Start, address: str, monkeypatch: pytest.MonkeyPatch):
    song = Files.song
    service = start(song_urls=True, webhook_networks=("127.0.0.1/32",), song_bytes=len(song) + 1)

    def post(path: str, at: str = address, **headers: str):
        return service.client.post("/v1/songs", json={"url": at + path}, headers=headers)

    for path, name in {"/moved": "My song.mp3", "/named": "Öl.wav", "/unsized": "unsized"}.items():
        made = post(path)
        assert (made.status_code, made.json()["name"], made.json()["bytes"]) == (201, name, len(song)), made.text
    assert service.client.get(made.json()["audio"]).content == song
    for path, code, detail in (
        ("/inside", "url-refused", "private"),
        ("/file", "url-refused", "http or https"),
        ("/loop", "url-failed", "redirects more than 5 times"),
        ("/gone", "url-failed", "answers 404"),
        ("/page", "url-failed", "text/html"),
        ("/cut", "url-failed", "broke off"),
        ("/noise", "not-audio", "noise"),
    ):
        assert detail in refused(post(path), 422, code)["detail"]
    assert not any(name.startswith("127.0.0.2") for name in Files.asked)
    Files.song = song + b"xx"
    for path in ("/sized", "/unsized"):
        refused(post(path), 413, "file-too-big")
    Files.song = song
    kept = post("/once", **{"Idempotency-Key": "one"})
    Files.asked.clear()
    again = post("/once", **{"Idempotency-Key": "one"})
    assert (again.json(), again.headers["idempotent-replayed"], Files.asked) == (kept.json(), "true", [])

    # the name is looked up once: what was checked is what is called
    answers, real = iter(["127.0.0.1", "127.0.0.2"]), socket.getaddrinfo

    def resolve(host, port, family=0, type=0, proto=0, flags=0):
        asks = host == "tricky.example" and not flags & socket.AI_NUMERICHOST
        return real(next(answers) if asks else host, port, family, type, proto, flags)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert post("/a.wav", address.replace("127.0.0.1", "tricky.example")).status_code == 201
    assert Files.asked == ["tricky.example/a.wav"]
    assert len(service.stored()) == 5
    assert service.leftovers() == []


def test_a_slow_server_costs_its_time_and_no_more(start: Start):
    service = start(song_urls=True, webhook_networks=("127.0.0.1/32",), song_url_seconds=0.3)

    def post(url: object):
        return service.client.post("/v1/songs", json={"url": url})

    silent = socket.create_server(("127.0.0.1", 0))
    answer = post(f"http://127.0.0.1:{silent.getsockname()[1]}/song.mp3")
    silent.close()
    assert "too long" in refused(answer, 422, "url-failed")["detail"]
    refused(post("http://169.254.169.254/latest"), 422, "url-refused")
    refused(post("ftp://1.1.1.1/a"), 422, "url-refused")
    refused(post(1), 422, "request-invalid")
    assert service.leftovers() == []


def test_it_is_off_by_default(service: Service):
    answer = service.client.post("/v1/songs", json={"url": "https://1.1.1.1/a.mp3"})
    refused(answer, 422, "song-urls-off")
