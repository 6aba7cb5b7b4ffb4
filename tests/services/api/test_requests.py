"""What comes in badly: each gets the error that its sender can act on, and nothing is left behind."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.services.api.conftest import KEYS, Service, Sounds, Start, Working
from tests.support.command import until
from understudy.services.api.health import DatabaseMetrics
from understudy.services.queue import housekeeping
from understudy.services.queue.tables import jobs

PROBLEM = {"type", "title", "status", "detail", "hint", "code"}


def refused(answer, status: int, code: str) -> dict:
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.json()) >= PROBLEM
    assert answer.json()["type"] == f"urn:understudy:{code}"
    return answer.json()


def song(sounds: Sounds) -> dict:
    return {"song": ("song.wav", sounds["song"].read_bytes())}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "file-empty"),
        (b"not a song\n" * 100, "not-audio"),
        (b"#EXTM3U\nfile:///etc/passwd\n", "not-audio"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt ", "not-audio"),
        (b"ID3" + bytes(5000), "not-audio"),
    ],
)
def test_files_that_are_no_songs(service: Service, content: bytes, code: str):
    answer = service.client.post("/v1/songs", files={"file": ("song.mp3", content)})
    assert answer.json()["detail"].startswith("song.mp3")
    refused(answer, 422, code)
    assert service.leftovers() == service.stored() == []


def test_content_decides_not_the_name(service: Service, sounds: Sounds):
    data = sounds["song"].read_bytes()
    for name in ("song.txt", "../../etc/passwd", "a" * 400 + ".wav", "", "\x00\x01.wav", ".hidden", "C:\\x\\y.wav"):
        answer = service.client.post("/v1/songs", files={"file": (name or "x", data)})
        assert answer.status_code == 201, answer.text
        shown = answer.json()["name"]
        assert "/" not in shown
        assert "\\" not in shown
        assert len(shown) <= 125
        assert shown.isprintable()
    assert service.leftovers() == []


def test_wrong_settings(service: Service, sounds: Sounds):
    for settings, name in (
        ({"remix": {"vocal_gain": 99}}, "remix.vocal_gain"),
        ({"remix": {"volume": 1}}, "remix.volume"),
        ({"transpose": 1.5}, "transpose"),
        ({"conversion": {"protect": "lots"}}, "conversion.protect"),
    ):
        answer = service.client.post("/v1/separations", data={"settings": json.dumps(settings)}, files=song(sounds))
        assert name in refused(answer, 422, "request-invalid")["detail"]
    for settings, code in (
        ({"tags": {"artwork": "/etc/passwd"}}, "setting-invalid"),
        ({"separation": {"model": "magic"}}, "separator-unknown"),
        ({"separation": {"model": "embedded+magic"}}, "separator-unknown"),
        ({"separation": {"lead": "magic"}}, "separator-unknown"),
        ({"separation": {"model": "mel-roformer-kim"}}, "model-missing"),
        ({"output": {"format": "wma"}}, "unknown-format"),
    ):
        answer = service.client.post("/v1/separations", data={"settings": json.dumps(settings)}, files=song(sounds))
        refused(answer, 422, code)
    for text in ("{", "[]", '{"a": NaN}', "[" * 5000):
        answer = service.client.post("/v1/separations", data={"settings": text}, files=song(sounds))
        assert answer.status_code in (400, 422)
    answer = service.client.post("/v1/separations", data={"preset": "/etc/passwd.yaml"}, files=song(sounds))
    refused(answer, 422, "preset-unknown")
    assert service.stored() == service.leftovers() == []


def test_a_model_is_never_named_by_a_path(
    service: Service, sounds: Sounds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "net.ckpt").write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    paths = (
        str(tmp_path / "net.ckpt"),
        str(tmp_path / "absent.ckpt"),
        "net.ckpt",
        "./net.ckpt",
        "../net.ckpt",
        "~/net.ckpt",
        "C:\\net.ckpt",
        "embedded+/etc/passwd",
    )
    for setting in ("model", "lead", "dereverb", "denoise", "instruments"):
        for path in paths:
            settings = {"separation": {setting: path}}
            answer = service.client.post("/v1/separations", data={"settings": json.dumps(settings)}, files=song(sounds))
            problem = refused(answer, 422, "separator-unknown")
            assert str(tmp_path) not in problem["hint"]
    assert service.stored() == service.leftovers() == []


def test_unknown_things(service: Service, sounds: Sounds):
    refused(service.client.post("/v1/covers", data={"voice": "nova"}, files=song(sounds)), 404, "voice-unknown")
    refused(service.client.post("/v1/separations", json={"song": "song_x"}), 404, "song-unknown")
    refused(service.client.get("/v1/covers/cover_x"), 404, "job-unknown")
    refused(service.client.get("/v1/nothing"), 404, "not-found")
    refused(service.client.put("/v1/songs"), 405, "method-not-allowed")
    refused(service.client.post("/v1/covers", json={}), 422, "request-invalid")
    refused(service.client.post("/v1/covers", content=b"x", headers={"content-type": "text/plain"}), 415, "media-type")
    refused(service.client.get("/v1/songs?limit=0"), 422, "request-invalid")
    assert service.stored() == []


def test_broken_forms(service: Service, sounds: Sounds):
    kind = {"content-type": "multipart/form-data; boundary=b"}
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    for body, code in (
        (head + b"RIFF", "upload-truncated"),
        (b"", "upload-truncated"),
        (b"garbage", "upload-malformed"),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", "upload-malformed"),
        (b"--b\r\n" + b"X: y\r\n" * 3000 + b"\r\nx\r\n--b--\r\n", "upload-malformed"),
    ):
        answer = service.client.post("/v1/songs", content=body, headers=kind)
        refused(answer, 400, code)
    refused(
        service.client.post("/v1/songs", content=b"", headers={"content-type": "multipart/form-data"}),
        400,
        "upload-malformed",
    )
    twice = [("file", ("a.wav", b"x")), ("file", ("b.wav", b"y"))]
    assert service.client.post("/v1/songs", files=twice).status_code == 422
    answer = service.client.post("/v1/songs", files={"other": ("a.wav", b"x")})
    refused(answer, 422, "request-invalid")
    answer = service.client.post("/v1/separations", data={"song": "song_x"}, files=song(sounds))
    refused(answer, 422, "request-invalid")
    many = {f"f{number}": "x" for number in range(200)}
    refused(service.client.post("/v1/songs", data=many, files={"file": ("a", b"x")}), 400, "upload-malformed")
    refused(
        service.client.post("/v1/songs", data={"x": "y" * 70000}, files={"file": ("a", b"x")}), 413, "body-too-large"
    )
    assert service.leftovers() == service.stored() == []


def test_idempotency(service: Service, sounds: Sounds):
    headers = {"Idempotency-Key": "one"}
    first = service.client.post("/v1/separations", files=song(sounds), headers=headers)
    again = service.client.post("/v1/separations", files=song(sounds), headers=headers)
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert again.headers["idempotent-replayed"] == "true"
    assert len(service.client.get("/v1/separations").json()["items"]) == 1
    assert len(service.stored()) == 1
    other = service.client.post(
        "/v1/separations", files={"song": ("other.wav", sounds["vocals"].read_bytes())}, headers=headers
    )
    refused(other, 422, "idempotency-key-reused")
    elsewhere = service.client.post(
        "/v1/songs", files={"file": ("song.wav", sounds["song"].read_bytes())}, headers=headers
    )
    refused(elsewhere, 422, "idempotency-key-reused")
    sent = {"song": first.json()["inputs"]["song"], "voice": "x"}
    twin = {"Idempotency-Key": "three"}
    assert service.client.post("/v1/separations", json={"song": sent["song"]}, headers=twin).status_code == 202
    refused(service.client.post("/v1/covers", json=sent, headers=twin), 422, "idempotency-key-reused")
    refused(service.client.post("/v1/separations", json=sent, headers=twin), 422, "request-invalid")
    bad = {"Idempotency-Key": "a b"}
    refused(service.client.post("/v1/songs", files={"file": ("a", b"x")}, headers=bad), 422, "request-invalid")
    assert service.leftovers() == []


def test_a_request_that_failed_may_be_sent_again(service: Service, sounds: Sounds):
    headers = {"Idempotency-Key": "two"}
    assert service.client.post("/v1/songs", files={"file": ("a", b"x")}, headers=headers).status_code == 422
    good = {"file": ("a.wav", sounds["song"].read_bytes())}
    assert service.client.post("/v1/songs", files=good, headers=headers).status_code == 201


def test_songs_in_use_stay(service: Service, sounds: Sounds):
    made = service.client.post("/v1/separations", files=song(sounds)).json()
    href = f"/v1/songs/{made['inputs']['song']}"
    refused(service.client.delete(href), 409, "song-in-use")
    service.client.delete(f"/v1/separations/{made['id']}")
    assert service.client.get(f"{href}/audio").content == sounds["song"].read_bytes()
    assert service.client.delete(href).status_code == 204
    assert service.stored() == []


@pytest.mark.slow
def test_results_expire(working: Working, sounds: Sounds):
    made = working.client.post("/v1/separations", files=song(sounds))
    done = working.wait(made.headers["location"])
    workspace = working.app.state.services
    with workspace.database.write() as connection:
        connection.execute(jobs.update().where(jobs.c.id == done["id"]).values(expires=1.0))
    assert housekeeping.sweep(workspace.database, working.settings) >= 1
    refused(working.client.get(done["stems"]["vocals"]["href"]), 410, "result-expired")
    assert working.client.get(made.headers["location"]).json()["state"] == "expired"
    assert not any(done["id"] in name for name in working.stored())


@pytest.mark.slow
def test_voices(working: Working, sounds: Sounds):
    recording = ("r.wav", sounds["recording"].read_bytes())

    def make(**fields: str):
        return working.client.post("/v1/voices", data=fields, files={"recordings": recording})

    refused(make(name="kim"), 422, "consent-missing")
    refused(make(name="kim", consent="perhaps"), 422, "consent-missing")
    refused(make(name="../kim", consent="self"), 422, "voice-name-invalid")
    refused(make(name="NOVA", consent="self"), 409, "voice-exists")
    made = make(name="kim", consent="granted")
    refused(working.cover(files={"song": sounds["song"]}, voice="kim"), 409, "voice-not-ready")
    ready = working.wait(made.headers["location"])
    assert (ready["state"], ready["engine"], ready["consent"]) == ("ready", "instant", "granted")
    renamed = working.client.patch(made.headers["location"], json={"name": "Kim 2"})
    assert renamed.json()["name"] == "Kim 2"
    refused(working.client.patch(made.headers["location"], json={"name": "nova"}), 409, "voice-exists")
    done = working.wait(working.cover(files={"song": sounds["song"]}, voice="kim 2").headers["location"])
    assert done["audio"]["name"] == "song (Kim 2).flac"
    assert working.client.delete(made.headers["location"]).status_code == 204
    refused(working.client.get(made.headers["location"]), 404, "voice-unknown")
    assert not any(ready["id"] in name for name in working.stored())


@pytest.mark.slow
def test_a_voice_that_cannot_be_made_says_why(working: Working, tmp_path):
    soundfile.write(tmp_path / "quiet.wav", np.zeros(44100 * 3), 44100)
    files = {"recordings": ("quiet.wav", (tmp_path / "quiet.wav").read_bytes())}
    made = working.client.post("/v1/voices", data={"name": "mute", "consent": "self"}, files=files)
    failed = working.wait(made.headers["location"])
    assert (failed["state"], failed["error"]["code"]) == ("failed", "voice-not-usable")
    assert str(working.settings.data) not in json.dumps(failed)
    assert working.client.post("/v1/voices", data={"name": "mute", "consent": "self"}, files=files).status_code == 202


def test_a_full_disk_is_said(start: Start, sounds: Sounds, monkeypatch):
    service = start()

    def full(self, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("understudy.services.api.uploads.Upload.write", full)
    refused(service.client.post("/v1/songs", files={"file": ("a.wav", sounds["song"].read_bytes())}), 507, "disk-full")
    assert service.leftovers() == []


def test_webhooks_to_private_addresses_are_refused(service: Service, sounds: Sounds):
    for url in (
        "http://127.0.0.1/x",
        "http://localhost/x",
        "https://10.0.0.1/",
        "http://[::1]/",
        "http://[::ffff:192.168.0.1]/",
        "http://169.254.169.254/latest",
        "ftp://example.org/",
        "http://user:pw@example.org/",
        "http://0/",
        "http://2130706433/",
        "nonsense",
    ):
        answer = service.client.post("/v1/separations", data={"webhook": url}, files=song(sounds))
        refused(answer, 422, "webhook-refused")
    assert service.stored() == []


def test_webhooks_are_listed_and_sent_again(start: Start, sounds: Sounds):
    """Of the owner alone. The receiver is a port that nobody listens on."""
    service = start(keys=True, webhook_networks=("127.0.0.0/8",), webhook_tries=1)
    ada, bea = service.key("ada", (*KEYS, "keys")), service.key("bea")
    made = [
        service.client.post(
            "/v1/separations",
            headers=ada,
            data={"webhook": "http://127.0.0.1:9/", "webhook_events": [event], "metadata": json.dumps({"end": event})},
            files={"song": ("song.wav", sounds["song"].read_bytes())},
        ).json()
        for event in ("cancelled", "done")
    ]
    assert made[0]["webhook"] == {"url": "http://127.0.0.1:9/", "events": ["cancelled"], "state": None}
    assert made[0]["metadata"] == {"end": "cancelled"}
    for query, count in (("metadata=end:done", 1), ("metadata=end:done&metadata=end:cancelled", 0), ("text=SONG", 2)):
        assert len(service.client.get(f"/v1/jobs?{query}", headers=ada).json()["items"]) == count
    for wrong in ({"a b": "x"}, {"a": "x" * 201}, {f"n{number}": "" for number in range(21)}, {"a": 1}):
        body = {"song": made[0]["inputs"]["song"], "metadata": wrong}
        assert service.client.post("/v1/separations", json=body, headers=ada).json()["code"] == "request-invalid"
    ended = [service.client.delete(f"/v1/separations/{job['id']}", headers=ada).json() for job in made]
    assert [job["webhook"]["state"] for job in ended] == ["waiting", "unwanted"]

    def listed(**query: str):
        return service.client.get("/v1/webhooks/deliveries", params=query, headers=ada).json()["items"]

    until(lambda: listed(state="failed"))
    (delivery,) = listed(job=made[0]["id"])
    assert (delivery["type"], delivery["attempts"], delivery["status"]) == ("separation.cancelled", 1, None)
    assert "refused" in delivery["error"]
    assert listed(job=made[1]["id"]) == []
    place = f"/v1/webhooks/deliveries/{delivery['id']}"
    assert service.client.post(f"{place}/redeliver", headers=bea).json()["code"] == "delivery-unknown"
    again = service.client.post(f"{place}/redeliver", headers=ada)
    assert (again.status_code, again.json()["state"]) == (202, "waiting")
    until(lambda: service.client.get(place, headers=ada).json()["attempted"] != delivery["attempted"])
    assert service.client.post("/v1/webhooks/secret", json={}, headers=bea).json()["code"] == "scope-missing"
    changed = service.client.post("/v1/webhooks/secret", json={"overlap": 60}, headers=ada).json()
    assert service.client.get("/v1/account", headers=ada).json()["webhook_secret"] == changed["webhook_secret"]


def test_metrics_may_need_a_token_and_ask_the_database_seldom(start: Start, sounds: Sounds):
    service = start(metrics_token="s3cret")
    assert service.client.get("/metrics").json()["code"] == "key-missing"
    assert service.client.get("/metrics", headers={"Authorization": "Bearer s3cre"}).status_code == 401
    assert "understudy_jobs" in service.client.get("/metrics", headers={"Authorization": "Bearer s3cret"}).text
    now = [0.0]
    collector = DatabaseMetrics(service.app.state.services.database, lambda: now[0])

    def waiting() -> float:
        (jobs_metric,) = (metric for metric in collector.collect() if metric.name == "understudy_jobs")
        return sum(sample.value for sample in jobs_metric.samples)

    assert waiting() == 0
    service.client.post("/v1/separations", files=song(sounds))
    assert waiting() == 0
    now[0] = 5.0
    assert waiting() == 1


def test_metrics_and_health(working: Working):
    assert working.client.get("/readyz").json() == {"status": "ok"}
    text = working.client.get("/metrics").text
    for name in ("understudy_stages_total", "understudy_stage_seconds_total", "understudy_jobs_ended_total"):
        assert name in text
    assert 'understudy_jobs_ended_total{kind="voice",state="done"}' in text


def test_a_database_that_is_away(start: Start, monkeypatch):
    service = start()
    from sqlalchemy.exc import OperationalError

    def away(self) -> None:
        raise OperationalError("SELECT", {}, Exception("server closed the connection"))

    monkeypatch.setattr("sqlalchemy.engine.base.Engine.connect", away)
    answer = service.client.get("/v1/songs")
    refused(answer, 503, "database-unavailable")
    assert answer.headers["retry-after"]
    assert service.client.get("/readyz").status_code == 503
    assert service.client.get("/healthz").status_code == 200
    monkeypatch.undo()
    assert service.client.get("/v1/songs").status_code == 200


def test_what_nothing_knows_of_is_swept_away(service: Service, sounds: Sounds):
    workspace = service.app.state.services
    kept = service.client.post("/v1/separations", files=song(sounds)).json()["inputs"]["song"]
    path = sounds.folder / "song.wav"
    workspace.storage.put(path, "local/songs/song_lost")
    workspace.storage.put(path, "local/jobs/cover_lost/stems/vocals.wav")
    workspace.storage.put(path, "local/voices/voice_lost-sent/0")
    assert housekeeping.sweep_orphans(workspace.database, workspace.storage, 3600) == 0, "it may be under way"
    assert housekeeping.sweep_orphans(workspace.database, workspace.storage, -60) == 3
    assert service.stored() == [f"local/songs/{kept}"]


@pytest.mark.slow
def test_a_trained_model_becomes_a_voice(working: Working, tmp_path):
    from tests.support import rvc_files as material

    model = material.write_random_pth(tmp_path / "kim.pth", material.real())
    index = material.write_random_index(tmp_path / "kim.index")
    files = [("index", ("kim.index", index.read_bytes())), ("model", ("kim.pth", model.read_bytes()))]
    fields = {"name": "trained", "consent": "granted", "speaker": "3"}
    made = working.client.post("/v1/voices", data=fields, files=files)
    assert made.status_code == 202, made.text
    ready = working.wait(made.headers["location"])
    assert ready["state"] == "ready", ready["error"]
    assert (ready["engine"], ready["model"]["speaker"], ready["model"]["vectors"]) == ("rvc", 3, 2000)
    assert ready["model"]["source"] == "kim.pth"
    # what was sent goes just after the voice is told to be ready
    until(lambda: not any("-sent" in name for name in working.stored()), working.stored)
    assert working.client.delete(made.headers["location"]).status_code == 204


@pytest.mark.slow
def test_a_model_that_would_run_code_is_refused(working: Working):
    class Evil:
        def __reduce__(self):
            return (print, ("pwned",))

    bad = pickle.dumps({"weight": Evil()})
    for name in ("evil.pth", "evil.zip", "evil.safetensors"):
        made = working.client.post("/v1/voices", data={"name": "evil", "consent": "self"}, files={"model": (name, bad)})
        failed = working.wait(made.headers["location"])
        assert failed["state"] == "failed"
        assert str(working.settings.data) not in json.dumps(failed)
        assert not any("-sent" in stored for stored in working.stored())


def test_a_voice_deleted_while_it_is_made_leaves_nothing(working: Working, sounds: Sounds):
    recording = ("r.wav", sounds["recording"].read_bytes())
    made = working.client.post("/v1/voices", data={"name": "brief", "consent": "self"}, files={"recordings": recording})
    assert working.client.delete(made.headers["location"]).status_code == 204
    # the next job of the same worker ends after it
    assert (
        working.wait(working.client.post("/v1/separations", files=song(sounds)).headers["location"])["state"] == "done"
    )
    assert not any(made.json()["id"] in name for name in working.stored())
