"""What one owner does never slows another: nothing slow in a transaction, shares of what serves all, and bounds."""

from __future__ import annotations

import asyncio
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
import soundfile
from sqlalchemy import Connection

from tests.services.api.conftest import KEYS, Service, Sounds, Working
from tests.services.api.test_requests import refused
from tests.support import signals
from tests.support.command import HANGS, until
from understudy.errors import UnderstudyError
from understudy.services.api import bodies, shares
from understudy.services.api.limits import RateLimits
from understudy.services.api.shares import Shares, Transfers
from understudy.services.api.uploads import Upload
from understudy.services.queue.database import Database
from understudy.services.queue.owners import find_owner
from understudy.services.queue.storage import Storage
from understudy.services.queue.tables import owners, songs


def upload(service: Service, sounds: Sounds, headers: dict[str, str], sound: str = "song", **more: str):
    files = {"file": ("song.wav", sounds[sound].read_bytes())}
    return service.client.post("/v1/songs", files=files, headers={**headers, **more})


def test_an_owner_has_its_share_and_no_more():
    async def scenario() -> None:
        places, order, go = Shares(total=2, each=1), [], asyncio.Event()

        async def work(name: str, owner: str, wait: bool) -> None:
            async with places.place(owner):
                order.append(name)
                if wait:
                    await go.wait()

        first = asyncio.create_task(work("a1", "ada", True))
        await asyncio.sleep(0)
        second = asyncio.create_task(work("a2", "ada", False))
        await work("b1", "bea", False)
        assert order == ["a1", "b1"], "one place is free, and it isn't for the same owner"
        go.set()
        await asyncio.gather(first, second)
        assert order == ["a1", "b1", "a2"]

    asyncio.run(scenario())


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shares, "WAITING", 1)

    async def scenario() -> None:
        places, go = Shares(total=5, each=1), asyncio.Event()

        async def work() -> None:
            async with places.place("ada"):
                await go.wait()

        tasks = [asyncio.create_task(work()) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(UnderstudyError) as caught:
            await work()
        assert caught.value.code == "rate-limited"
        go.set()
        await asyncio.gather(*tasks)
        await work()  # go is set: there is room again

    asyncio.run(scenario())


def test_bytes_on_disk_are_counted_for_all_uploads_of_an_owner():
    transfers = Transfers()
    transfers.hold("ada", 60, room=100)
    transfers.hold("bea", 60, room=100)
    with pytest.raises(UnderstudyError) as caught:
        transfers.hold("ada", 50, room=100)
    assert caught.value.code == "storage-used-up"
    transfers.release("ada", 60)
    transfers.hold("ada", 100, room=100)
    with transfers.one("ada"):
        transfers.check("ada", 2)
        with pytest.raises(UnderstudyError) as caught:
            transfers.check("ada", 1)
    assert caught.value.code == "too-many-transfers"
    transfers.check("ada", 1)


def test_nothing_is_locked_while_a_slow_storage_writes(
    guarded: Service, sounds: Sounds, monkeypatch: pytest.MonkeyPatch
):
    ada, bea = guarded.key("ada"), guarded.key("bea")
    begun, go, put = Event(), Event(), Storage.put

    def slow(self: Storage, file, name: str, *, move: bool = False) -> int:
        if not begun.is_set():
            begun.set()
            assert go.wait(HANGS)
        return put(self, file, name, move=move)

    monkeypatch.setattr(Storage, "put", slow)
    with ThreadPoolExecutor(1) as pool:
        try:
            sent = pool.submit(upload, guarded, sounds, ada)
            assert begun.wait(HANGS)
            with guarded.app.state.services.database.write() as connection:  # waits for nobody, nor for ada's own row
                connection.execute(owners.update().where(owners.c.name == "ada").values(generation=owners.c.generation))
            assert upload(guarded, sounds, bea).status_code == 201
            assert upload(guarded, sounds, ada).status_code == 201
            assert guarded.client.get("/v1/songs", headers=ada).status_code == 200
        finally:
            go.set()
        assert sent.result().status_code == 201
    assert len(guarded.stored()) == 3


def test_a_storage_that_fails_leaves_nothing(guarded: Service, sounds: Sounds, monkeypatch: pytest.MonkeyPatch):
    ada, put = guarded.key("ada"), Storage.put

    def fails(self: Storage, file, name: str, *, move: bool = False) -> int:
        if list(guarded.stored()):
            raise UnderstudyError("storage-unavailable", "Away.", "Try again.")
        return put(self, file, name, move=move)

    monkeypatch.setattr(Storage, "put", fails)
    files = {name: (f"{name}.wav", sounds[name].read_bytes()) for name in ("vocals", "instrumental")}
    recording = {"recordings": ("r.wav", sounds["recording"].read_bytes())}
    refused(
        guarded.client.post("/v1/covers", data={"voice": "x"}, files=files, headers=ada), 404, "voice-unknown"
    )  # before anything is stored
    two = [("recordings", recording["recordings"]), ("recordings", recording["recordings"])]
    answer = guarded.client.post("/v1/voices", data={"name": "nova", "consent": "self"}, files=two, headers=ada)
    refused(answer, 503, "storage-unavailable")
    assert guarded.stored() == guarded.leftovers() == []
    assert guarded.client.get("/v1/voices", headers=ada).json()["items"] == []
    assert guarded.client.get("/v1/account", headers=ada).json()["usage"]["storage_bytes"] == 0


def test_room_that_another_server_took_meanwhile(guarded: Service, sounds: Sounds, monkeypatch: pytest.MonkeyPatch):
    headers, put = guarded.key("ada", storage_bytes=3 * sounds["song"].stat().st_size), Storage.put
    assert upload(guarded, sounds, headers).status_code == 201

    def overtaken(self: Storage, file, name: str, *, move: bool = False) -> int:
        with guarded.app.state.services.database.write() as connection:
            connection.execute(songs.update().values(bytes=songs.c.bytes * 3))
        return put(self, file, name, move=move)

    monkeypatch.setattr(Storage, "put", overtaken)
    refused(upload(guarded, sounds, headers), 507, "storage-used-up")
    assert len(guarded.stored()) == len(guarded.client.get("/v1/songs", headers=headers).json()["items"]) == 1
    assert guarded.leftovers() == []


def test_storage_is_bounded_while_files_come_in(guarded: Service, monkeypatch: pytest.MonkeyPatch):
    headers, written, write = guarded.key("ada", storage_bytes=100_000), [], Upload.write

    def counted(self: Upload, data: bytes) -> None:
        written.append(len(data))
        write(self, data)

    monkeypatch.setattr(Upload, "write", counted)
    for size in (900_000, 3_000_000):  # the second says by its length alone that it won't fit
        answer = guarded.client.post("/v1/songs", files={"file": ("a.wav", bytes(size))}, headers=headers)
        refused(answer, 507, "storage-used-up")
    assert sum(written) <= 100_000
    assert guarded.leftovers() == []


def test_names_of_webhooks_are_not_looked_up_by_a_request(
    service: Service, sounds: Sounds, monkeypatch: pytest.MonkeyPatch
):
    real = socket.getaddrinfo

    def numbers_only(host, port, family=0, type=0, proto=0, flags=0):
        assert flags & socket.AI_NUMERICHOST, f"{host} is looked up"
        return real(host, port, family, type, proto, flags)

    monkeypatch.setattr(socket, "getaddrinfo", numbers_only)
    song = {"song": ("song.wav", sounds["song"].read_bytes())}
    answer = service.client.post("/v1/separations", data={"webhook": "https://hooks.example/x"}, files=song)
    assert answer.status_code == 202, answer.text


def test_many_requests_with_one_key_leave_threads_to_look_up_others(guarded: Service, monkeypatch: pytest.MonkeyPatch):
    ada, bea = guarded.key("ada"), guarded.key("bea")
    go = Event()

    def slow(database: Database, connection: Connection, key: str):
        if key in ada["Authorization"]:
            assert go.wait(HANGS)
        return find_owner(database, connection, key)

    monkeypatch.setattr("understudy.services.api.auth.find_owner", slow)
    count, services = 41, guarded.app.state.services  # one more than the threads that all requests share
    with ThreadPoolExecutor(count + 1) as pool:
        try:
            sent = [pool.submit(guarded.client.get, "/v1/songs", headers=ada) for _ in range(count)]
            until(lambda: [share.users for share in services.identifying._owners.values()] == [count])
            assert pool.submit(guarded.client.get, "/v1/songs", headers=bea).result(HANGS).status_code == 200
        finally:
            go.set()
        assert {answer.result().status_code for answer in sent} == {200}


def test_texts_and_lists_are_bounded(service: Service):
    for voice in (["nova"] * 21, ["x" * 2001], ["lead=nova"] * 1000):
        answer = service.client.post("/v1/covers", json={"song": "song_x", "voice": voice})
        refused(answer, 422, "request-invalid")
    turns = ",".join(f"{second}-{second + 1}=v{second}" for second in range(21))
    refused(service.client.post("/v1/covers", json={"song": "song_x", "voice": turns}), 422, "cast-invalid")
    long = {"song": "song_x", "voice": ["x" * 2000] * 20, "preset": "p" * 40000}
    refused(service.client.post("/v1/covers", json=long), 413, "body-too-large")
    form = {"voice": ["v" * 30000] * 3}
    refused(
        service.client.post("/v1/covers", data=form, files={"song": ("a.wav", b"x")}),
        413,
        "body-too-large",
    )


def test_bodies_that_no_route_asked_for_are_bounded(guarded: Service, monkeypatch: pytest.MonkeyPatch):
    headers = {**guarded.key("ada"), "Content-Type": "application/json"}
    long = b'{"name": "' + b"x" * 70_000 + b'"}'
    for method, path in (("PATCH", "/v1/voices/nova"), ("POST", "/v1/session")):
        refused(guarded.client.request(method, path, content=long, headers=headers), 413, "body-too-large")
    form = {**headers, "Content-Type": "multipart/form-data; boundary=b"}  # a route for JSON takes no large form either
    refused(guarded.client.patch("/v1/voices/nova", content=long, headers=form), 413, "body-too-large")
    monkeypatch.setattr(bodies, "SECONDS", 0.0)
    refused(guarded.client.patch("/v1/voices/nova", content=b"{}", headers=headers), 408, "upload-too-slow")


def test_many_faults_are_not_all_listed(service: Service):
    body = {"song": "song_x", "settings": {"remix": {f"a{number}": 1 for number in range(4000)}}}
    assert len(refused(service.client.post("/v1/separations", json=body), 422, "request-invalid")["errors"]) == 20


def test_addresses_that_try_keys_take_no_more_memory_than_others_have():
    rates = RateLimits()
    for number in range(10_005):
        rates.take(f"guess {number}", 30)
    assert len(rates._buckets) == 10_000
    assert not rates.take("guess 0", 1)


@pytest.mark.parametrize("name", ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via"])
def test_an_open_server_serves_nobody_behind_a_proxy(service: Service, name: str):
    answer = service.client.get("/v1/songs", headers={name: "192.0.2.1"})
    refused(answer, 403, "proxy-refused")
    assert service.client.get("/healthz", headers={name: "192.0.2.1"}).status_code == 200


def test_a_server_with_keys_may_have_a_proxy(guarded: Service):
    headers = {**guarded.key("ada"), "X-Forwarded-For": "192.0.2.1"}
    assert guarded.client.get("/v1/songs", headers=headers).status_code == 200


def test_cancelled_jobs_count_for_the_day(guarded: Service, sounds: Sounds):
    headers = guarded.key("ada", jobs_a_day=2)
    song = upload(guarded, sounds, headers).json()["id"]
    for _ in range(2):
        made = guarded.client.post("/v1/separations", json={"song": song}, headers=headers)
        assert guarded.client.delete(made.headers["location"], headers=headers).status_code == 202
        assert guarded.client.delete(made.headers["location"], headers=headers).status_code == 204
    again = guarded.client.post("/v1/separations", json={"song": song}, headers=headers)
    refused(again, 429, "too-many-jobs")


def test_minutes_are_charged_by_what_was_decoded(working: Working, tmp_path: Path):
    """A FLAC file of two seconds that says it has a tenth of one."""
    sound = signals.song(2.0).mix
    soundfile.write(tmp_path / "short.flac", sound.samples.T, sound.rate)
    content = bytearray((tmp_path / "short.flac").read_bytes())
    at = 8 + 13  # STREAMINFO: 36 bits with the number of frames, of which the first 4 are zero here
    content[at : at + 5] = bytes([content[at] & 0xF0]) + (sound.rate // 10).to_bytes(4, "big")
    before = working.client.get("/v1/account").json()["usage"]["minutes_a_day"]
    made = working.client.post("/v1/separations", files={"song": ("short.flac", bytes(content))})
    assert made.status_code == 202, made.text
    spent = working.client.get("/v1/account").json()["usage"]["minutes_a_day"] - before
    assert spent == pytest.approx(0.1 / 60, abs=1e-4), "what the file says"
    working.wait(made.headers["location"])
    spent = working.client.get("/v1/account").json()["usage"]["minutes_a_day"] - before
    assert spent == pytest.approx(2 / 60, abs=1e-4)


def test_the_longest_input_is_charged(working: Working, sounds: Sounds, tmp_path: Path):
    long = signals.song(4.0)
    for name, sound in (("vocals", long.vocals), ("instrumental", long.instrumental)):
        soundfile.write(tmp_path / f"{name}.wav", sound.samples.T, sound.rate, subtype="PCM_16")
    before = working.client.get("/v1/account").json()["usage"]["minutes_a_day"]
    stems = {name: tmp_path / f"{name}.wav" for name in ("vocals", "instrumental")}
    made = working.cover(files={"song": sounds["song"], **stems})
    spent = working.client.get("/v1/account").json()["usage"]["minutes_a_day"] - before
    assert spent == pytest.approx(4 / 60, abs=1e-4)
    working.client.delete(made.headers["location"])


@pytest.mark.parametrize("limit", ["requests_a_minute=0", "jobs_queued=-1", "streams=1.5"])
def test_limits_that_can_be_no_setting_are_refused(guarded: Service, limit: str):
    name, _, number = limit.partition("=")
    with pytest.raises(UnderstudyError) as caught:
        guarded.key("ada", KEYS, **{name: float(number)})
    assert caught.value.code == "limit-invalid"
    assert name in caught.value.message


NUL = "a\0b"


def test_characters_that_no_database_takes_are_refused(service: Service, sounds: Sounds):
    song = {"song": ("song.wav", sounds["song"].read_bytes())}
    for path in ("/v1/songs/a%00b", "/v1/voices/%00", "/v1/trainings?voice=a%00b", "/v1/covers/x%00/stems/%00"):
        refused(service.client.get(path), 400, "request-malformed")
    for body in ({"song": NUL}, {NUL: 1}, {"song": "x", "settings": {"tags": {"title": NUL}}}, {"song": "\ud800"}):
        refused(service.client.post("/v1/separations", content=json.dumps(body)), 415, "media-type")
        answer = service.client.post(
            "/v1/separations", content=json.dumps(body), headers={"Content-Type": "application/json"}
        )
        refused(answer, 400, "request-malformed")
    for fields in ({"preset": NUL}, {"settings": json.dumps({"tags": {"title": NUL}})}):
        answer = service.client.post("/v1/separations", data=fields, files=song)
        refused(answer, 400, "request-malformed")
    refused(service.client.patch("/v1/voices/x", json={"name": NUL}), 404, "voice-unknown")
    named = service.client.post("/v1/songs", files={"file": (NUL, song["song"][1])})
    assert named.status_code == 201, named.text
    assert service.stored() == [service.client.get("/v1/songs").json()["items"][0]["id"].join(("local/songs/", ""))]
