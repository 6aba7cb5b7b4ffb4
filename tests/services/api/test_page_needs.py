"""What the page needs of the API beyond making covers: names, what can't be used, events as JSON, a stream."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from PIL import Image

from tests.audio.test_tags import picture
from tests.services.api.conftest import Service, Sounds, Start, Working
from tests.support import rvc_files as material
from tests.support.command import until
from tests.support.model_source import CONTENT, Source, catalogue_file, served
from understudy.audio.encode import OutputFormat, encode
from understudy.audio.samples import Audio
from understudy.audio.stored import write_blocks
from understudy.audio.tags import Tags
from understudy.context import scratch_context
from understudy.models import download
from understudy.services.queue.tables import jobs


def tagged(folder: Path, sounds: Sounds) -> Path:
    """The song as a file whose tags name it."""
    samples, rate = soundfile.read(sounds["song"], dtype="float32", always_2d=True)
    source = write_blocks(folder / "song.npy", rate, samples.shape[1], [Audio(np.ascontiguousarray(samples.T), rate)])
    tags = Tags(title="Evening", artist="Ada", artwork=picture("png"), artwork_mime="image/png")
    with scratch_context() as context:
        return encode(context, source, folder / "01 track.flac", OutputFormat(), tags)


def test_a_lossless_cover_with_stems_has_a_stream_of_the_same_sound(working: Working, sounds: Sounds, tmp_path: Path):
    made = working.cover(files={"song": tagged(tmp_path, sounds)}, settings='{"output": {"keep_stems": true}}')
    assert (made.json()["name"], made.json()["singers"]) == ("Evening", ["nova"])
    done = working.wait(made.headers["location"])
    assert done["state"] == "done", done["error"]
    stream = working.client.get(done["stream"]["href"])
    assert (stream.headers["content-type"], stream.headers["accept-ranges"]) == ("audio/ogg", "bytes")
    assert len(stream.content) < 128_000 / 8 * done["result"]["duration"] * 1.3 + 5000
    heard, rate = soundfile.read(io.BytesIO(stream.content))
    cover, cover_rate = soundfile.read(io.BytesIO(working.client.get(done["audio"]["href"]).content))
    assert len(heard) / rate == pytest.approx(len(cover) / cover_rate, abs=0.001)
    assert np.sqrt(np.mean(heard**2)) == pytest.approx(np.sqrt(np.mean(cover**2)), rel=0.05)
    listed = working.client.get(done["events"], headers={"Accept": "application/json"}).json()
    assert listed["ended"]
    numbers = [event["number"] for event in listed["events"]]
    assert numbers == sorted(set(numbers))
    stages = [event["data"] for event in listed["events"] if event["type"] == "stage"]
    assert "Singing with the voice" in {stage["title"] for stage in stages}
    last = {"Accept": "application/json", "Last-Event-ID": str(numbers[-2])}
    rest = working.client.get(done["events"], headers=last).json()
    assert [event["data"]["state"] for event in rest["events"]] == ["done"]


def test_a_song_has_an_artwork_and_gets_another_title(service: Service, sounds: Sounds, tmp_path: Path):
    with tagged(tmp_path, sounds).open("rb") as file:
        pictured = service.client.post("/v1/songs", files={"file": ("song.flac", file)}).json()
    artwork = service.client.get(pictured["artwork"])
    with Image.open(io.BytesIO(artwork.content)) as image:
        assert (artwork.headers["content-type"], image.format, image.size) == ("image/jpeg", "JPEG", (320, 320))
    assert service.client.get("/v1/songs").json()["items"] == [pictured]
    assert service.client.delete(f"/v1/songs/{pictured['id']}").status_code == 204
    sent = service.client.post("/v1/songs", files={"file": ("song.wav", sounds["song"].read_bytes())}).json()
    assert sent["artwork"] is None
    assert service.client.get(f"/v1/songs/{sent['id']}/artwork").json()["code"] == "artwork-unknown"
    changed = service.client.patch(f"/v1/songs/{sent['id']}", json={"title": " Evening "}).json()
    assert changed == {**sent, "title": "Evening"}
    assert service.client.patch(f"/v1/songs/{sent['id']}", json={"title": "  "}).status_code == 422


def test_what_lacks_a_model_says_so_in_a_fan_s_words(working: Working, sounds: Sounds, tmp_path: Path):
    model = material.write_random_pth(tmp_path / "kit.pth", material.small())
    made = working.client.post(
        "/v1/voices", data={"name": "kit", "consent": "self"}, files={"model": ("kit.pth", model.read_bytes())}
    )
    voice = working.wait(f"/v1/voices/{made.json()['id']}")
    assert voice["state"] == "ready", voice["error"]
    assert voice["recording"] is None
    nova = working.client.get(working.client.get("/v1/voices/nova").json()["recording"])
    assert soundfile.info(io.BytesIO(nova.content)).format == "FLAC"
    refused = working.client.post("/v1/covers", data={"voice": "kit"}, files={"song": sounds["song"].read_bytes()})
    choices = {one["name"]: one["unusable"] for one in working.client.get("/v1/choices").json()["presets"]}
    assert choices["embedded"] is None
    assert refused.json()["code"] == "model-missing"
    for told in (voice["unusable"], choices["balanced"], refused.json()["detail"] + refused.json()["hint"]):
        assert "this server hasn't got" in told.lower()
        assert not any(word in told for word in ("understudy ", "/", "--", "http")), told


def test_a_waiting_job_says_what_is_before_it(service: Service, sounds: Sounds):
    files = {"song": ("song.wav", sounds["song"].read_bytes())}
    first, second = (service.client.post("/v1/separations", files=files).json()["id"] for _ in range(2))

    def before(id: str) -> tuple[int, int]:
        shown = service.client.get(f"/v1/separations/{id}").json()
        return shown["ahead"], shown["running"]

    assert (before(first), before(second)) == ((0, 0), (1, 0))
    with service.app.state.services.database.write() as connection:
        connection.execute(jobs.update().where(jobs.c.id == first).values(state="running"))
    assert before(second) == (0, 1)


def test_a_model_is_fetched_stopped_and_goes_on(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    content = CONTENT * 16  # so slow that it can be stopped on the way
    with served(Source(content, ["slow"])) as source:
        about = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        path = catalogue_file(tmp_path, source.url, **about)
        entry = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump({"thing": {**entry["thing"], "without": "Nothing can be tested."}}))
        monkeypatch.setenv("UNDERSTUDY_CATALOGUE", str(path))
        monkeypatch.setenv("UNDERSTUDY_MODELS", str(tmp_path / "models"))
        monkeypatch.setattr(download, "RESERVE", 1)
        service = start(keys=True)
        ann, ben = service.key("ann"), service.key("ben")
        client, here = service.client, "/v1/models/thing"
        listed = {one["name"]: one for one in client.get("/v1/models", headers=ann).json()}
        assert "htdemucs" in listed  # of a preset
        thing = listed["thing"]
        assert (thing["state"], thing["bytes"], thing["fetchable"]) == ("absent", len(content), True)
        assert client.post(f"{here}/fetch", headers=ann).json()["state"] == "fetching"
        assert client.delete(f"{here}/fetch", headers=ben).json()["code"] == "job-ended"
        assert client.post(f"{here}/fetch", headers=ben).status_code == 202  # joins
        until(lambda: client.get(here, headers=ben).json()["fraction"] > 0)
        assert client.delete(f"{here}/fetch", headers=ann).json()["state"] == "absent"
        source.manners = ["404"]
        client.post(f"{here}/fetch", headers=ben)
        until(lambda: client.get(here, headers=ben).json()["state"] == "absent")
        error = client.get(here, headers=ben).json()["error"]
        assert error["code"] == "model-source"
        assert str(tmp_path) not in str(error)
        source.manners = ["well"]
        client.post(f"{here}/fetch", headers=ben)
        until(lambda: client.get(here, headers=ben).json()["state"] == "installed")
        assert source.ranges[-1] is not None  # it went on where it was stopped
        assert client.get("/v1/models/other", headers=ann).status_code == 404


def test_an_operator_can_forbid_fetching_models(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("UNDERSTUDY_MODELS", str(tmp_path / "models"))
    client = start(fetch_models=False).client
    assert not client.get("/v1/models/htdemucs").json()["fetchable"]
    refused = client.post("/v1/models/htdemucs/fetch")
    assert (refused.status_code, refused.json()["code"]) == (403, "models-not-fetched")


def test_a_take_is_checked_and_a_voice_gets_more_recordings(working: Working, sounds: Sounds, tmp_path: Path):
    client, take = working.client, sounds["recording"]
    checked = client.post("/v1/recordings/check", files={"recording": ("take.wav", take.read_bytes())}).json()
    assert checked["voice"] == pytest.approx(6.4, abs=0.8)  # eight notes of 0.8 s
    assert checked["pitch_range"]["median"] == pytest.approx(135, rel=0.06)  # between C3 and D3
    silence = tmp_path / "take.wav"
    soundfile.write(silence, np.zeros(48000), 48000)
    sent = {"recording": ("take.wav", silence.read_bytes())}
    (finding,) = client.post("/v1/recordings/check", files=sent).json()["findings"]
    assert finding["code"] == "silent"
    assert finding["sentence"].startswith("Not usable, it is silent")

    fields = {"name": "ida", "consent": "self"}
    made = client.post("/v1/voices", data=fields, files={"recordings": ("take.wav", take.read_bytes())}).json()
    before = working.wait(f"/v1/voices/{made['id']}")
    assert client.get(before["sample"]).status_code == 404  # nobody asked for one
    samples, rate = soundfile.read(take)
    soundfile.write(tmp_path / "more.wav", samples[: 3 * rate] * 0.9, rate)
    more = {"recordings": ("more.wav", (tmp_path / "more.wav").read_bytes())}
    fields = {"consent": "granted", "sample": "true"}
    assert client.post(f"/v1/voices/{made['id']}/recordings", data=fields, files=more).status_code == 202
    until(lambda: client.get(before["events"], headers={"Accept": "application/json"}).json()["ended"])
    after = client.get(f"/v1/voices/{made['id']}").json()
    assert (after["state"], after["error"], after["consent"]) == ("ready", None, "granted")
    assert after["seconds"] == pytest.approx(before["seconds"] + 3, abs=0.1)
    sample = client.get(after["sample"])
    assert sample.headers["content-type"] == "audio/mpeg"
    sung, rate = soundfile.read(io.BytesIO(sample.content))
    assert len(sung) / rate == pytest.approx(5.5, abs=0.1)
    assert np.sqrt(np.mean(sung**2)) > 0.02
    assert client.delete(f"/v1/voices/{made['id']}").status_code == 204
    assert not [path for path in working.stored() if made["id"] in path]
