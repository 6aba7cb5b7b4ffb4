"""``/v1/uploads``: files in pieces, by the tus protocol 1.0.0 (https://tus.io/protocols/resumable-upload).

An upload that breaks off goes on where it stopped. When it is whole, a request for a song names it by its id. Where the
storage is an S3 store, its sender may bring a file there instead, by a presigned address.

Its bytes are in a file of the data folder, whose size is the offset: nothing else has to be kept in step with it. Its
whole length counts as stored from the beginning on, so an owner can't receive more than it may store. A lock lets one
request at a time, of all processes of this machine, write or use it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import Response
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, and_, func, select

from understudy.services.api import answers
from understudy.services.api.auth import Deleter, Maker, Reader
from understudy.services.api.bodies import allow
from understudy.services.api.limits import check_storage
from understudy.services.api.problems import ApiError, documented
from understudy.services.api.root_path import href
from understudy.services.api.state import App, AppState
from understudy.services.api.uploads import Upload, blocks, explained_when_full, harmless, too_big
from understudy.services.queue import housekeeping, removals
from understudy.services.queue.owners import Owner
from understudy.services.queue.tables import new_id, uploads
from understudy.wording import counted

_VERSION = "1.0.0"
_EXTENSIONS = "creation,expiration,termination,checksum"
_DIGESTS = ("sha1", "sha256")
_PIECE = "application/offset+octet-stream"
_BLOCK = 1 << 20


async def _protocol(
    request: Request,
    version: Annotated[str, Header(alias="Tus-Resumable", description="of the protocol")] = _VERSION,
) -> None:
    """Raise ``tus-version`` for another version of the protocol; every answer names ours."""
    request.state.headers = {"Tus-Resumable": _VERSION}
    if version != _VERSION:
        text = f"This server speaks version {_VERSION} of the tus protocol."
        raise ApiError("tus-version", text, "Use that one.", {"Tus-Version": _VERSION})


router = APIRouter(prefix="/v1/uploads", tags=["uploads"], dependencies=[Depends(_protocol)])


@router.options("", status_code=204, include_in_schema=False)
async def tus_offers(app: App) -> Response:
    """What of the protocol there is."""
    offered = {
        "Tus-Version": _VERSION,
        "Tus-Extension": _EXTENSIONS,
        "Tus-Max-Size": str(app.settings.song_bytes),
        "Tus-Checksum-Algorithm": ",".join(_DIGESTS),
    }
    return Response(status_code=204, headers=offered)


@router.post("", status_code=201, responses=documented(412, 413, 422, 507))
def begin_upload(
    response: Response,
    app: App,
    owner: Maker,
    length: Annotated[int, Header(alias="Upload-Length", ge=1, le=1 << 50, description="bytes of the whole file")],
    metadata: Annotated[
        str, Header(alias="Upload-Metadata", max_length=4000, description="`filename` and its name in base64")
    ] = "",
) -> answers.Upload:
    """Begin a resumable upload (tus 1.0.0). Send the file to its address by PATCH, in as many pieces as you like. When
    it is whole, `POST /v1/songs` makes a song of it."""
    id, name = new_id("upload"), harmless(_metadata(metadata).get("filename", ""), "song")
    with app.database.write() as connection:
        add_upload(connection, app, owner, id, name, length, presigned=False)
        row = _find(connection, app, owner, id)
    response.headers.update({"Location": href(f"/v1/uploads/{id}"), **_headers(row, 0)})
    return answers.upload(row, 0)


class PresignedRequest(BaseModel):
    """A file that is to be brought to the store."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=400, description="of the file")
    bytes: int = Field(ge=1, le=1 << 50, description="exactly as many as will be sent")


@router.post("/presigned", status_code=201, responses=documented(412, 413, 422, 507))
def presign_upload(wanted: PresignedRequest, app: App, owner: Maker) -> answers.PresignedUpload:
    """Get an address of the S3 store to which the file is sent by one PUT, past this server. `POST /v1/songs` then
    makes a song of it, and checks what was sent. Only with the setting `presigned_seconds`, and storage on S3."""
    id, name, seconds = new_id("upload"), harmless(wanted.name, "song"), _signed_seconds(app)
    path = housekeeping.stored_upload(owner.id, id)
    url = app.storage.signed_for_put(path, seconds, wanted.bytes) if seconds else None
    if url is None:
        text = "The store of this server takes no files from its users."
        raise ApiError("presigned-off", text, "Begin a resumable upload: POST /v1/uploads.")
    with app.database.write() as connection:
        add_upload(connection, app, owner, id, name, wanted.bytes, presigned=True)
        row = _find(connection, app, owner, id)
    return answers.presigned_upload(row, url, row.created + seconds)


@router.get("/{id}", responses=documented(404, 412, 422))
def show_upload(id: str, response: Response, app: App, owner: Reader) -> answers.Upload:
    """How far it is: HEAD tells it in `Upload-Offset`, as tus says."""
    with app.database.read() as connection:
        row = _find(connection, app, owner, id)
    received = _received(app, row)
    response.headers.update(_headers(row, received))
    return answers.upload(row, received)


@router.patch("/{id}", status_code=204, responses=documented(404, 409, 412, 413, 415, 422, 423, 507))
async def append_upload(
    request: Request,
    id: str,
    app: App,
    owner: Maker,
    offset: Annotated[int, Header(alias="Upload-Offset", ge=0, description="where the piece begins: what is there")],
    checksum: Annotated[
        str | None, Header(alias="Upload-Checksum", max_length=200, description="sha1 or sha256, and it in base64")
    ] = None,
) -> Response:
    """Send the next piece, as `application/offset+octet-stream` (which generators of clients don't know, so it isn't in
    this document). What arrived of one that broke off stays, unless it has a checksum; a piece with another checksum is
    refused (460)."""
    if request.headers.get("content-type") != _PIECE:
        raise ApiError("media-type", "The piece has the wrong content type.", f"Send it as {_PIECE}.")
    digest, expected = _checksum(checksum) if checksum is not None else (None, b"")
    allow(request)
    request.state.owner = None  # its beginning is in the audit log, which pieces would crowd
    app.transfers.check(owner.id, owner.limit("transfers", app.settings))
    with app.transfers.one(owner.id):
        async with _held(app, owner, id) as row:
            received = await app.storing.run(owner.id, _received, app, row)
            if row.presigned:
                text = "This upload is received by the store, not by this server."
                raise ApiError("upload-presigned", text, "Send it by PUT to its url.")
            if offset != received:
                text = f"The upload has {counted(received, 'byte')}, and this piece begins at {offset}."
                raise ApiError("upload-offset", text, "Ask with HEAD, and go on at its Upload-Offset.")
            received = await _append(request, app, owner, row, offset, digest, expected)
    return Response(status_code=204, headers=_headers(row, received))


@router.delete("/{id}", status_code=204, responses=documented(404, 412, 423))
async def delete_upload(id: str, app: App, owner: Deleter) -> None:
    """Give it up, and what has arrived of it."""
    async with _held(app, owner, id):

        def delete() -> None:
            with app.database.write() as connection:
                use_up(connection, app, owner, id)

        await app.requests.run(owner.id, delete)
        await app.storing.run(owner.id, _path(app, id).unlink, missing_ok=True)


def add_upload(
    connection: Connection, app: AppState, owner: Owner, id: str, name: str, length: int, *, presigned: bool
) -> None:
    """List an upload. Raises ``file-too-big``, ``storage-used-up`` and ``too-many-uploads``."""
    if length > (limit := owner.limit("song_bytes", app.settings)):
        raise too_big(limit)
    now = app.database.now(connection)
    check_storage(connection, app.settings, owner, now, length)  # this locks the owner
    mine = and_(uploads.c.owner == owner.id, uploads.c.expires > now)
    most = owner.limit("uploads", app.settings)
    if (connection.scalar(select(func.count()).where(mine)) or 0) >= most:
        text = f"You have {counted(most, 'upload')} that no song was made of yet."
        raise ApiError("too-many-uploads", text, "Use one or delete one.", {"Retry-After": "60"})
    row = {"id": id, "owner": owner.id, "name": name, "bytes": length, "presigned": presigned}
    connection.execute(uploads.insert().values(**row, created=now, expires=now + app.settings.keep_uploads))


def use_up(connection: Connection, app: AppState, owner: Owner, id: str) -> None:
    """The upload is used, and there no more. Raises ``upload-unknown``."""
    row = _find(connection, app, owner, id)
    connection.execute(uploads.delete().where(uploads.c.id == row.id))
    if row.presigned:
        now = app.database.now(connection)
        for due in (now, max(now, row.created + _signed_seconds(app))):  # until then more can be brought there
            removals.note(connection, due, [housekeeping.stored_upload(owner.id, id)])


def _signed_seconds(app: AppState) -> int:
    """How long something can be brought to the address of a presigned upload; 0: there are none."""
    return int(min(app.settings.presigned_seconds, app.settings.keep_uploads))


@asynccontextmanager
async def finished(app: AppState, owner: Owner, id: str, field: str) -> AsyncIterator[Upload]:
    """The file of a whole upload as if it had been sent in `field`, for a ``with`` block that calls `use_up`.

    Raises ``upload-unknown``, ``upload-incomplete``, and ``upload-busy`` while another request writes or uses it.
    """
    async with _held(app, owner, id) as row:
        received = await app.storing.run(owner.id, _received, app, row)
        if received != row.bytes:
            text = f"The upload has {received} of its {counted(row.bytes, 'byte')}."
            raise ApiError("upload-incomplete", text, "Send the rest of it first.")
        upload = Upload(field, row.name, app.incoming / uuid4().hex)
        try:
            with explained_when_full():
                await app.storing.run(owner.id, _copy, app, row, upload)
            yield upload
        finally:
            upload.close()
            upload.path.unlink(missing_ok=True)
        await app.storing.run(owner.id, _path(app, id).unlink, missing_ok=True)


@asynccontextmanager
async def _held(app: AppState, owner: Owner, id: str) -> AsyncIterator[Any]:
    """The row of an upload that no other request holds. Raises ``upload-unknown`` and ``upload-busy``."""

    def find() -> Any:
        with app.database.read() as connection:
            return _find(connection, app, owner, id)

    await app.requests.run(owner.id, find)  # there are no locks of what there isn't
    folder = housekeeping.uploads_folder(app.settings)
    lock = FileLock(folder / f"{id}.lock", timeout=0, thread_local=False)
    try:
        await app.storing.run(owner.id, lock.acquire)
    except Timeout:
        text = "Another request writes or uses this upload."
        raise ApiError("upload-busy", text, "Try again in some seconds.", {"Retry-After": "5"}) from None
    try:
        yield await app.requests.run(owner.id, find)  # it may have been used meanwhile
    finally:
        lock.release()


def _find(connection: Connection, app: AppState, owner: Owner, id: str) -> Any:
    now = app.database.now(connection)
    mine = and_(uploads.c.id == id, uploads.c.owner == owner.id, uploads.c.expires > now)
    row = connection.execute(select(uploads).where(mine)).first()
    if row is None:
        raise ApiError("upload-unknown", f"You have no upload {id[:60]!r}.", "It was used or has expired: begin anew.")
    return row


def _path(app: AppState, id: str) -> Path:
    return housekeeping.uploads_folder(app.settings) / id


def _received(app: AppState, row: Any) -> int:
    """The bytes that are there."""
    if row.presigned:
        return app.storage.size(housekeeping.stored_upload(row.owner, row.id)) or 0
    path = _path(app, row.id)
    return path.stat().st_size if path.exists() else 0


async def _append(
    request: Request, app: AppState, owner: Owner, row: Any, offset: int, digest: Any, expected: bytes
) -> int:
    """Write what arrives; returns the size of the file then."""
    path, length = _path(app, row.id), request.headers.get("content-length", "")
    claimed = int(length) if length.isascii() and length.isdigit() else 0
    size, whole = offset, False

    def write(block: bytes) -> None:
        with path.open("ab") as file:
            file.write(block)

    try:
        with explained_when_full():
            if offset + claimed > row.bytes:
                raise _too_long(row)
            async for block in blocks(request):
                if size + len(block) > row.bytes:
                    raise _too_long(row)
                await app.storing.run(owner.id, write, block)
                size += len(block)
                if digest is not None:
                    digest.update(block)
        if digest is not None and digest.digest() != expected:
            raise ApiError("checksum-mismatch", "The piece has another checksum.", "Send it again.")
        whole = True
    finally:
        if digest is not None and not whole and size > offset:
            await app.storing.run(owner.id, _truncate, path, offset)
    return size


def _truncate(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


def _copy(app: AppState, row: Any, upload: Upload) -> None:
    if row.presigned:
        for block in app.storage.read(housekeeping.stored_upload(row.owner, row.id), 0, row.bytes):
            upload.write(block)
    else:
        with _path(app, row.id).open("rb") as file:
            for block in iter(partial(file.read, _BLOCK), b""):
                upload.write(block)
    upload.close()


def _too_long(row: Any) -> ApiError:
    return ApiError(
        "file-too-big", f"The upload was begun with {counted(row.bytes, 'byte')}, and this is more.", "Begin anew."
    )


def _headers(row: Any, received: int) -> dict[str, str]:
    return {
        "Upload-Offset": str(received),
        "Upload-Length": str(row.bytes),
        "Upload-Expires": formatdate(row.expires, usegmt=True),
    }


def _metadata(header: str) -> dict[str, str]:
    """The header ``Upload-Metadata``: names with values in base64, joined by commas. Raises ``request-malformed``."""

    def pairs() -> Iterator[tuple[str, str]]:
        for pair in filter(None, (part.strip() for part in header.split(","))):
            name, _, value = pair.partition(" ")
            yield name, base64.b64decode(value, validate=True).decode("utf-8")

    try:
        return dict(pairs())
    except (binascii.Error, ValueError):
        text = "The header Upload-Metadata isn't as tus says."
        raise ApiError("request-malformed", text, "Send 'filename' and the name in base64.") from None


def _checksum(header: str) -> tuple[Any, bytes]:
    """(digest to update, what it has to be) of the header ``Upload-Checksum``. Raises ``request-malformed``."""
    name, _, value = header.partition(" ")
    try:
        if name in _DIGESTS:
            return hashlib.new(name), base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        pass
    text = "The header Upload-Checksum isn't as tus says."
    raise ApiError("request-malformed", text, f"Send {' or '.join(_DIGESTS)} and the digest in base64.")
