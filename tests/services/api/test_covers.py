"""Covers and separations over HTTP, from the upload to the sound."""

from __future__ import annotations

import asyncio
import io
import json
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
import pytest
import soundfile
from sqlalchemy import select
from starlette.requests import Request

from tests.services.api.conftest import Service, Sounds, Working
from tests.support.command import until
from understudy.services.api.waiting import preferred
from understudy.services.queue import run_job
from understudy.services.queue.tables import jobs


def sound(data: bytes) -> tuple[np.ndarray, int]:
    return soundfile.read(io.BytesIO(data), always_2d=True)


def events(text: str) -> list[dict[str, str]]:
    found = []
    for block in text.replace("\r\n", "\n").strip().split("\n\n"):
        lines = [line.partition(": ") for line in block.split("\n") if not line.startswith(":")]
        event = {name: value for name, _, value in lines}
        if "data" in event:
            found.append(event)
    return found


def test_a_cover_from_a_form(working: Working, sounds: Sounds):
    answer = working.cover(files={"song": sounds["song"]}, settings='{"output": {"keep_stems": true}}')
    assert answer.status_code == 202, answer.text
    href = answer.headers["location"]
    assert href == f"/v1/covers/{answer.json()['id']}"
    assert answer.json()["state"] == "queued"
    done = working.wait(href)
    assert done["state"] == "done", done["error"]
    assert done["result"]["duration"] == pytest.approx(2.0)
    assert done["progress"]["fraction"] == 1.0
    assert done["audio"]["name"] == "song (nova).flac"
    cover, rate = sound(working.client.get(done["audio"]["href"]).content)
    song, song_rate = soundfile.read(sounds["song"])
    assert (cover.shape, rate) == (song.shape, song_rate)
    stems = [sound(working.client.get(file["href"]).content)[0] for file in done["stems"].values()]
    assert set(done["stems"]) == {"vocals", "instrumental"}
    assert np.abs(sum(stems) - cover).max() < 1e-5
    assert working.client.get(done["figures"]["href"]).json()["format"] == "understudy-report"
    report = working.client.get(done["report"]["href"])
    assert report.headers["content-type"].startswith("text/html")
    assert "sandbox" in report.headers["content-security-policy"]
    assert str(working.settings.data) not in report.text + json.dumps(done)


@pytest.mark.slow
def test_the_credentials_of_an_opus_file_are_a_file_of_their_own(working: Working, sounds: Sounds):
    made = working.cover(files={"song": sounds["song"]}, settings='{"output": {"format": "opus"}}')
    done = working.wait(made.headers["location"])
    assert done["state"] == "done", done["error"]
    sidecar = done["credentials"]
    assert (sidecar["name"], sidecar["type"]) == ("song (nova).c2pa", "application/c2pa")
    assert sidecar["href"] == f"/v1/covers/{done['id']}/credentials"
    files = {
        field: (done[name]["name"], working.client.get(done[name]["href"]).content)
        for field, name in (("file", "audio"), ("credentials", "credentials"))
    }
    found = working.client.post("/v1/verify", files=files).json()["c2pa"]
    assert (found["valid"], found["trusted"], found["beside"]) == (True, True, "song (nova).c2pa")
    assert not working.client.post("/v1/verify", files={"file": files["file"]}).json()["c2pa"]["present"]


@pytest.mark.slow
def test_a_video_of_a_cover(working: Working, sounds: Sounds):
    done = working.wait(
        working.cover(files={"song": sounds["song"]}, settings='{"output": {"video": "portrait"}}').headers["location"]
    )
    assert done["state"] == "done", done["error"]
    assert (done["video"]["name"], done["video"]["type"]) == ("song (nova).mp4", "video/mp4")
    answer = working.client.get(done["video"]["href"])
    assert answer.headers["content-type"] == "video/mp4"
    assert len(answer.content) == done["video"]["bytes"]
    with av.open(io.BytesIO(answer.content)) as container:
        assert (container.streams.video[0].width, container.streams.audio[0].rate) == (1080, 44100)
    assert "video" not in done["result"], "no path of the server"


@pytest.mark.slow
def test_the_same_cover_of_an_uploaded_song_is_the_same_bytes(working: Working, sounds: Sounds):
    sent = working.client.post("/v1/songs", files={"file": ("song.wav", sounds["song"].read_bytes())})
    assert sent.status_code == 201, sent.text
    assert sent.json()["duration"] == pytest.approx(2.0)
    bodies = []
    for gain in (0, 0, 3):
        request = {"song": sent.json()["id"], "voice": "nova", "settings": {"remix": {"vocal_gain": gain}}}
        made = working.client.post("/v1/covers", json=request)
        assert made.status_code == 202, made.text
        done = working.wait(made.headers["location"])
        bodies.append(working.client.get(done["audio"]["href"]).content)
    assert bodies[0] == bodies[1] != bodies[2]


def test_karaoke_and_chorus_can_be_heard_before_the_end(
    working: Working, sounds: Sounds, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run_job, "SHORTEST", 1.0)
    made = working.cover(files={"song": sounds["song"]}, preview="true", settings='{"song": {"duration": 1.5}}')
    href = made.headers["location"]
    done = working.wait(href)
    assert done["state"] == "done", done["error"]
    told = working.client.get(f"{href}/events", headers={"Accept": "application/json"}).json()["events"]
    order = [event["data"].get("name") or event["data"]["stage"] for event in told if event["type"] != "state"]
    for name in ("karaoke", "chorus"):  # made beside each other
        assert order.index("separate") < order.index(name) < order.index("report")
    for name in ("karaoke", "chorus"):
        file = done["previews"][name]
        assert (file["start"], file["type"]) == (0.0, "audio/ogg")
        heard, rate = sound(working.client.get(file["href"]).content)
        assert heard.shape[0] / rate == pytest.approx(file["seconds"], abs=0.05) == 1.5
    cover, _ = sound(working.client.get(done["audio"]["href"]).content)
    assert 20 * np.log10(np.std(heard) / np.std(cover)) == pytest.approx(0, abs=1.0)  # of a short song: the same
    assert working.client.get(f"{href}/previews/verse").json()["code"] == "preview-unknown"
    assert any("previews/" in path for path in working.stored())
    working.client.delete(href)
    assert not any("previews/" in path for path in working.stored())


@pytest.mark.slow
def test_own_stems_need_no_song(working: Working, sounds: Sounds):
    answer = working.cover(files={"vocals": sounds["vocals"], "instrumental": sounds["instrumental"]})
    done = working.wait(answer.headers["location"])
    assert done["state"] == "done", done["error"]
    assert set(done["inputs"]) == {"vocals", "instrumental"}


def test_a_separation(working: Working, sounds: Sounds):
    made = working.client.post(
        "/v1/separations",
        data={"settings": '{"output": {"format": "wav32f", "keep_stems": true}}', "midi": "vocals"},
        files={"song": ("Öl & Ton.wav", sounds["song"].read_bytes())},
    )
    done = working.wait(made.headers["location"])
    assert done["state"] == "done", done["error"]
    notes = working.client.get(done["midi"]["vocals"]["href"])
    assert (notes.headers["content-type"], notes.content[:4]) == ("audio/midi", b"MThd")
    assert done["result"]["sum_to_song"] is True
    stems = [sound(working.client.get(file["href"]).content)[0] for file in done["stems"].values()]
    song, _ = soundfile.read(sounds["song"])
    assert np.abs(sum(stems) - song).max() < 1e-4
    header = working.client.get(done["stems"]["vocals"]["href"]).headers["content-disposition"]
    assert "filename*=UTF-8''%C3%96l%20%26%20Ton%20vocals.wav" in header
    _estimates(working, done, sounds)
    more = {"song": done["inputs"]["song"], "stems": ["vocals", "drums", "bass", "other"]}
    refused = working.client.post("/v1/separations", json=more)
    assert (refused.status_code, refused.json()["code"]) == (422, "stem-unavailable")
    assert "understudy" not in refused.json()["hint"], "no command lines"


def _estimates(working: Working, done: dict, sounds: Sounds) -> None:
    """What another one like `done`, a separation of two seconds and alone of its kind, would take."""
    its = jobs.c.id == done["id"]
    with working.app.state.services.database.write() as connection:
        result = connection.scalar(select(jobs.c.result).where(its))
        for stage in result["stages"]:  # other tests separate this song, too
            stage |= {"cached": False, "seconds": 1.0}
        connection.execute(jobs.update().where(its).values(finished=jobs.c.started + 100, attempts=1, result=result))
    before = working.client.get("/v1/account").json()["usage"]

    def estimate(**settings):
        body = {"song": done["inputs"]["song"], "settings": settings, "midi": ["vocals"]}
        return working.client.post("/v1/separations/estimate", json=body).json()

    one = estimate(output={"keep_stems": True}, song={"duration": 1})
    assert one["seconds"] == pytest.approx(50)
    assert (one["measured"], one["unknown"], one["ahead"]) == (1, [], 0)
    assert one["minutes"] == pytest.approx(1 / 60)
    left = working.app.state.services.settings.minutes_a_day - before["minutes_a_day"] - 1 / 60
    assert one["minutes_left"] == pytest.approx(left, abs=1e-4)
    other = estimate(output={"keep_stems": True}, pitch={"tracker": "harvest"})
    assert (other["seconds"], other["measured"]) == (None, 0)
    sent = working.client.post("/v1/covers/estimate", data={"voice": "none"}, files={"song": ("a.wav", b"x" * 100)})
    assert sent.json()["code"] == "not-audio"
    assert working.client.get("/v1/account").json()["usage"] == before
    assert working.leftovers() == []


@pytest.mark.slow
def test_events_tell_each_stage_once_and_can_be_resumed(working: Working, sounds: Sounds):
    made = working.cover(files={"song": sounds["song"]}, settings='{"conversion": {"seed": 5}}')
    text = working.client.get(f"{made.headers['location']}/events").text
    found = events(text)
    numbers = [int(event["id"]) for event in found]
    assert numbers == sorted(set(numbers))
    assert json.loads(found[-1]["data"])["state"] == "done"
    stages = [json.loads(event["data"]) for event in found if event["event"] == "stage"]
    finished = [stage["stage"] for stage in stages if stage["state"] == "finished"]
    assert len(finished) == len(set(finished))
    assert {"convert", "remix", "encode", "report"} <= set(finished)
    totals = [json.loads(event["data"])["total"] for event in found if event["event"] != "state"]
    assert totals == sorted(totals)
    half = numbers[len(numbers) // 2]
    later = working.client.get(f"{made.headers['location']}/events", headers={"Last-Event-ID": str(half)})
    assert [int(event["id"]) for event in events(later.text)][-1] == numbers[-1]
    assert all(int(event["id"]) > half for event in events(later.text))
    over = working.client.get(f"{made.headers['location']}/events", headers={"Last-Event-ID": str(numbers[-1])})
    assert over.status_code == 204


def test_ranges(working: Working, sounds: Sounds):
    made = working.cover(files={"song": sounds["song"]})
    href = working.wait(made.headers["location"])["audio"]["href"]
    whole = working.client.get(href)
    size = len(whole.content)
    assert whole.headers["accept-ranges"] == "bytes"

    def part(wanted: str):
        return working.client.get(href, headers={"Range": wanted})

    for wanted, start, stop in (("bytes=0-9", 0, 10), ("bytes=10-", 10, size), ("bytes=-7", size - 7, size)):
        answer = part(wanted)
        assert (answer.status_code, answer.content) == (206, whole.content[start:stop])
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
    assert part(f"bytes={size}-").status_code == 416
    assert part(f"bytes={size}-").headers["content-range"] == f"bytes */{size}"
    for ignored in ("bytes=9-2", "lines=1-2", "bytes=0-1,4-5"):
        assert part(ignored).status_code == 200


def test_a_bad_song_fails_with_its_reason_and_without_folders(working: Working, sounds: Sounds, tmp_path):
    rate = 44100
    soundfile.write(tmp_path / "silent.wav", np.zeros((rate, 2)), rate)
    made = working.cover(files={"song": tmp_path / "silent.wav"})
    failed = working.wait(made.headers["location"])
    assert (failed["state"], failed["error"]["code"]) == ("failed", "song-silent")
    assert failed["error"]["message"].startswith("silent.wav is silent")
    result = working.client.get(f"{made.headers['location']}/audio")
    assert (result.status_code, result.json()["code"]) == (409, "result-not-ready")


@pytest.mark.slow
def test_cancelling_a_running_cover(working: Working, sounds: Sounds):
    made = working.cover(files={"song": sounds["song"]}, settings='{"conversion": {"seed": 77}}')
    href = made.headers["location"]
    while working.client.get(href).json()["state"] == "queued":
        pass
    assert working.client.delete(href).status_code in (202, 204)
    gone = working.client.get(href)
    if gone.status_code == 200:
        assert working.wait(href)["state"] in ("cancelled", "done")
        assert working.client.delete(href).status_code == 204
    assert working.client.get(href).status_code == 404


def test_a_waiting_cover_is_cancelled_at_once(service: Service, sounds: Sounds):
    made = service.client.post("/v1/separations", files={"song": ("a.wav", sounds["song"].read_bytes())})
    href = made.headers["location"]
    assert service.client.get(href).json()["ahead"] == 0
    assert service.client.delete(href).json()["state"] == "cancelled"
    assert service.client.get(f"{href}/events").text.count("event: state") == 2
    assert service.client.delete(href).status_code == 204


def test_an_answer_waits_for_the_end_and_holds_no_place_meanwhile(service: Service, sounds: Sounds):
    song = service.client.post("/v1/songs", files={"file": ("a.wav", sounds["song"].read_bytes())}).json()["id"]

    def post(wait: int, key: str):
        headers = {"Prefer": f"respond-async, Wait={wait}", "Idempotency-Key": key}
        return service.client.post("/v1/separations", json={"song": song}, headers=headers)

    none = post(0, "0")
    assert (none.status_code, none.json()["state"], none.headers["preference-applied"]) == (202, "queued", "wait=0")
    with ThreadPoolExecutor(4) as pool:  # an owner has two places
        sent = [pool.submit(post, 600, str(number)) for number in range(4)]
        streams = service.app.state.services.streams
        until(lambda: streams.get("local") == 4, lambda: f"waiting: {dict(streams)}")
        listed = service.client.get("/v1/separations").json()["items"]
        for job in listed:
            assert service.client.delete(f"/v1/separations/{job['id']}").status_code == 202
        ended = [one.result() for one in sent]
    assert len(listed) == 4
    assert [one.status_code for one in ended] == [200] * 4
    assert {one.json()["id"]: one.json()["state"] for one in ended} == dict.fromkeys(
        (job["id"] for job in listed), "cancelled"
    )
    assert {one.headers["preference-applied"] for one in ended} == {"wait=50"}
    assert ended[0].headers["idempotent-replayed"] == "true"
    assert not streams
    streams["local"] = 300  # all that an owner may have
    assert "preference-applied" not in post(600, "another").headers


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("wait=10", 10), ('foo="x", WAIT = "99"; y=1, bar', 50), ("wait=x", None), ("await=5, nowait", None)],
)
def test_what_is_preferred(header: str, seconds: int | None):
    request = Request({"type": "http", "headers": [(b"prefer", b"return=minimal"), (b"prefer", header.encode())]})
    assert asyncio.run(preferred(request)) == seconds


def test_pages_newest_first(service: Service, sounds: Sounds):
    sent = service.client.post("/v1/songs", files={"file": ("a.wav", sounds["song"].read_bytes())}).json()
    made = [service.client.post("/v1/separations", json={"song": sent["id"]}).json()["id"] for _ in range(5)]
    seen, cursor = [], None
    while True:
        page = service.client.get(
            "/v1/separations", params={"limit": 2, **({"cursor": cursor} if cursor else {})}
        ).json()
        seen += [job["id"] for job in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == made[::-1]
    assert len(service.client.get("/v1/separations?state=queued").json()["items"]) == 5
    assert service.client.get("/v1/separations?state=done").json()["items"] == []
    for bad in ("x", "AAAA", "bm9wZQ", "MS4wIA"):
        answer = service.client.get("/v1/separations", params={"cursor": bad})
        assert (answer.status_code, answer.json()["code"]) == (400, "cursor-invalid")


@pytest.mark.slow
def test_two_voices_in_turns(working: Working, sounds: Sounds):
    recording = ("r.wav", sounds["recording"].read_bytes())
    made = working.client.post("/v1/voices", data={"name": "ada", "consent": "self"}, files={"recordings": recording})
    refused = working.cover(files={"song": sounds["song"]}, voice="0:00-0:01=nova,0:01-=ada")
    assert (refused.status_code, refused.json()["code"]) == (409, "voice-not-ready")
    ada = working.wait(made.headers["location"])["id"]
    answer = working.client.post(
        "/v1/covers",
        data={"voice": [f"0:00-0:01=nova,0:01-={ada}"], "transposes": '{"ada": 12}'},
        files={"song": ("song.wav", sounds["song"].read_bytes())},
    )
    assert answer.status_code == 202, answer.text
    assert answer.json()["voices"] == [f"0:00-0:01=nova,0:01-={ada}"]
    busy = working.client.delete(f"/v1/voices/{ada}")
    done = working.wait(answer.headers["location"])
    assert done["state"] == "done", done["error"]
    assert done["audio"]["name"] == "song (nova+ada).flac"
    assert busy.status_code == 409
    for voice, code in (("0:00-0:01=nova", 202), ("0:00-x=nova", 422), ("backing=nova", 422), ("none", 404)):
        answer = working.cover(files={"song": sounds["song"]}, voice=voice)
        assert answer.status_code == code, answer.text
    answer = working.cover(files={"song": sounds["song"]}, transposes='{"ada": 12}')
    assert (answer.status_code, answer.json()["code"]) == (422, "cast-invalid")
    assert working.client.delete(f"/v1/voices/{ada}").status_code == 204


@pytest.mark.slow
def test_the_engine_that_a_voice_sings_with(working: Working, sounds: Sounds):
    refused = working.cover(files={"song": sounds["song"]}, engine="rvc")
    assert (refused.status_code, refused.json()["code"]) == (422, "engine-missing")
    unknown = working.cover(files={"song": sounds["song"]}, engine="kazoo")
    assert (unknown.status_code, unknown.json()["code"]) == (422, "request-invalid")
    answer = working.cover(files={"song": sounds["song"]}, engine="instant")
    assert (answer.status_code, answer.json()["engine"]) == (202, "instant")
    assert working.wait(answer.headers["location"])["state"] == "done"
    assert working.client.get("/openapi.json").json()["components"]["schemas"]["CoverRequest"]["properties"]["engine"]
