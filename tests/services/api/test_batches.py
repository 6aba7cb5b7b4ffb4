"""Batches: many jobs by one request."""

from __future__ import annotations

from tests.services.api.conftest import Service, Sounds, Working
from tests.services.api.test_requests import refused


def _song(service: Service, sounds: Sounds, headers: dict[str, str] | None = None) -> str:
    files = {"file": ("song.wav", sounds["song"].read_bytes())}
    return service.client.post("/v1/songs", files=files, headers=headers).json()["id"]


def test_a_batch_is_made_whole_or_not_at_all(guarded: Service, sounds: Sounds):
    ada, client = guarded.key("ada", jobs_queued=4), guarded.client
    song = _song(guarded, sounds, ada)

    def post(headers: dict[str, str] = ada, **body):
        return client.post("/v1/batches", json=body, headers=headers)

    good = {"song": song}
    wrong = [good, {"song": "song_x"}, {"song": song, "settings": {"remix": {"vocal_gain": 99}}}, {"voice": 1}]
    problem = refused(post(separations=wrong), 422, "batch-invalid")
    assert {one["field"]: one["code"] for one in problem["errors"]} == {
        "separations.1": "song-unknown",
        "separations.2": "request-invalid",
        "separations.3": "request-invalid",
    }
    assert client.get("/v1/batches", headers=ada).json()["items"] == []
    assert client.get("/v1/account", headers=ada).json()["usage"]["jobs_a_day"] == 0
    refused(post(), 422, "request-invalid")
    refused(post(songs=[song] * 30, voices=["nova"] * 30), 422, "request-invalid")
    refused(post(separations=[good] * 5), 429, "too-many-jobs")
    refused(post(separations=[{"song": "x"}], partial=True), 422, "batch-invalid")

    key = {**ada, "Idempotency-Key": "night"}
    made = post(key, name="night", separations=wrong, each={"settings": {"song": {"duration": 1}}}, partial=True)
    assert made.status_code == 202, made.text
    batch = made.json()
    assert [one["field"] for one in batch["skipped"]] == ["separations.2", "separations.3", "separations.1"]
    assert (batch["jobs"], batch["states"], batch["ended"], batch["fraction"]) == (1, {"queued": 1}, False, 0.0)
    again = post(key, name="night", separations=wrong, each={"settings": {"song": {"duration": 1}}}, partial=True)
    assert (again.json(), again.headers["idempotent-replayed"]) == (batch, "true")
    href = made.headers["location"]
    (job,) = client.get(f"{href}/jobs", headers=ada).json()["items"]
    assert (job["batch"], job["priority"], job["settings"]["song"]["duration"]) == (batch["id"], "batch", 1)
    assert client.get("/v1/account", headers=ada).json()["usage"]["minutes_a_day"] == 1 / 60

    full = post(separations=[good] * 3).json()
    assert client.get("/v1/account", headers=ada).json()["usage"]["jobs_queued"] == 4
    assert [one["id"] for one in client.get("/v1/batches", headers=ada).json()["items"]] == [full["id"], batch["id"]]
    bea = guarded.key("bea")
    for method in ("GET", "DELETE"):
        refused(client.request(method, href, headers=bea), 404, "batch-unknown")
    refused(client.get(f"{href}/jobs", headers=bea), 404, "batch-unknown")


def test_songs_times_voices_and_the_end_of_a_batch(working: Working, sounds: Sounds):
    song, client = _song(working, sounds), working.client
    body = {"songs": [song], "voices": ["nova", ["lead=nova"]], "each": {"preset": "embedded"}}
    more = [{"song": song, "voice": "nova", "priority": "interactive", "preset": None}]
    made = client.post("/v1/batches", json={**body, "covers": more})
    assert made.status_code == 202, made.text
    href = made.headers["location"]
    cancelled = client.delete(href)
    assert (cancelled.status_code, cancelled.json()["jobs"]) == (202, 3)
    found = client.get(f"{href}/jobs").json()["items"]
    assert [job["voices"] for job in found] == [["nova"], ["lead=nova"], ["nova"]]
    assert [job["priority"] for job in found] == ["interactive", "batch", "batch"]
    for job in found:
        assert working.wait(f"/v1/covers/{job['id']}")["state"] in ("cancelled", "done")
    batch = client.get(href).json()
    assert (batch["ended"], batch["fraction"], sum(batch["states"].values())) == (True, 1.0, 3)
    assert client.delete(href).status_code == 204
    assert client.get(href).status_code == 404
    for job in found:
        assert client.get(f"/v1/covers/{job['id']}").status_code == 404
        assert not any(job["id"] in name for name in working.stored())
