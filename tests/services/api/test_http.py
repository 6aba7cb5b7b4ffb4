"""Manners of HTTP: conditions, HEAD, foreign web pages, names of files, rate limits that are told."""

from __future__ import annotations

import re

import pytest

from tests.services.api.conftest import Service, Sounds, Start
from understudy.services.queue.storage import Storage


def upload(service: Service, sounds: Sounds) -> str:
    """The path of an uploaded song's file."""
    answer = service.client.post("/v1/songs", files={"file": ("song.wav", sounds["song"].read_bytes())})
    return str(answer.json()["audio"])


def test_what_the_client_has_is_not_sent_again(service: Service, sounds: Sounds):
    path, content = upload(service, sounds), sounds["song"].read_bytes()
    first = service.client.get(path)
    etag = first.headers["etag"]
    assert (first.status_code, first.content) == (200, content)
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = service.client.get(path, headers={"If-None-Match": known, "Range": "bytes=0-9"})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    assert service.client.get(path, headers={"If-None-Match": '"other"'}).content == content
    page = service.client.get("/")
    if page.status_code == 200:
        answer = service.client.get("/", headers={"If-None-Match": page.headers["etag"]})
        assert (answer.status_code, answer.content) == (304, b"")


def test_files_come_from_the_store_itself(service: Service, sounds: Sounds, monkeypatch: pytest.MonkeyPatch):
    path, content = upload(service, sounds), sounds["song"].read_bytes()
    app, client = service.app.state.services, service.client
    app.settings = app.settings.model_copy(update={"presigned_seconds": 60})
    first = client.get(path)
    assert first.content == content, "a folder has no addresses"
    asked = []

    def signed(self: Storage, *about: object) -> str:
        asked.append(about)
        return "https://store.example/signed"

    monkeypatch.setattr(Storage, "signed", signed)
    moved = client.get(path, follow_redirects=False)
    assert (moved.status_code, moved.headers["location"]) == (307, "https://store.example/signed")
    assert moved.headers["cache-control"] == "no-store"
    assert [about[1:] for about in asked] == [(60, "audio/wav", first.headers["content-disposition"])]
    assert client.head(path).headers["content-length"] == str(len(content))
    assert client.get(path, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    assert len(asked) == 1


def test_a_part_is_sent_of_the_version_that_the_client_has(service: Service, sounds: Sounds):
    path, content = upload(service, sounds), sounds["song"].read_bytes()
    etag = service.client.get(path).headers["etag"]
    part = service.client.get(path, headers={"Range": "bytes=10-19", "If-Range": etag})
    assert (part.status_code, part.content) == (206, content[10:20])
    for other in ('"other"', f"W/{etag}", "Mon, 30 Nov 2026 12:00:00 GMT"):
        whole = service.client.get(path, headers={"Range": "bytes=10-19", "If-Range": other})
        assert (whole.status_code, whole.content) == (200, content)


def test_head_is_get_without_content(service: Service, sounds: Sounds):
    audio = upload(service, sounds)
    job = service.client.post("/v1/separations", json={"song": audio.split("/")[3]}).json()
    document = service.client.get("/openapi.json").json()
    paths = [re.sub(r"{\w+}", "nothing", path) for path, found in document["paths"].items() if "get" in found]
    assert len(paths) > 20
    for path in [*paths, audio, audio.removesuffix("/audio"), "/", "/docs", "/icon.svg", "/openapi.json"]:
        got, head = service.client.get(path), service.client.head(path)
        assert (head.status_code, head.content) == (got.status_code, b""), path
        if path != "/metrics":  # it changes with every request
            assert (head.headers["content-length"], head.headers["content-type"]) == (
                got.headers["content-length"],
                got.headers["content-type"],
            ), path
    events = service.client.head(job["events"])
    assert (events.status_code, events.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    whole = service.client.head(audio, headers={"Range": "bytes=0-9"})
    assert (whole.status_code, whole.headers["content-length"]) == (200, str(sounds["song"].stat().st_size))
    assert service.client.head("/v1/verify").status_code == 405


def test_web_pages_elsewhere_may_use_it_if_they_are_listed(start: Start):
    service = start(keys=True, origins=("https://shop.example",))
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,idempotency-key"}
    listed, other = {"Origin": "https://shop.example"}, {"Origin": "https://shop.example.evil.example"}
    preflight = service.client.options("/v1/covers", headers=listed | asks)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://shop.example"
    assert "POST" in preflight.headers["access-control-allow-methods"]
    for name in ("Authorization", "Idempotency-Key", "Content-Type", "Range", "Last-Event-ID"):
        assert name in preflight.headers["access-control-allow-headers"]
    for headers, status in ((service.key("ada"), 200), ({}, 401)):
        answer = service.client.get("/v1/songs", headers=listed | headers)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, "https://shop.example")
        assert "Retry-After" in answer.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in answer.headers, "the page's session is for the page alone"
    for answer in (
        service.client.options("/v1/covers", headers=other | asks),
        service.client.get("/v1/songs", headers=other | service.key("ada")),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "origin-refused")
        assert "access-control-allow-origin" not in answer.headers


def test_file_names(service: Service, sounds: Sounds):
    def sent(parameters: str) -> str:
        head = f'--b\r\nContent-Disposition: form-data; name="file"; {parameters}\r\n\r\n'.encode()
        answer = service.client.post(
            "/v1/songs",
            content=head + sounds["song"].read_bytes() + b"\r\n--b--\r\n",
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        )
        return str(answer.json().get("name", answer.json().get("code")))

    assert sent("filename*=UTF-8''na%C3%AFve%20song.wav") == "naïve song.wav"
    assert sent("filename*=iso-8859-1'en'na%EFve.wav") == "naïve.wav"
    assert sent("filename=\"plain.wav\"; filename*=UTF-8''other.wav") == "plain.wav", "RFC 7578, 4.2"
    assert sent("filename*=UTF-8''..%2F..%2Fetc%2Fpasswd") == "passwd"
    assert sent("filename*=\0''x.wav") == "file"


def test_each_answer_says_how_many_requests_are_left(start: Start):
    service = start(keys=True)
    headers = service.key("ada", requests_a_minute=3)
    answers = [service.client.get(path, headers=headers) for path in ("/v1/songs", "/v1/songs/none") * 2]
    assert [answer.status_code for answer in answers] == [200, 404, 200, 429]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"requests";q=3;w=60'}
    left = [re.fullmatch(r'"requests";r=(\d+);t=(\d+)', answer.headers["ratelimit"]) for answer in answers]
    assert [int(found[1]) for found in left if found] == [2, 1, 0, 0]
    assert all(0 < int(found[2]) <= 60 for found in left if found)
    assert "ratelimit" not in service.client.get("/healthz").headers


def test_no_cache_keeps_what_is_one_owners(service: Service, sounds: Sounds):
    audio = upload(service, sounds)
    for path, kept in (("/v1/account", "no-store"), ("/v1/songs/none", "no-store"), (audio, "private, no-cache")):
        answer = service.client.get(path)
        assert (answer.headers["cache-control"], answer.headers["x-content-type-options"]) == (kept, "nosniff")
