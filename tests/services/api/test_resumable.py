"""Resumable uploads: the tus protocol, in bounds, from an upload that breaks off to a song."""

from __future__ import annotations

import base64
import hashlib
import socket

from filelock import FileLock
from starlette.testclient import TestClient

from tests.services.api.conftest import Service, Sounds, Working
from tests.services.api.test_requests import refused
from tests.support.command import until
from understudy.services.queue import housekeeping
from understudy.services.queue.tables import uploads

TUS = {"Tus-Resumable": "1.0.0"}


def begin(client: TestClient, length: int, headers: dict[str, str], name: str = "Öl.wav") -> str:
    """The address of a new upload."""
    metadata = f"filename {base64.b64encode(name.encode()).decode()},filetype YXVkaW8vd2F2"
    sent = {"Upload-Length": str(length), "Upload-Metadata": metadata, **TUS, **headers}
    made = client.post("/v1/uploads", headers=sent)
    assert made.status_code == 201, made.text
    return str(made.headers["location"])


def piece(client: TestClient, path: str, offset: int, content: bytes, headers: dict[str, str], **more: str):
    sent = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream", **TUS, **headers, **more}
    return client.patch(path, headers=sent, content=content)


def offset(client: TestClient, path: str, headers: dict[str, str]) -> int:
    answer = client.head(path, headers=TUS | headers)
    assert (answer.status_code, answer.headers["cache-control"], answer.headers["tus-resumable"]) == (
        200,
        "no-store",
        "1.0.0",
    )
    return int(answer.headers["upload-offset"])


def test_an_upload_that_breaks_off_goes_on(working: Working, address: str, sounds: Sounds):
    content, client = sounds["song"].read_bytes(), working.client
    offers = client.options("/v1/uploads").headers
    assert (offers["tus-version"], offers["tus-extension"]) == ("1.0.0", "creation,expiration,termination,checksum")
    path = begin(client, len(content), {})
    assert offset(client, path, {}) == 0
    id, half = path.rpartition("/")[2], len(content) // 2
    early = client.post("/v1/songs", json={"upload": id})
    refused(early, 409, "upload-incomplete")

    # a connection that is lost in the middle of a piece
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as cut:
        lines = [
            f"PATCH {path} HTTP/1.1",
            f"Host: {host}:{port}",
            "Tus-Resumable: 1.0.0",
            "Upload-Offset: 0",
            "Content-Type: application/offset+octet-stream",
            f"Content-Length: {len(content)}",
        ]
        cut.sendall("\r\n".join([*lines, "", ""]).encode() + content[:half])
        lock = housekeeping.uploads_folder(working.settings) / f"{id}.lock"
        until(lock.exists)
        refused(piece(client, path, 0, content, {}), 423, "upload-busy")
    until(lambda: offset(client, path, {}) > 0)
    until(lambda: piece(client, path, 10**6, b"", {}).status_code == 409)  # it is free again
    arrived = offset(client, path, {})
    assert arrived <= half
    refused(piece(client, path, arrived + 1, content[arrived + 1 :], {}), 409, "upload-offset")
    done = piece(client, path, arrived, content[arrived:], {})
    assert (done.status_code, done.headers["upload-offset"]) == (204, str(len(content)))

    made = client.post("/v1/songs", json={"upload": id}, headers={"Idempotency-Key": id})
    assert (made.status_code, made.json()["name"], made.json()["bytes"]) == (201, "Öl.wav", len(content)), made.text
    sound = client.get(made.json()["audio"]).content
    assert hashlib.sha256(sound).digest() == hashlib.sha256(content).digest()
    again = client.post("/v1/songs", json={"upload": id}, headers={"Idempotency-Key": id})
    assert (again.json(), again.headers["idempotent-replayed"]) == (made.json(), "true")
    refused(client.post("/v1/songs", json={"upload": id}), 404, "upload-unknown")
    assert client.head(path, headers=TUS).status_code == 404
    assert not (lock.with_suffix("")).exists()


def test_uploads_are_bounded_and_their_owners_only(guarded: Service, sounds: Sounds):
    client, content = guarded.client, b"x" * 1000
    ada = guarded.key("ada", uploads=2, storage_bytes=2500, song_bytes=2000)
    bea = guarded.key("bea")
    for length, code, status in ((2001, "file-too-big", 413), (0, "request-invalid", 422)):
        refused(client.post("/v1/uploads", headers={"Upload-Length": str(length), **ada}), status, code)
    first = begin(client, 2000, ada)
    # the whole length counts before a byte has come
    refused(client.post("/v1/uploads", headers={"Upload-Length": "600", **ada}), 507, "storage-used-up")
    begin(client, 400, ada)
    refused(client.post("/v1/uploads", headers={"Upload-Length": "1", **ada}), 429, "too-many-uploads")
    assert client.get("/v1/account", headers=ada).json()["usage"]["storage_bytes"] == 2400

    for method in ("head", "delete"):
        assert getattr(client, method)(first, headers=TUS | bea).status_code == 404
    refused(piece(client, first, 0, content, bea), 404, "upload-unknown")
    refused(client.patch(first, headers={"Upload-Offset": "0", **ada}, content=content), 415, "media-type")
    refused(piece(client, first, 0, content * 3, ada), 413, "file-too-big")
    refused(piece(client, first, 0, content, ada, **{"Tus-Resumable": "0.2.2"}), 412, "tus-version")

    def blocks(size: int):  # of a body that doesn't say how long it is
        while size > 0:
            yield content
            size -= len(content)

    refused(piece(client, first, 0, blocks(4000), ada), 413, "file-too-big")
    assert offset(client, first, ada) <= 2000
    client.delete(first, headers=ada)
    first = begin(client, 2000, ada)

    sha1 = base64.b64encode(hashlib.sha1(content).digest()).decode()
    refused(piece(client, first, 0, content[1:], ada, **{"Upload-Checksum": f"sha1 {sha1}"}), 460, "checksum-mismatch")
    refused(piece(client, first, 0, content, ada, **{"Upload-Checksum": f"md5 {sha1}"}), 400, "request-malformed")
    assert offset(client, first, ada) == 0
    assert piece(client, first, 0, content, ada, **{"Upload-Checksum": f"sha1 {sha1}"}).status_code == 204
    assert piece(client, first, 1000, content, ada).status_code == 204
    bad = client.post("/v1/songs", json={"upload": first.rpartition("/")[2]}, headers=ada)
    refused(bad, 422, "not-audio")
    assert offset(client, first, ada) == 2000, "it stays"

    for body in ({}, {"upload": "a", "url": "https://a.example"}):
        refused(client.post("/v1/songs", json=body, headers=ada), 422, "request-invalid")
    assert client.delete(first, headers=TUS | ada).status_code == 204
    refused(client.get(first, headers=ada), 404, "upload-unknown")


def test_uploads_expire(service: Service):
    app, client = service.app.state.services, service.client
    path = begin(client, 1000, {})
    assert piece(client, path, 0, b"x" * 500, {}).status_code == 204
    folder = housekeeping.uploads_folder(service.settings)
    housekeeping.sweep_uploads(app.database, service.settings)
    assert (folder / path.rpartition("/")[2]).stat().st_size == 500
    with app.database.write() as connection:
        connection.execute(uploads.update().values(expires=app.database.now(connection) - 1))
    refused(piece(client, path, 500, b"x", {}), 404, "upload-unknown")
    housekeeping.sweep(app.database, service.settings)
    with FileLock(folder / f"{path.rpartition('/')[2]}.lock"):
        housekeeping.sweep_uploads(app.database, service.settings)
        assert list(folder.iterdir()), "a request that holds it is waited for"
    housekeeping.sweep_uploads(app.database, service.settings)
    assert list(folder.iterdir()) == []
