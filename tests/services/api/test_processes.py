"""The commands ``serve``, ``worker`` and ``keys`` as a user starts them, and a worker whose database goes away."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from tests.services.api.conftest import Sounds, Start, Working
from tests.support import old_database, postgres
from tests.support.command import COMMAND, HANGS, run_here, until, without_settings
from tests.support.server import serve
from understudy.services.api.app import make_app
from understudy.services.queue.migrations import newest
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.worker import Worker


def command(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = without_settings(UNDERSTUDY_SERVER_DATA=str(folder / "data"))
    return subprocess.Popen(
        [*COMMAND, *arguments], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_here(folder, without_settings(UNDERSTUDY_SERVER_DATA=str(folder / "data")), *arguments)


def answer(folder: Path, *arguments: str) -> dict[str, Any]:
    done = run(folder, *arguments, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_keys_are_made_listed_and_revoked(tmp_path: Path):
    made = answer(tmp_path, "keys", "create", "--owner", "shop", "--scopes", "read,make", "--limit", "jobs_queued=3")
    assert made["key"].startswith("us_")
    (listed,) = answer(tmp_path, "keys", "list")["keys"]
    assert (listed["owner"], listed["scopes"], listed["revoked"]) == ("shop", ["read", "make"], None)
    assert made["key"].rpartition("_")[2] not in json.dumps(listed)
    answer(tmp_path, "keys", "revoke", listed["id"])
    assert answer(tmp_path, "keys", "list")["keys"][0]["revoked"]
    for wrong in (
        ("revoke", "none"),
        ("create", "--owner", "x", "--scopes", "all"),
        ("create", "--owner", "x", "--limit", "a=b"),
    ):
        done = run(tmp_path, "keys", *wrong)
        assert done.returncode == 1
        assert done.stderr.startswith("Error: ")
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_serving_on_other_addresses_needs_keys(tmp_path: Path):
    process = command(tmp_path, "serve", "--host", "0.0.0.0", "--port", "0")
    _, err = process.communicate(timeout=HANGS)
    assert process.returncode == 1
    assert "There is no API key" in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_server_works_in_a_folder_with_packages_of_the_same_names(tmp_path: Path, sounds: Sounds):
    for name in ("audio", "configs", "models", "pipeline", "services", "voices"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('this is a package of another project')")
    with serve(tmp_path, "--device", "cpu") as server:
        song = {"song": ("song.wav", sounds["song"].read_bytes())}
        job = httpx.post(f"{server.address}/v1/separations", files=song, timeout=HANGS).json()

        def ended() -> bool:
            state = httpx.get(f"{server.address}/v1/separations/{job['id']}", timeout=HANGS).json()["state"]
            assert state in ("queued", "running", "done"), server.log.read_text()
            return bool(state == "done")

        until(ended)


def test_an_older_database_is_refused_and_upgraded(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'old.sqlite3'}"
    old_database.make(url)
    for refused in (("serve",), ("worker",), ("keys", "list")):
        done = run(tmp_path, *refused, "--database", url)
        assert done.returncode == 1
        assert "understudy database upgrade" in done.stderr
        assert "Traceback" not in done.stderr
    assert answer(tmp_path, "database", "upgrade", "--database", url) == {"version": newest()}
    (key,) = answer(tmp_path, "keys", "list", "--database", url)["keys"]
    assert (key["owner"], key["name"]) == ("ada", "backend")


@contextmanager
def slow_upload(url: str) -> Iterator[socket.socket]:
    """A connection on which the beginning of a song was sent, and from which the rest won't come."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), HANGS) as connection:
        part = b'--b\r\nContent-Disposition: form-data; name="song"; filename="song.wav"\r\n\r\n'
        head = "POST /v1/separations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 20000000\r\n"
        connection.sendall(head.encode() + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + part)
        connection.sendall(b"0" * (3 << 20))
        yield connection


@pytest.mark.slow
def test_a_killed_worker_with_a_name_starts_again(tmp_path: Path):
    scratch = tmp_path / "data" / "scratch"
    ends = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]
    for end in ends:
        process = command(tmp_path, "worker", "--name", "gpu-0")
        assert process.stderr is not None
        assert any(json.loads(line)["message"] == "worker ready" for line in process.stderr)
        process.send_signal(end)
        process.communicate(timeout=HANGS)
        if end == signal.SIGTERM and list(scratch.iterdir()) and len(ends) < 9:
            ends.append(signal.SIGTERM)  # a child of a killed one may hold its folder for a moment
    assert process.returncode == 0
    assert list(scratch.iterdir()) == []


@pytest.mark.slow
def test_a_server_starts_with_its_worker_and_ends_in_order(tmp_path: Path):
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / "server.sqlite3"
    old_database.make(f"sqlite:///{file}")
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript("DELETE FROM events; DELETE FROM jobs; DELETE FROM deliveries;")
    process = command(tmp_path, "serve", "--port", "0", "--migrate")
    assert process.stderr is not None
    url = ""
    for line in process.stderr:
        found = json.loads(line)
        if found["message"] == "serving":
            url = found["url"]
        if found["message"] == "worker ready":
            break
    assert json.load(urllib.request.urlopen(f"{url}/readyz")) == {"status": "ok"}
    taken = command(tmp_path, "serve", "--port", url.rpartition(":")[2])
    _, err = taken.communicate(timeout=HANGS)
    assert taken.returncode == 1
    assert "can't be bound" in err
    with slow_upload(url) as upload:
        until(lambda: any(path.suffix != ".lock" for path in (tmp_path / "data" / "incoming").glob("*/*")))
        process.send_signal(signal.SIGTERM)
        status, _, body = upload.makefile("rb").read().decode().partition("\r\n")
    assert status == "HTTP/1.1 503 Service Unavailable"
    assert json.loads(body.partition("\r\n\r\n")[2])["code"] == "server-stopping"
    _, err = process.communicate(timeout=HANGS)
    assert process.returncode == 0
    assert "Traceback" not in err
    assert list((tmp_path / "data" / "scratch").iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(postgres.programs() is None, reason="PostgreSQL isn't installed")
def test_a_database_that_goes_away_for_a_while_costs_nothing(
    tmp_path: Path, sounds: Sounds, caplog: pytest.LogCaptureFixture
):
    with postgres.server() as folder:
        settings = ServerSettings(
            data=tmp_path / "server", database=postgres.url(folder), workers=0, device="cpu", lease=3
        )
        with TestClient(make_app(settings), "http://127.0.0.1", raise_server_exceptions=False) as client:
            worker = Worker(settings, "patient")
            thread = Thread(target=worker.run, daemon=True)
            thread.start()
            files = {"song": ("song.wav", sounds["song"].read_bytes())}
            places = [client.post("/v1/separations", files=files).headers["location"] for _ in range(3)]
            postgres.control(folder, "stop")
            away = client.post("/v1/separations", files=files)
            assert (away.status_code, away.json()["code"]) == (503, "database-unavailable")
            assert client.get("/readyz").status_code == 503
            # the worker has met it, too: between two jobs or at the end of one
            until(lambda: "waiting:" in caplog.text or "can't be stored yet" in caplog.text)
            postgres.control(folder, "start")
            service = Working(settings, client)
            assert [service.wait(place)["state"] for place in places] == ["done"] * 3
            worker.stopping.set()
            thread.join(HANGS)


@pytest.mark.slow
def test_everything_can_be_deleted_while_work_is_under_way(start: Start, sounds: Sounds):
    service = start()
    worker = Worker(service.settings, "w")
    thread = Thread(target=worker.run, daemon=True)
    thread.start()
    files = {"song": ("song.wav", sounds["song"].read_bytes())}
    for _ in range(3):
        place = service.client.post("/v1/separations", files=files).headers["location"]
    while service.client.get("/v1/separations?state=running").json()["items"] == []:
        assert service.client.get(place).json()["state"] == "queued"
    assert service.client.delete("/v1/account/everything").status_code == 204
    again = service.client.post("/v1/separations", files=files).headers["location"]
    assert Working(service.settings, service.client).wait(again)["state"] == "done"
    worker.stopping.set()
    thread.join(HANGS)
    left = service.client.get("/v1/separations").json()["items"]
    assert [job["state"] for job in left] == ["done"]
    assert all("songs" in name or left[0]["id"] in name for name in service.stored())
