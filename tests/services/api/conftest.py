"""An API over an empty folder, a worker for it, and small songs whose sound is real."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import soundfile
import uvicorn
from starlette.testclient import TestClient

from tests.services.conftest import server_database
from tests.support import signals
from tests.support.command import HANGS, until
from understudy.services.api.app import make_app
from understudy.services.queue import owners, removals
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.worker import Worker

KEYS = ("read", "make", "voices", "delete")


@dataclass(frozen=True)
class Sounds:
    """Files: a song of two seconds with its stems, and a recording of a voice."""

    folder: Path

    def __getitem__(self, name: str) -> Path:
        return self.folder / f"{name}.wav"


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Sounds:
    folder = tmp_path_factory.mktemp("sounds")
    song = signals.song(2.0)
    for name, sound in (("song", song.mix), ("vocals", song.vocals), ("instrumental", song.instrumental)):
        soundfile.write(folder / f"{name}.wav", sound.samples.T, sound.rate, subtype="PCM_16")
    steps = zip((0, 2, 4, 5, 7, 5, 4, 2), "aeioaeiu", strict=True)
    sung, _ = signals.singing([signals.Note(45 + step, 0.8, vowel, "s") for step, vowel in steps], formants=0.9)
    soundfile.write(folder / "recording.wav", sung.samples.T, sung.rate, subtype="PCM_16")
    return Sounds(folder)


@dataclass(frozen=True)
class Service:
    """A running API. `client` asks as the one owner of an open server, or without a key."""

    settings: ServerSettings
    client: TestClient

    @property
    def app(self) -> Any:
        return self.client.app

    def key(self, owner: str, scopes: tuple[str, ...] = KEYS, **limits: float) -> dict[str, str]:
        """Headers with a new key."""
        made, _ = owners.create_key(self.app.state.services.database, owner, "test", scopes, limits)
        return {"Authorization": f"Bearer {made}"}

    def leftovers(self) -> list[Path]:
        """What uploads left on disk that they should not have."""
        return [
            path for path in (self.settings.data / "incoming").rglob("*") if path.suffix != ".lock" and path.is_file()
        ]

    def stored(self) -> list[str]:
        """What the storage has, once all that is noted for removal is gone."""
        removals.remove_due(self.app.state.services.database, self.app.state.services.storage)
        root = self.settings.data / "storage"
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


Start = Callable[..., Service]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts an API with the settings given, without a worker."""
    clients: list[TestClient] = []

    def begin(**settings: Any) -> Service:
        chosen = ServerSettings(**{"data": tmp_path / "data", "workers": 0, "device": "cpu", **settings})
        if chosen.keys:
            from understudy.services.queue.database import Database

            database = Database(chosen.database_url)
            owners.create_key(database, "first", "", KEYS)
            database.close()
        client = TestClient(make_app(chosen), "http://127.0.0.1", raise_server_exceptions=False)
        clients.append(client.__enter__())
        return Service(chosen, client)

    yield begin
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def service(start: Start, request: pytest.FixtureRequest) -> Service:
    """An open API without a worker, over PostgreSQL where it is installed."""
    return start(database=server_database(request))


@pytest.fixture
def guarded(start: Start, request: pytest.FixtureRequest) -> Service:
    """The same with keys."""
    return start(keys=True, database=server_database(request))


@dataclass(frozen=True)
class Working(Service):
    """A running API with a worker, and the voice ``nova``."""

    def wait(self, href: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """What is at `href` as soon as it waits and runs no more."""
        found: dict[str, Any] = {}

        def ended() -> bool:
            found.update(self.client.get(href, headers=headers).json())
            return found["state"] not in ("queued", "running", "making")

        until(ended, lambda: f"{href} takes too long")
        return found

    def cover(self, *, files: dict[str, Path], **fields: str) -> Any:
        opened = {name: (path.name, path.read_bytes()) for name, path in files.items()}
        return self.client.post("/v1/covers", data={"voice": "nova", **fields}, files=opened)


@pytest.fixture(scope="session")
def working(tmp_path_factory: pytest.TempPathFactory, sounds: Sounds) -> Iterator[Working]:
    """One for all tests of a process that may share it."""
    settings = ServerSettings(data=tmp_path_factory.mktemp("server"), workers=0, device="cpu")
    with TestClient(make_app(settings), "http://127.0.0.1", raise_server_exceptions=False) as client:
        worker = Worker(settings, "test")
        thread = Thread(target=worker.run, daemon=True)
        thread.start()
        service = Working(settings, client)
        recording = ("recording.wav", sounds["recording"].read_bytes())
        made = client.post("/v1/voices", data={"name": "nova", "consent": "self"}, files={"recordings": recording})
        assert made.status_code == 202, made.text
        assert service.wait(f"/v1/voices/{made.json()['id']}")["state"] == "ready"
        yield service
        worker.stopping.set()
        thread.join(HANGS)


@pytest.fixture(scope="session")
def address(working: Working) -> Iterator[str]:
    """Where `working` answers over TCP."""
    server = uvicorn.Server(uvicorn.Config(working.app, port=0, lifespan="off", log_level="warning"))
    assert working.client.portal is not None
    serving = working.client.portal.start_task_soon(server.serve)  # in the event loop of the application
    until(lambda: server.started)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    serving.result(HANGS)
