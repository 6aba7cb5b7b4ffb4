"""The clients, as they were generated from the document of this API and built, against a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import pytest
import soundfile

from tests.services.api.conftest import Sounds, Working
from understudy import __version__
from understudy.services.queue.webhooks import sign

CLIENTS = Path(__file__).parents[3] / "clients"


@pytest.fixture(scope="module")
def client(working: Working) -> Iterator[ModuleType]:
    """The package of the Python client."""
    if not (CLIENTS / "openapi.json").exists():
        pytest.skip("the clients aren't built; 'make clients' does it, and CI")
    built = json.loads((CLIENTS / "openapi.json").read_text())
    assert built == json.loads(json.dumps(working.app.openapi())), "the API has changed: make clients"
    sys.path.insert(0, str(CLIENTS / "python/src"))
    import understudy_client

    yield understudy_client
    sys.path.remove(str(CLIENTS / "python/src"))


class Breaking(httpx.BaseTransport):
    """Loses the first connection of each address that ends in one of `ends`, after its first bytes; with ``PATCH``
    among them that of the first piece of an upload, before its last bytes."""

    def __init__(self, inner: httpx.BaseTransport, *ends: str) -> None:
        self.inner, self.ends = inner, list(ends)
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.method == "PATCH" and "PATCH" in self.ends:
            self.ends.remove("PATCH")
            sent = request.stream
            assert isinstance(sent, httpx.SyncByteStream)

            def beginning() -> Iterator[bytes]:
                yield from list(sent)[:-1]
                raise httpx.WriteError("lost")

            stream, extensions = Part(beginning()), request.extensions
            request = httpx.Request("PATCH", request.url, headers=request.headers, stream=stream, extensions=extensions)
        answer = self.inner.handle_request(request)
        end = request.url.path.rpartition("/")[2]
        if end in self.ends:
            self.ends.remove(end)
            whole = answer.stream
            assert isinstance(whole, httpx.SyncByteStream)

            def part() -> Iterator[bytes]:
                yield next(iter(whole))
                whole.close()
                raise httpx.ReadError("lost")

            return httpx.Response(answer.status_code, headers=answer.headers, stream=Part(part()))
        return answer


class Part(httpx.SyncByteStream):
    def __init__(self, blocks: Iterator[bytes]) -> None:
        self.blocks = blocks

    def __iter__(self) -> Iterator[bytes]:
        return self.blocks


@pytest.mark.slow
def test_a_cover_with_the_python_client(
    client: ModuleType, working: Working, address: str, sounds: Sounds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from understudy_client.openapi.api.account import show_choices
    from understudy_client.openapi.api.covers import list_covers
    from understudy_client.openapi.models import CoverSettings, RemixSettings

    with client.Understudy(address) as server:
        breaking = Breaking(server._http._transport, "events", "audio", "PATCH")
        monkeypatch.setattr(server._http, "_transport", breaking)
        song = server.upload_song(sounds["song"])
        assert working.client.get(song.audio).content == sounds["song"].read_bytes()
        pieces = [request for request in breaking.requests if request.method == "PATCH"]
        assert [piece.headers["Upload-Offset"] for piece in pieces][:1] == ["0"]
        assert len(pieces) > 1
        events: list[Any] = []
        made = server.make_cover(song, "nova", CoverSettings(remix=RemixSettings(vocal_gain=2.0)), preset="embedded")
        cover = server.wait(made, events.append)
        assert (cover.id, cover.state, cover.result.duration) == (made.id, "done", pytest.approx(2.0))
        assert (cover.settings.remix.vocal_gain, cover.settings.transpose) == (2.0, "auto")
        assert [event.number for event in events] == sorted({event.number for event in events})
        assert (events[0].data["state"], events[-1].data["state"]) == ("queued", "done")
        saved = server.download(cover.audio, tmp_path)
        assert (saved.name, soundfile.info(saved).format) == (cover.audio.name, "FLAC")
        assert saved.read_bytes() == working.client.get(cover.audio.href).content
        assert list(tmp_path.iterdir()) == [saved]
        (ranged,) = (request for request in breaking.requests if "Range" in request.headers)
        assert ranged.headers["If-Range"].startswith('"')
        listed = [one.id for one in server.every(list_covers.sync, state="done")]
        assert listed[0] == cover.id
        presets = {one.name: one.settings for one in client.ok(show_choices.sync(client=server.api)).presets}
        assert presets["embedded"].separation.inference.precision in ("auto", "float32")


@pytest.mark.slow
def test_the_example(
    client: ModuleType, address: str, sounds: Sounds, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    from examples.cover_over_http import main

    saved = tmp_path / "cover.flac"
    main(str(sounds["song"]), str(sounds["recording"]), str(saved), address)
    assert capsys.readouterr().out.splitlines()[-1] == str(saved)
    assert soundfile.info(saved).duration == pytest.approx(2.0)


def test_what_the_python_client_raises(client: ModuleType, address: str, sounds: Sounds):
    from understudy_client.openapi.models import CoverSettings, SongSettings

    with client.Understudy(address) as server:
        with pytest.raises(client.ApiError) as refused:
            server.make_cover(sounds["song"], "nobody")
        assert (refused.value.status, refused.value.code) == (404, "voice-unknown")
        assert "nobody" in refused.value.detail
        assert refused.value.hint
        after_the_end = CoverSettings(song=SongSettings(start=60.0))
        with pytest.raises(client.JobFailed) as failed:
            server.wait(server.make_cover(sounds["song"], "nova", after_the_end))
        assert failed.value.job.state == "failed"
        assert failed.value.job.error.message in str(failed.value)


def test_an_upload_of_the_python_client_that_fails_leaves_nothing(
    client: ModuleType,
    working: Working,
    address: str,
    sounds: Sounds,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    def stored() -> float:
        return float(working.client.get("/v1/account").json()["usage"]["storage_bytes"])

    class Gone(httpx.BaseTransport):
        """The upload is held for a while, then the server is gone."""

        requests = 0

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            self.requests += 1
            assert self.requests < 50
            if not 1 < self.requests < 12:
                raise httpx.ConnectError("gone")
            if request.method == "GET":
                return httpx.Response(200, json={"received": 0})
            return httpx.Response(423, json={"code": "upload-busy"})

    (tmp_path / "noise").write_bytes(b"noise" * 100)
    before = stored()
    with client.Understudy(address) as server:
        with pytest.raises(client.ApiError) as refused:
            server.upload_song(tmp_path / "noise")
        assert (refused.value.code, stored()) == ("not-audio", before)
        monkeypatch.setattr("understudy_client.client.time", SimpleNamespace(sleep=lambda seconds: None))
        inner, busy = server._http._transport, [httpx.Response(423, json={"code": "upload-busy"})]

        class Busy(httpx.BaseTransport):
            """The first request for a song is still being carried out."""

            def handle_request(self, request: httpx.Request) -> httpx.Response:
                return busy.pop() if busy and request.url.path == "/v1/songs" else inner.handle_request(request)

        monkeypatch.setattr(server._http, "_transport", Busy())
        assert server.upload_song(sounds["song"]).name == sounds["song"].name
        monkeypatch.setattr(server._http, "_transport", Gone())
        with pytest.raises(httpx.ConnectError):
            server._send_pieces(tmp_path / "noise", 500, "/v1/uploads/a")


def test_the_python_client_verifies_the_message_of_a_webhook(client: ModuleType):
    message: dict[str, Any] = {
        "type": "cover.done",
        "id": "cover_1",
        "state": "done",
        "error": None,
        "finished": 1.5,
        "metadata": {},
    }
    body = json.dumps(message)
    secret = "whsec_" + "A" * 32
    headers = sign([secret], "delivery_1", int(time.time()), body)
    assert client.verify_webhook(secret, headers, body.encode()).type_ == "cover.done"
    with pytest.raises(Exception, match=r"No matching signature"):
        client.verify_webhook(secret, headers, body.replace("done", "failed").encode())


@pytest.mark.slow
def test_a_cover_with_the_typescript_client(
    client: ModuleType, working: Working, address: str, sounds: Sounds, tmp_path: Path
):
    if not (CLIENTS / "typescript/dist/index.js").exists():
        pytest.skip("the TypeScript client isn't built: make clients")
    body, secret = json.dumps({"type": "cover.done", "id": "cover_1"}), "whsec_" + "A" * 32
    headers = sign([secret], "delivery_1", int(time.time()), body)
    environment = {**os.environ, "SIGNED": json.dumps({"secret": secret, "headers": headers, "body": body})}
    command = ["node", "tests/cover.mjs", address, str(sounds["song"]), str(tmp_path)]
    done = subprocess.run(command, cwd=CLIENTS / "typescript", env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    audio = working.client.get(f"/v1/covers/{told['id']}/audio")
    assert Path(told["saved"]).read_bytes() == audio.content
    assert list(tmp_path.iterdir()) == [Path(told["saved"])]
    ((part, tag),) = told["ranges"]
    assert (part.startswith("bytes="), tag) == (True, audio.headers["etag"])
    assert told["offsets"] == ["0", "1000"]
    assert working.client.get(told["song"]).content == sounds["song"].read_bytes()
    assert told["numbers"] == sorted(set(told["numbers"]))
    assert (told["gain"], told["newest"], told["told"]) == (2.0, told["id"], "cover_1")
    assert (told["refused"], told["failed"]) == ([404, "voice-unknown"], "failed")


def test_the_clients_have_the_version_of_the_api():
    python = (CLIENTS / "python/src/understudy_client/version.py").read_text()
    assert f'"{__version__}"' in python
    assert json.loads((CLIENTS / "typescript/package.json").read_text())["version"] == __version__
