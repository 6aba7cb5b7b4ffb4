"""Training a voice over HTTP: what is refused, what can be done with a training, and a real one to its end."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
from sqlalchemy import update

from tests.services.api.conftest import Service, Sounds, Start, Working
from tests.services.api.test_covers import events
from tests.services.api.test_requests import refused
from tests.support import signals
from tests.support.command import HANGS, until
from tests.support.server import Serving, serve
from understudy.services.queue import claims, jobs
from understudy.services.queue.progress import Progress
from understudy.services.queue.tables import voices
from understudy.voices.training.events import TrainingEvent

TINY = {"size": "tiny", "embedder": "cepstral"}


def more_singing() -> bytes:
    notes = [signals.Note(50 - step, 0.9, vowel, "n") for step, vowel in zip(range(12), "aeioaeiuoaei", strict=True)]
    sung, _ = signals.singing(notes, formants=0.9, seed=3)
    file = io.BytesIO()
    soundfile.write(file, sung.samples.T, sung.rate, format="WAV")
    return file.getvalue()


def train(service: Service, voice: str, **more: str) -> Any:
    files = {"recordings": ("more.wav", more_singing())}
    return service.client.post(f"/v1/voices/{voice}/train", data={**TINY, "consent": "granted", **more}, files=files)


@pytest.fixture
def waiting(working: Working) -> Iterator[dict[str, Any]]:
    """A training of nova that waits: the worker runs none."""
    made = train(working, "nova")
    assert made.status_code == 202, made.text
    assert made.headers["location"] == f"/v1/trainings/{made.json()['id']}"
    yield made.json()
    working.client.delete(f"/v1/trainings/{made.json()['id']}")


def recording(sounds: Sounds) -> dict[str, Any]:
    return {"recordings": ("more.wav", sounds["recording"].read_bytes())}


def test_a_training_waits_is_paused_resumed_cancelled_and_removed(working: Working, waiting: dict[str, Any]):
    assert (waiting["state"], waiting["name"], waiting["ahead"]) == ("queued", "nova", None)
    assert waiting["settings"]["size"] == "tiny"
    here = f"/v1/trainings/{waiting['id']}"
    assert working.client.get(here).json()["ahead"] == 0
    assert working.client.get("/v1/trainings?voice=nova&state=queued").json()["items"] == [waiting]
    assert working.client.get("/v1/account").json()["usage"]["trainings_queued"] == 1
    again = train(working, "nova")
    assert waiting["id"] in refused(again, 409, "training-running")["detail"]
    assert working.client.post(f"{here}/pause").json()["state"] == "paused"
    refused(working.client.post("/v1/voices/nova/train", json=TINY), 409, "training-running")
    assert working.client.post(f"{here}/resume").json()["state"] == "queued"
    refused(working.client.get(f"{here}/report"), 409, "result-not-ready")
    refused(working.client.get(f"{here}/samples/1/held-0"), 404, "sample-unknown")
    cancelled = working.client.delete(here)
    assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelled")
    for action in ("pause", "resume"):
        refused(working.client.post(f"{here}/{action}"), 409, "job-ended")
    told = events(working.client.get(f"{here}/events").text)
    assert [event["event"] for event in told] == ["state"] * 4
    assert working.client.delete(here).status_code == 204
    refused(working.client.get(here), 404, "job-unknown")


def evaluated(service: Service) -> jobs.Claimed:
    """The training that waits, as claimed by a worker that has told of an evaluation."""
    database, storage = service.app.state.services.database, service.app.state.services.storage
    job = claims.claim(database, "w", service.settings, training=True)
    assert job is not None
    progress = Progress("training")
    progress.train(TrainingEvent("warning", 5, 100, sentence="one clip is noisy"))
    progress.train(TrainingEvent("evaluation", 50, 100, {"mel": 20.0}, {"similarity": 0.8}, 50, 60.0))
    storage.put(service.settings.data / "server.sqlite3", f"{job.owner}/jobs/{job.id}/x")
    file = {"path": f"{job.owner}/jobs/{job.id}/x", "bytes": 1, "type": "audio/flac", "name": "held-0.flac"}
    progress.share({"samples/50/held-0": file}, 1)
    notes, stage, fraction = progress.take()
    jobs.record(database, job, notes, stage, fraction, **progress.so_far())
    return job


def test_what_a_running_one_shows(working: Working, waiting: dict[str, Any]):
    database, job = working.app.state.services.database, evaluated(working)
    here = f"/v1/trainings/{job.id}"
    shown = working.client.get(here).json()
    assert (shown["state"], shown["step"], shown["of"], shown["best"]) == ("running", 50, 100, 50)
    assert (shown["losses"], shown["evaluation"]) == ({"mel": 20.0}, {"similarity": 0.8})
    assert (shown["seconds_left"], shown["warnings"]) == (60.0, ["one clip is noisy"])
    assert shown["progress"]["title"] == "Training the voice"
    assert shown["samples"]["50/held-0"]["href"] == f"{here}/samples/50/held-0"
    sample = working.client.get(f"{here}/samples/50/held-0")
    assert (sample.status_code, sample.headers["content-type"]) == (200, "audio/flac")
    assert working.client.post(f"{here}/pause").json()["pausing"]
    assert not working.client.post(f"{here}/resume").json()["pausing"]
    assert working.client.delete(here).json()["cancelling"]
    refused(working.client.post(f"{here}/pause"), 409, "job-ended")
    jobs.confirm_cancelled(database, job, working.settings)
    kinds = [event["event"] for event in events(working.client.get(f"{here}/events").text)]
    assert kinds == ["state", "state", "training", "training", "state"]


def test_wrong_requests(working: Working, sounds: Sounds):
    train = "/v1/voices/nova/train"
    refused(working.client.post("/v1/voices/nobody/train", json=TINY), 404, "voice-unknown")
    refused(working.client.post(train, json={"size": "huge"}), 422, "request-invalid")
    refused(working.client.post(train, json={"base": "/etc/passwd"}), 422, "request-invalid")
    refused(working.client.post(train, json={"embedder": "../x"}), 422, "request-invalid")
    refused(working.client.post(train, data={"steps": "0"}, files=recording(sounds)), 422, "request-invalid")
    refused(working.client.post(train, data=TINY, files=recording(sounds)), 422, "consent-missing")
    letter = {"recordings": ("letter.wav", b"Dear all, this is no recording.\n" * 20)}
    refused(working.client.post(train, data={**TINY, "consent": "self"}, files=letter), 422, "not-audio")
    refused(working.client.get("/v1/trainings/training_x"), 404, "job-unknown")
    refused(working.client.get("/v1/trainings?voice=nobody"), 404, "voice-unknown")
    assert working.client.get("/v1/trainings?state=queued").json()["items"] == []
    assert working.leftovers() == []


def test_a_voice_that_is_being_made_or_is_a_model_alone(service: Service, sounds: Sounds, working: Working):
    sent = {"recordings": ("recording.wav", sounds["recording"].read_bytes())}
    made = service.client.post("/v1/voices", data={"name": "new", "consent": "self"}, files=sent).json()
    refused(service.client.post(f"/v1/voices/{made['id']}/train", json=TINY), 409, "voice-not-ready")
    refused(service.client.patch("/v1/voices/new", json={"engine": "rvc"}), 409, "voice-not-ready")
    with service.app.state.services.database.write() as connection:
        connection.execute(update(voices).values(state="ready", manifest={"recordings": []}))
    refused(service.client.post(f"/v1/voices/{made['id']}/train", json=TINY), 422, "voice-without-recordings")


def test_a_voice_sings_with_what_it_has(working: Working):
    shown = working.client.get("/v1/voices/nova").json()
    assert (shown["engine"], shown["engines"]) == ("instant", ["instant"])
    assert shown["training_seconds"] == 0
    assert working.client.patch("/v1/voices/nova", json={"engine": "instant"}).json() == shown
    assert working.client.patch("/v1/voices/nova", json={}).json() == shown
    refused(working.client.patch("/v1/voices/nova", json={"engine": "rvc"}), 422, "engine-missing")


def test_the_limits_of_an_owner(start: Start, sounds: Sounds, working: Working):
    service = start(trainings_queued=1)
    _ready(service, working, "one", "two")
    assert train(service, "one").status_code == 202
    refused(train(service, "two"), 429, "too-many-jobs")


def test_minutes_of_training_within_a_day(start: Start, working: Working):
    service = start(training_minutes_a_day=5)
    _ready(service, working, "one")
    made = train(service, "one").json()
    database = service.app.state.services.database
    job = claims.claim(database, "w", service.settings, training=True)
    assert job is not None
    assert not jobs.count_training(database, job, 6.0, service.settings)
    jobs.confirm_cancelled(database, job, service.settings)
    assert service.client.delete(f"/v1/trainings/{made['id']}").status_code == 204
    refused(train(service, "one"), 429, "minutes-used-up")


def test_a_voice_that_is_deleted_cancels_its_training(start: Start, working: Working):
    service = start()
    _ready(service, working, "one", "two")
    ids = [train(service, name).json()["id"] for name in ("one", "two")]
    job = evaluated(service)
    assert job.id == ids[0]
    assert any("/jobs/" in name for name in service.stored())
    for name in ("one", "two"):
        assert service.client.delete(f"/v1/voices/{name}").status_code == 204
    assert [service.client.get(f"/v1/trainings/{id}").json()["state"] for id in ids] == ["cancelled"] * 2
    assert jobs.renew(service.app.state.services.database, job, service.settings) == "lost"
    assert service.client.get(f"/v1/trainings/{job.id}").json()["samples"] == {}
    assert service.stored() == []


def _ready(service: Service, working: Working, *names: str) -> None:
    """List voices with the manifest of nova; their files are not there."""
    with working.app.state.services.database.read() as connection:
        found = connection.execute(voices.select().where(voices.c.name == "nova")).one()
    owner = service.app.state.services.open_owner.id
    with service.app.state.services.database.write() as connection:
        for name in names:
            more = {"id": f"voice_{name}", "name": name, "folded": name, "path": f"{owner}/voices/voice_{name}"}
            connection.execute(voices.insert().values(**{**found._asdict(), **more, "owner": owner, "job": None}))


@pytest.mark.slow
def test_a_tiny_network_paused_killed_and_cancelled_keeps_its_best(tmp_path: Path, sounds: Sounds):
    config = tmp_path / "server.yaml"
    config.write_text("device: cpu\nrequests_a_minute: 1000000\n")  # it asks very often
    with (
        serve(tmp_path, "--config", str(config)) as server,
        httpx.Client(base_url=server.address, timeout=HANGS) as client,
    ):
        recording = {"recordings": ("recording.wav", sounds["recording"].read_bytes())}
        voice = client.post("/v1/voices", data={"name": "tess", "consent": "self"}, files=recording).json()["id"]

        def shown(path: str, state: str) -> dict[str, Any]:
            """What is at `path` once it is in that state."""
            found: dict[str, Any] = {}

            def reached() -> bool:
                found.update(client.get(path).json())
                assert found["state"] not in {"failed", "done", "cancelled"} - {state}, found["error"]
                return bool(found["state"] == state)

            until(reached, lambda: (found, server.log.read_text()[-2000:]))
            return found

        shown(f"/v1/voices/{voice}", "ready")
        more = {"recordings": ("more.wav", more_singing())}
        refused(client.post("/v1/voices/tess/train", json=TINY), 422, "too-little-data")
        refused(client.post("/v1/voices/tess/train", json={"size": "tiny"}), 422, "model-missing")
        tuned = {"engine": "zero-shot", "separate": True}
        refused(client.post("/v1/voices/tess/train", json=tuned), 422, "option-invalid")
        fields = {**TINY, "consent": "granted", "steps": "1000000", "evaluate_every": "2"}
        here = client.post("/v1/voices/tess/train", data=fields, files=more).headers["location"]
        until(lambda: client.get(here).json()["best"], lambda: client.get(here).text)
        heard = client.get(here).json()["samples"]
        assert {"2/held-0", "2/phrase-0"} <= set(heard)
        assert client.get(heard["2/held-0"]["href"]).content[:4] == b"fLaC"
        client.post(f"{here}/pause")
        paused = shown(here, "paused")
        assert paused["step"] >= 2
        client.post(f"{here}/resume")
        shown(here, "running")
        before = client.get(here).json()["attempts"]
        os.kill(trainer(server), signal.SIGKILL)
        until(lambda: client.get(here).json()["attempts"] > before, server.log.read_text)
        until(lambda: client.get(here).json()["step"] > paused["step"], lambda: client.get(here).text)
        assert client.delete(here).json()["cancelling"]
        ended = shown(here, "cancelled")
        result = ended["result"]
        assert (result["step"], result["default"], result["published"]) == (ended["best"], False, True)
        report = client.get(ended["report"]["href"])
        assert report.headers["content-type"].startswith("text/html")
        assert str(tmp_path) not in report.text + json.dumps(ended)
        sings = client.get("/v1/voices/tess").json()
        assert (sings["engine"], sings["engines"]) == ("instant", ["instant", "rvc"])
        assert (sings["model"]["version"], sings["model"]["embedder"]) == ("v2", "cepstral")
        assert sings["training_seconds"] == pytest.approx(10.8, abs=1.5)
        assert client.patch("/v1/voices/tess", json={"engine": "rvc"}).json()["engine"] == "rvc"
        song = {"song": ("song.wav", sounds["song"].read_bytes())}
        cover = client.post("/v1/covers", data={"voice": "tess"}, files=song).headers["location"]
        assert shown(cover, "done")["audio"]
        assert client.get("/v1/voices/tess/train").json()["missing"]
        estimate = client.get("/v1/voices/tess/train?size=tiny&embedder=cepstral").json()
        assert (estimate["missing"], estimate["device"]) == ([], "cpu")
        assert estimate["seconds"] > 0
        assert client.get("/v1/account").json()["usage"]["training_minutes_a_day"] > 0
        assert client.delete("/v1/voices/tess").status_code == 204
        until(lambda: list((tmp_path / "data" / "storage").glob("*/voices/*")) == [])


def trainer(server: Serving) -> int:
    """The process that trains."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().decode().split("\0")
            if "--training" in words and words[words.index("--parent") + 1] == str(server.process.pid):
                return int(path.parent.name)
    raise AssertionError("no training runs")
