"""Consent over HTTP: challenges, consent files, what a key demands, and what revoking ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from tests.services.api.conftest import Service, Sounds, Start, Working
from tests.support.library_voices import recorded_voice
from tests.support.recording_takes import take, write
from understudy.pipeline.store import Store
from understudy.services.queue import owners
from understudy.services.queue.tables import voices
from understudy.voices.consent.delegation import OwnerKey
from understudy.voices.consent.log import Entry, parse

SHORT = '{"song": {"duration": 1.0}}'


def entries(service: Service) -> tuple[Entry, ...]:
    """The owner's log, its chain checked."""
    found = service.client.get("/v1/consent-log").json()
    return parse([Entry(**one).line for one in found["entries"]], "log")


def test_from_a_statement_to_its_end(working: Working, sounds: Sounds, tmp_path: Path):
    client = working.client
    recording = write(tmp_path / "lena.wav", take(8, semitones=-4, formants=1.1))
    files = {"recordings": ("lena.wav", recording.read_bytes())}
    id = client.post("/v1/voices", data={"name": "lena", "consent": "granted"}, files=files).json()["id"]
    voice = working.wait(f"/v1/voices/{id}")
    assert (voice["state"], voice["consent_level"]) == ("ready", "stated")
    stated = next(entry for entry in entries(working) if entry.hash == voice["consent_record"]["record"])
    consent = f"/v1/voices/{id}/consent"

    # a recording that doesn't say the phrase, and no second try
    assert client.post(f"{consent}/challenge").json()["phrase"].count(".") == 2
    answer = {"recording": ("answer.wav", write(tmp_path / "answer.wav", take(5)).read_bytes())}
    refused = client.post(f"{consent}/recording", files=answer)
    assert (refused.status_code, refused.json()["code"]) == (422, "consent-recording-wrong-words")
    assert client.post(f"{consent}/recording", files=answer).json()["code"] == "challenge-missing"

    # a file that the owner has signed: for covers, and not for training
    key = OwnerKey(tmp_path / "owner.pem")
    fingerprint = key.make()
    signed = {"file": ("consent.json", key.sign(stated.identity, ("cover",), datetime.now(UTC) + timedelta(days=1)))}
    wrong = client.post(f"{consent}/delegation", files=signed, data={"owner": "0" * 64})
    assert wrong.json()["code"] == "consent-file-invalid"
    given = client.post(f"{consent}/delegation", files=signed, data={"owner": fingerprint}).json()
    assert (given["consent_level"], given["consent_record"]["uses"]) == ("delegated", ["cover"])
    assert (
        client.post(f"/v1/voices/{id}/train", json={"size": "tiny", "embedder": "cepstral"}).json()["code"]
        == "consent-use-refused"
    )

    # revoked: the cover is gone, the voice makes no other, its recordings aren't taken again
    made = working.cover(files={"song": sounds["song"]}, voice="lena", settings=SHORT).json()
    assert working.wait(f"/v1/covers/{made['id']}")["state"] == "done"
    ended = client.post(f"{consent}/revoke", json={"reason": "asked to"}).json()
    assert ended["consent_level"] == "revoked"
    cover = client.get(f"/v1/covers/{made['id']}").json()
    assert (cover["state"], cover["error"]["code"], cover["audio"]) == ("expired", "consent-revoked", None)
    assert client.get(f"/v1/covers/{made['id']}/audio").status_code == 410
    assert not [path for path in working.stored() if id in path or made["id"] in path]
    store = Store(working.settings.data / "cache" / "local-0")
    assert store.remove_voices({stated.identity}) == 0
    again = working.cover(files={"song": sounds["song"]}, voice="lena", settings=SHORT)
    assert again.json()["code"] == "consent-revoked"
    copy = client.post("/v1/voices", data={"name": "copy", "consent": "self"}, files=files).json()
    assert working.wait(f"/v1/voices/{copy['id']}")["error"]["code"] == "consent-revoked"
    said = [entry.decision for entry in entries(working) if entry.voice == "lena"]
    assert said == ["stated", "challenged", "refused", "delegated", "revoked"]


def test_a_key_demands_a_level(start: Start, sounds: Sounds, tmp_path: Path):
    service = start(keys=True)
    database = service.app.state.services.database
    keys = {
        level: owners.create_key(database, "ada", level, owners.SCOPES, consent=level)[0]
        for level in ("stated", "verified")
    }
    manifest = recorded_voice(tmp_path).manifest.model_dump(mode="json")
    with database.write() as connection:
        owner = owners.find_owner(database, connection, keys["stated"])
        assert owner is not None
        row = {"id": "voice_1", "owner": owner.id, "name": "nova", "folded": "nova", "state": "ready", "path": "x"}
        connection.execute(voices.insert().values(**row, consent="self", manifest=manifest, findings=[], created=0.0))
        assert connection.scalar(select(voices.c.id)) == "voice_1"

    def cover(level: str) -> int:
        files = {"song": ("song.wav", sounds["song"].read_bytes())}
        headers = {"Authorization": f"Bearer {keys[level]}"}
        return service.client.post("/v1/covers", data={"voice": "nova"}, files=files, headers=headers).status_code

    assert (cover("stated"), cover("verified")) == (202, 422)
