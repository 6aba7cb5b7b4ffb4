"""The whole way with PostgreSQL and an S3 store, and with the processes that a user starts."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from tests.services.api.conftest import Sounds, Working
from tests.services.api.test_requests import refused
from tests.support import postgres, s3
from tests.support.command import HANGS
from understudy.pipeline.shared_store import SharedStore, StoreAddress
from understudy.services.api.app import make_app
from understudy.services.queue import housekeeping, removals
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.tables import events, uploads
from understudy.services.queue.tables import removals as noted
from understudy.services.queue.worker import Worker

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.skipif(postgres.programs() is None, reason="PostgreSQL isn't installed")
@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("moto", "s3fs", "flask")), reason="moto or s3fs isn't installed"
)
def test_a_cover_with_postgresql_and_s3(tmp_path: Path, sounds: Sounds):
    with postgres.server() as socket, s3.server() as address:
        settings = ServerSettings(
            data=tmp_path / "server",
            database=postgres.url(socket),
            storage="s3://understudy/covers",
            storage_options={"key": "k", "secret": "s", "endpoint_url": address},
            store="s3://understudy/artifacts",
            store_options={"key": "k", "secret": "s", "endpoint_url": address},
            workers=0,
            device="cpu",
        )
        app = make_app(settings)
        with TestClient(app, "http://127.0.0.1", raise_server_exceptions=False) as client:
            # a machine of its own: it shares no folder with the server
            worker, thread = _machine(settings, tmp_path / "elsewhere")
            service = Working(settings, client)
            files = {"recordings": ("r.wav", sounds["recording"].read_bytes())}
            made = client.post("/v1/voices", data={"name": "nova", "consent": "self"}, files=files)
            assert service.wait(made.headers["location"])["state"] == "ready"
            _check_presigned_upload(client, sounds)
            done = service.wait(service.cover(files={"song": sounds["song"]}).headers["location"])
            assert done["state"] == "done", done["error"]
            cover = client.get(done["audio"]["href"])
            assert len(cover.content) == done["audio"]["bytes"]
            part = client.get(done["audio"]["href"], headers={"Range": "bytes=1000-1999"})
            assert (part.status_code, part.content) == (206, cover.content[1000:2000])
            storage = app.state.services.storage
            assert len(list(storage.listed())) > 4
            assert housekeeping.sweep_orphans(app.state.services.database, storage, -60) == 0
            worker.stopping.set()
            thread.join(HANGS)

            # another machine makes nothing again that this one has made
            worker, thread = _machine(settings, tmp_path / "third")
            louder = service.cover(files={"song": sounds["song"]}, settings='{"remix": {"vocal_gain": 3}}')
            done = service.wait(louder.headers["location"])
            assert done["state"] == "done", done["error"]
            with app.state.services.database.read() as connection:
                told = [row.data for row in connection.execute(select(events).where(events.c.job == done["id"]))]
            states = {
                state: {one["stage"] for one in told if one.get("state") == state} for state in ("cached", "finished")
            }
            assert {"separate", "convert"} <= states["cached"], states
            assert "remix" in states["finished"]
            assert not {"decode", "separate", "pitch", "convert", "finish"} & states["finished"]

            assert client.delete("/v1/account/everything").status_code == 204
            removals.remove_due(app.state.services.database, storage)
            assert list(storage.listed()) == []
            housekeeping.sweep_machine(app.state.services.database, storage, settings)
            shared = SharedStore(StoreAddress(settings.store, settings.store_options), tmp_path / "copies")
            assert shared.owners() == []
            worker.stopping.set()
            thread.join(HANGS)


def _check_presigned_upload(client: TestClient, sounds: Sounds) -> None:
    """A song that its sender brings to the store itself."""
    app, content = client.app.state.services, sounds["song"].read_bytes()  # type: ignore[attr-defined]
    wanted = {"name": "Song.wav", "bytes": len(content)}
    refused(client.post("/v1/uploads/presigned", json=wanted), 422, "presigned-off")
    app.settings = app.settings.model_copy(update={"presigned_seconds": 600})
    upload = client.post("/v1/uploads/presigned", json=wanted).json()
    assert "content-length" in parse_qs(urlsplit(upload["url"]).query)["X-Amz-SignedHeaders"][0]
    refused(client.post("/v1/songs", json={"upload": upload["id"]}), 409, "upload-incomplete")
    httpx.put(upload["url"], content=content).raise_for_status()
    assert client.get(f"/v1/uploads/{upload['id']}").json()["received"] == len(content)
    song = client.post("/v1/songs", json={"upload": upload["id"]}).json()
    removals.remove_due(app.database, app.storage)
    httpx.put(upload["url"], content=content).raise_for_status()  # once more, for nothing
    app.settings = app.settings.model_copy(update={"presigned_seconds": 0})
    assert (song["name"], client.get(song["audio"]).content) == ("Song.wav", content)
    assert client.delete(f"/v1/songs/{song['id']}").status_code == 204

    # one that is no sound, and is never used
    app.settings = app.settings.model_copy(update={"presigned_seconds": 600})
    upload = client.post("/v1/uploads/presigned", json={"name": "a.wav", "bytes": 5}).json()
    httpx.put(upload["url"], content=b"noise").raise_for_status()
    refused(client.post("/v1/songs", json={"upload": upload["id"]}), 422, "not-audio")
    with app.database.write() as connection:
        connection.execute(uploads.update().values(expires=0))
        connection.execute(noted.update().values(due=0))  # the address of the first has ended
    app.settings = app.settings.model_copy(update={"presigned_seconds": 0})
    housekeeping.sweep(app.database, app.settings)
    removals.remove_due(app.database, app.storage)
    assert not [name for name, _ in app.storage.listed() if "/uploads/" in name or "/songs/" in name]


def _machine(settings: ServerSettings, data: Path) -> tuple[Worker, Thread]:
    worker = Worker(settings.model_copy(update={"data": data}), data.name)
    thread = Thread(target=worker.run, daemon=True)
    thread.start()
    return worker, thread


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
def test_kills_lose_nothing_and_do_nothing_twice():
    command = [sys.executable, "benchmarks/server.py", "kills", "--kills", "2", "--jobs", "3", "--pause", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    figures = json.loads(done.stdout)
    assert figures["ok"], done.stdout + done.stderr
    assert figures["jobs"] == {"done": 3}
