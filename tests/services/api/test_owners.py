"""Keys, scopes, limits, and that nobody sees what is another's."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select
from starlette.testclient import TestClient

from tests.services.api.conftest import KEYS, Service, Sounds
from tests.support.command import until
from tests.support.library_voices import recorded_voice
from understudy.errors import UnderstudyError
from understudy.services.api.app import make_app
from understudy.services.queue import consents, deletion, housekeeping, owners, removals
from understudy.services.queue import sessions as page_sessions
from understudy.services.queue.audit import prune
from understudy.services.queue.database import Database
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.tables import audit, keys, metadata, past_consents, sessions, voices


def send(service: Service, sounds: Sounds, headers: dict[str, str], **more: str):
    files = {"song": ("song.wav", sounds["song"].read_bytes())}
    return service.client.post("/v1/separations", files=files, headers={**headers, **more})


def test_without_a_key_nothing_opens(guarded: Service):
    for headers in (
        {},
        {"Authorization": "Bearer us_x_y"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic eA=="},
    ):
        answer = guarded.client.get("/v1/covers", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"
    assert guarded.client.get("/healthz").status_code == 200


def test_a_revoked_key_opens_nothing_any_more(guarded: Service):
    headers = guarded.key("ada")
    assert guarded.client.get("/v1/covers", headers=headers).status_code == 200
    owners.revoke_key(guarded.app.state.services.database, headers["Authorization"].split("_")[1])
    answer = guarded.client.get("/v1/covers", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "key-invalid")


def test_keys_are_made_rotated_and_revoked_by_an_owner(guarded: Service):
    """And never may more than the key that asks."""
    client, ada, bea = guarded.client, guarded.key("ada", ("read", "keys")), guarded.key("bea", (*KEYS, "keys"))

    def bearer(answer) -> dict[str, str]:
        assert answer.status_code == 201, answer.text
        return {"Authorization": f"Bearer {answer.json()['key']}"}

    def status(headers: dict[str, str]) -> int:
        return int(client.get("/v1/songs", headers=headers).status_code)

    made = client.post("/v1/keys", json={"name": "shop", "scopes": ["read"], "lifetime": 3600}, headers=ada)
    shop, id = bearer(made), made.json()["id"]
    assert status(shop) == 200
    assert client.get("/v1/keys", headers=shop).json()["code"] == "scope-missing"
    for body in (
        {"scopes": ["make"]},
        {"scopes": ["admin"]},
        {"scopes": ["read"], "owner": "bea"},
        {"scopes": ["read"], "limits": {"jobs_queued": 9}},
    ):
        assert client.post("/v1/keys", json=body, headers=ada).json()["code"] == "scope-missing", body
    assert client.get(made.headers["location"], headers=ada).json()["name"] == "shop"
    assert client.get(made.headers["location"], headers=bea).status_code == 404
    for path in (f"/v1/keys/{id}", f"/v1/keys/{id}/rotate"):
        answer = client.request("DELETE" if path.endswith(id) else "POST", path, json={}, headers=bea)
        assert (answer.status_code, answer.json()["code"]) == (404, "key-unknown")
    stronger = client.get("/v1/keys", headers=bea).json()["items"]
    assert [key["owner"] for key in stronger] == ["bea"]
    own = client.post("/v1/keys", json={"scopes": ["read"]}, headers=bea)
    rotated = client.post(f"/v1/keys/{id}/rotate", json={"overlap": 600}, headers=ada)
    assert (status(bearer(rotated)), status(shop)) == (200, 200)
    old, new = (
        next(key for key in client.get("/v1/keys", headers=ada).json()["items"] if key["id"] == one)
        for one in (id, rotated.json()["id"])
    )
    assert old["expires"] < made.json()["expires"] < new["expires"]
    assert "key" not in old
    assert client.delete(f"/v1/keys/{new['id']}", headers=ada).status_code == 204
    assert status(bearer(rotated)) == 401
    database = guarded.app.state.services.database
    with database.write() as connection:
        connection.execute(keys.update().where(keys.c.id == id).values(expires=database.now(connection)))
    assert status(shop) == 401
    with database.write() as connection:
        connection.execute(keys.update().where(keys.c.id == id).values(expires=1.0))
    housekeeping.sweep(database, guarded.settings)
    assert id not in str(client.get("/v1/keys", headers=ada).json())
    assert status(bearer(own)) == 200
    done = client.get("/v1/audit-log", headers=ada).json()["items"]
    by = ada["Authorization"].split("_")[1]
    assert [(entry["action"], entry["resource"]) for entry in done] == [
        ("revoke_key", f"/v1/keys/{new['id']}"),
        ("rotate_key", f"/v1/keys/{id}/rotate"),
        ("make_key", f"/v1/keys/{id}"),
    ], "what was refused or read is not in it"
    assert {(entry["key"], entry["address"]) for entry in done} == {(by, "testclient")}
    assert rotated.json()["key"].rpartition("_")[2] not in str(done)
    found = client.get("/v1/audit-log", params={"action": "make_key", "key": "none"}, headers=ada).json()
    assert found["items"] == []
    with database.write() as connection:
        connection.execute(audit.update().where(audit.c.action == "make_key").values(created=1.0))
    prune(database, guarded.settings)
    assert "make_key" not in str(client.get("/v1/audit-log", headers=ada).json())
    operator = guarded.key("operator", ("keys", "admin"))
    tenant = client.post(
        "/v1/keys", json={"scopes": ["make"], "owner": "new", "limits": {"jobs_queued": 7}}, headers=operator
    )
    assert (tenant.json()["owner"], tenant.json()["scopes"]) == ("new", ["make"])
    assert (
        client.get("/v1/keys", params={"owner": "new"}, headers=operator).json()["items"][0]["id"]
        == tenant.json()["id"]
    )


def test_a_key_makes_no_stronger_and_no_end_of_keys(guarded: Service, monkeypatch: pytest.MonkeyPatch):
    strong = guarded.key("ada", (*KEYS, "keys"))["Authorization"].split("_")[1]
    weak = guarded.key("ada", ("read", "keys"))
    answer = guarded.client.post(f"/v1/keys/{strong}/rotate", json={}, headers=weak)
    assert (answer.status_code, answer.json()["code"]) == (403, "scope-missing")
    database = guarded.app.state.services.database
    kind = owners.create_key(database, "ada", "", ("read", "keys"), consent="verified")[0]
    weaker = {"scopes": ["read"], "consent": "stated"}
    answer = guarded.client.post("/v1/keys", json=weaker, headers={"Authorization": f"Bearer {kind}"})
    assert (answer.status_code, answer.json()["code"]) == (403, "scope-missing")
    monkeypatch.setattr(owners, "MOST_KEYS", 4)
    codes = [guarded.client.post("/v1/keys", json={"scopes": ["read"]}, headers=weak).status_code for _ in range(2)]
    assert codes == [201, 409]


def test_secrets_are_not_stored(guarded: Service):
    key = guarded.key("ada")["Authorization"].removeprefix("Bearer ")
    secret = key.rpartition("_")[2]
    data = guarded.settings.data
    assert not any(secret.encode() in path.read_bytes() for path in data.rglob("server.sqlite3*"))


def test_what_is_anothers_does_not_exist(guarded: Service, sounds: Sounds):
    ada, bea = guarded.key("ada"), guarded.key("bea")
    made = send(guarded, sounds, ada)
    job, song = made.json()["id"], made.json()["inputs"]["song"]
    files = {"recordings": ("r.wav", sounds["recording"].read_bytes())}
    voice = guarded.client.post("/v1/voices", data={"name": "nova", "consent": "self"}, files=files, headers=ada)
    id = voice.json()["id"]
    paths = [f"/v1/separations/{job}", f"/v1/separations/{job}/events", f"/v1/separations/{job}/stems/vocals"]
    paths += [f"/v1/songs/{song}", f"/v1/songs/{song}/audio", f"/v1/voices/{id}", "/v1/voices/nova"]
    for path in paths:
        assert guarded.client.get(path, headers=bea).status_code == 404, path
    for path in (f"/v1/separations/{job}", f"/v1/songs/{song}", f"/v1/voices/{id}"):
        assert guarded.client.delete(path, headers=bea).status_code == 404
    assert guarded.client.patch(f"/v1/voices/{id}", json={"name": "x"}, headers=bea).status_code == 404
    foreign = guarded.client.post("/v1/separations", json={"song": song}, headers=bea)
    assert foreign.status_code == 404
    for kind in ("songs", "voices", "covers", "separations"):
        assert guarded.client.get(f"/v1/{kind}", headers=bea).json()["items"] == []
    assert guarded.client.get(f"/v1/separations/{job}", headers=ada).status_code == 200
    assert (
        guarded.client.post(
            "/v1/voices", data={"name": "nova", "consent": "self"}, files=files, headers=bea
        ).status_code
        == 202
    ), "a name is taken within one's own voices only"


def test_scopes(guarded: Service, sounds: Sounds):
    reader = guarded.key("ada", ("read",))
    assert guarded.client.get("/v1/songs", headers=reader).status_code == 200
    answer = send(guarded, sounds, reader)
    assert (answer.status_code, answer.json()["code"]) == (403, "scope-missing")
    assert guarded.client.get("/v1/account", headers=reader).json()["webhook_secret"] is None
    assert guarded.leftovers() == []


def test_limits_of_jobs_minutes_and_storage(guarded: Service, sounds: Sounds):
    few = guarded.key("few", jobs_queued=1)
    assert send(guarded, sounds, few).status_code == 202
    answer = send(guarded, sounds, few)
    assert (answer.status_code, answer.json()["code"]) == (429, "too-many-jobs")
    assert int(answer.headers["retry-after"]) > 0
    short = guarded.key("short", minutes_a_day=0.05)
    assert send(guarded, sounds, short).status_code == 202
    assert send(guarded, sounds, short).json()["code"] == "minutes-used-up"
    small = guarded.key("small", storage_bytes=sounds["song"].stat().st_size + 10)
    assert send(guarded, sounds, small).status_code == 202
    answer = send(guarded, sounds, small)
    assert (answer.status_code, answer.json()["code"]) == (507, "storage-used-up")
    tiny = guarded.key("tiny", song_bytes=1000)
    answer = send(guarded, sounds, tiny)
    assert (answer.status_code, answer.json()["code"]) == (413, "file-too-big")
    brief = guarded.key("brief", song_seconds=1.0)
    assert send(guarded, sounds, brief).json()["code"] == "song-too-long"
    assert guarded.leftovers() == []
    assert len(guarded.stored()) == 3, "what was refused is not kept"


def test_rate_limit(guarded: Service):
    headers = guarded.key("fast", requests_a_minute=3)
    codes = [guarded.client.get("/v1/songs", headers=headers).status_code for _ in range(4)]
    assert codes == [200, 200, 200, 429]
    assert int(guarded.client.get("/v1/songs", headers=headers).headers["retry-after"]) > 0
    assert guarded.client.get("/v1/songs", headers=guarded.key("other")).status_code == 200


def test_wrong_keys_are_counted_by_network(guarded: Service):
    """Of an IPv6 network its owner has all addresses."""
    wrong = {"Authorization": "Bearer us_wrong_0"}

    def statuses(addresses: list[str]) -> list[int]:
        clients = [TestClient(guarded.app, "http://127.0.0.1", client=(address, 1)) for address in addresses]
        return [client.get("/v1/songs", headers=wrong).status_code for client in clients]

    assert 429 in statuses([f"2001:db8:1:2:{number:x}::1" for number in range(1, 40)])
    assert statuses(["2001:db8:1:3::1", "::ffff:192.0.2.1"]) == [401, 401]
    assert statuses([f"192.0.2.{number}" for number in range(1, 40)]) == [401] * 39


def test_account_and_deleting_everything(guarded: Service, sounds: Sounds):
    ada, bea = guarded.key("ada"), guarded.key("bea")
    kept = send(guarded, sounds, bea)
    made = send(guarded, sounds, ada)
    account = guarded.client.get("/v1/account", headers=ada).json()
    assert account["usage"]["jobs_queued"] == 1
    assert account["usage"]["storage_bytes"] == sounds["song"].stat().st_size
    assert account["webhook_secret"].startswith("whsec_")
    assert guarded.client.delete("/v1/account/everything", headers=ada).status_code == 204
    assert guarded.client.get(made.headers["location"], headers=ada).status_code == 404
    usage = guarded.client.get("/v1/account", headers=ada).json()["usage"]
    assert usage.pop("minutes_a_day") == pytest.approx(2 / 60)
    assert usage.pop("jobs_a_day") == 1
    assert usage == dict.fromkeys(("jobs_queued", "trainings_queued", "training_minutes_a_day", "storage_bytes"), 0)
    assert guarded.client.get(kept.headers["location"], headers=bea).status_code == 200
    assert len(guarded.stored()) == 1


def test_nothing_is_left_of_a_deleted_owner(
    guarded: Service, sounds: Sounds, monkeypatch: pytest.MonkeyPatch, tmp_path
):
    """Also if the first process that deletes it is killed half way."""
    monkeypatch.setattr(deletion, "run", lambda *_: None)
    monkeypatch.setattr(deletion, "_LATE", -1.0)
    services, client = guarded.app.state.services, guarded.client
    database = services.database
    ada, bea, admin = (
        guarded.key("Zoë Lane", (*KEYS, "keys")),
        guarded.key("bea", (*KEYS, "keys")),
        guarded.key("op", ("admin",)),
    )
    id = owners.ensure_owner(database, "Zoë Lane")
    manifest = recorded_voice(tmp_path).manifest
    for headers in (ada, ada, bea):
        assert send(guarded, sounds, headers, **{"Idempotency-Key": f"k{time.monotonic_ns()}"}).status_code == 202
    with database.write() as connection:
        kept = consents.admit(connection, 1.0, id, "nova", manifest).model_dump(mode="json")
        row = {
            "id": "voice_1",
            "owner": id,
            "name": "nova",
            "folded": "nova",
            "state": "ready",
            "path": f"{id}/voices/1",
        }
        connection.execute(voices.insert().values(**row, consent="self", manifest=kept, findings=[], created=0.0))
    client.patch("/v1/voices/nova", json={"name": "mira"}, headers=ada)
    for folder in (f"cache/{id}-0", f"trainings/{id}-0/voice_1"):
        (guarded.settings.data / folder).mkdir(parents=True)
    assert client.delete("/v1/account", headers=guarded.key("bea")).json()["code"] == "scope-missing"
    assert client.delete("/v1/owners/local", headers=admin).json()["code"] == "owner-unknown"
    names = [one["name"] for one in client.get("/v1/owners", headers=admin).json()["items"]]
    assert {"Zoë Lane", "bea", "op"} <= set(names)
    assert client.delete("/v1/account", headers=ada).status_code == 202
    assert client.get("/v1/songs", headers=ada).status_code == 401
    with monkeypatch.context() as killed:
        killed.setattr(deletion, "_AT_ONCE", 1)
        killed.setattr(deletion, "_delete_rest", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            deletion.delete_marked(database)
        killed.setattr(deletion, "_delete_rest", _failing)
        deletion.delete_marked(database)  # the next owner isn't held up
    deletion.delete_marked(database)
    removals.remove_due(database, services.storage)
    housekeeping.sweep_machine(database, services.storage, guarded.settings)
    with database.read() as connection:
        for table in metadata.sorted_tables:
            rows = str(connection.execute(select(table)).all())
            assert id not in rows, table.name
            assert "Lane" not in rows, table.name
            assert "mira" not in rows, table.name
            assert "nova" not in rows, table.name
        stays = connection.execute(select(past_consents).order_by(past_consents.c.number)).all()
        left = connection.execute(select(audit).where(audit.c.owner == stays[0].owner)).all()
    assert (stays[0].hash, len(stays)) == (kept["consent_record"]["record"], 2), "stated and revoked"
    assert {"make_separation", "change_voice", "delete_account", "deleted"} <= {row.action for row in left}
    assert {row.address for row in left} == {""}
    assert not [path for path in guarded.settings.data.rglob(f"*{id}*")]
    assert client.get("/v1/separations", headers=bea).json()["items"], "others keep theirs"
    assert len(guarded.stored()) == 1


def test_a_session_stands_for_a_key(guarded: Service):
    key = guarded.key("ada")["Authorization"].removeprefix("Bearer ")
    assert guarded.client.post("/v1/session", json={"key": "us_a_b"}).status_code == 401
    answer = guarded.client.post("/v1/session", json={"key": key})
    assert answer.status_code == 204
    (session,) = (text for text in answer.headers.get_list("set-cookie") if text.startswith("understudy_session="))
    assert "HttpOnly" in session
    assert "SameSite=strict" in session
    secret = key.rpartition("_")[2]
    assert not any(secret in text for text in answer.headers.get_list("set-cookie"))
    token = guarded.client.cookies["understudy_session"]
    data = guarded.settings.data
    assert not any(token.encode() in path.read_bytes() for path in data.rglob("server.sqlite3*"))
    assert guarded.client.get("/v1/songs").status_code == 200
    assert guarded.client.get("/v1/songs", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    guarded.client.delete("/v1/session")
    assert guarded.client.get("/v1/songs").status_code == 401
    guarded.client.cookies.set("understudy_session", token)
    assert guarded.client.get("/v1/songs").json()["code"] == "key-invalid", "a copy of the cookie ends with the session"


def test_a_key_has_so_many_sessions(guarded: Service, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(page_sessions, "MOST", 2)
    key = guarded.key("ada", requests_a_minute=50)["Authorization"].removeprefix("Bearer ")
    tokens = []
    for _ in range(3):
        answer = guarded.client.post("/v1/session", json={"key": key})
        tokens.append(guarded.client.cookies["understudy_session"])
    assert answer.headers["ratelimit-policy"] == '"requests";q=50;w=60', "signing in counts as a request"
    database = guarded.app.state.services.database
    with database.read() as connection:
        now = database.now(connection)
        found = [page_sessions.find_owner(connection, now, token) is not None for token in tokens]
    assert found == [False, True, True]


@pytest.mark.parametrize("end", ["expiry", "revoked key"])
def test_a_session_ends(guarded: Service, end: str):
    headers = guarded.key("ada")
    key, database = headers["Authorization"].removeprefix("Bearer "), guarded.app.state.services.database
    guarded.client.post("/v1/session", json={"key": key})
    other = guarded.key("ada")
    assert guarded.client.get("/v1/songs").status_code == 200
    if end == "expiry":
        with database.write() as connection:
            connection.execute(sessions.update().values(expires=database.now(connection) - 1))
    else:
        owners.revoke_key(database, key.split("_")[1])
    assert guarded.client.get("/v1/songs").status_code == 401
    assert guarded.client.get("/v1/songs", headers=other).status_code == 200, "another key of the owner's stays"
    housekeeping.sweep(database, guarded.settings)
    with database.read() as connection:
        left = connection.scalar(select(func.count()).select_from(sessions))
    assert left == (0 if end == "expiry" else 1)


def test_other_addresses_need_keys(tmp_path):
    settings = ServerSettings(data=tmp_path, host="0.0.0.0")
    with pytest.raises(UnderstudyError) as caught:
        make_app(settings)
    assert caught.value.code == "keys-needed"
    database = Database(settings.database_url)
    key, _ = owners.create_key(database, "ada", "", ("read",))
    make_app(settings)
    owners.revoke_key(database, key.split("_")[1])
    with pytest.raises(UnderstudyError):
        make_app(settings)


def test_an_open_server_serves_no_foreign_pages(service: Service):
    for host in ("127.0.0.1", "localhost:8000", "[::1]:80"):
        assert service.client.get("/v1/songs", headers={"Host": host}).status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example", ""):
        answer = service.client.get("/v1/songs", headers={"Host": host})
        assert (answer.status_code, answer.json()["code"]) == (400, "host-refused")
    own = {"Host": "127.0.0.1", "Origin": "http://127.0.0.1"}
    assert service.client.get("/v1/songs", headers=own).status_code == 200
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9999"):
        answer = service.client.post("/v1/songs", headers={"Host": "127.0.0.1", "Origin": origin})
        assert (answer.status_code, answer.json()["code"]) == (403, "origin-refused")


@pytest.mark.parametrize("end", ["revoked key", "sign-out"])
def test_streams_end_with_what_opened_them(guarded: Service, sounds: Sounds, end: str):
    headers = guarded.key("ada")
    key = headers["Authorization"].removeprefix("Bearer ")
    place = send(guarded, sounds, headers).headers["location"]  # nobody works here: the stream would not end
    database = guarded.app.state.services.database
    ada = owners.ensure_owner(database, "ada")
    guarded.client.post("/v1/session", json={"key": key})
    token = guarded.client.cookies["understudy_session"]

    def close() -> None:
        until(lambda: guarded.app.state.services.streams.get(ada))
        if end == "sign-out":
            page_sessions.end(database, token)
        else:
            owners.revoke_key(database, key.split("_")[1])

    with ThreadPoolExecutor(1) as pool:
        pool.submit(close)
        text = guarded.client.get(f"{place}/events", headers={} if end == "sign-out" else headers).text
    assert "queued" in text
    assert guarded.client.get(place, headers=guarded.key("ada")).json()["state"] == "queued", "the job goes on"


def test_few_streams_at_a_time(guarded: Service, sounds: Sounds):
    headers = guarded.key("ada", streams=1)
    place = send(guarded, sounds, headers).headers["location"]
    guarded.app.state.services.streams[owners.ensure_owner(guarded.app.state.services.database, "ada")] = 1
    answer = guarded.client.get(f"{place}/events", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (429, "too-many-streams")


def _failing(*_: object) -> None:
    raise UnderstudyError("database-unavailable", "The database is away.", "Wait.")
