"""``/v1/songs``: upload once, cover many times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy import Connection, and_, func, or_, select
from starlette.concurrency import run_in_threadpool

from understudy.errors import UnderstudyError
from understudy.services.api import answers
from understudy.services.api.auth import Deleter, Maker, Reader
from understudy.services.api.files import FILE, Range, send
from understudy.services.api.idempotency import IdempotencyKey, accept
from understudy.services.api.limits import check_storage
from understudy.services.api.pages import Cursor, Page, Size, page
from understudy.services.api.problems import ApiError, documented
from understudy.services.api.state import App, AppState
from understudy.services.api.uploads import FormRules, Upload, received
from understudy.services.queue import untrusted
from understudy.services.queue.jobs import ACTIVE
from understudy.services.queue.owners import Owner
from understudy.services.queue.tables import jobs, new_id, songs
from understudy.services.queue.untrusted import SongInfo

router = APIRouter(prefix="/v1/songs", tags=["songs"])
PROBE_SECONDS = 20.0


def form_schema(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """The `openapi_extra` of a route that reads a form by itself."""
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


BINARY = {"type": "string", "format": "binary"}


@router.post(
    "",
    status_code=201,
    response_model=answers.Song,
    responses=documented(408, 413, 415, 422, 507),
    openapi_extra=form_schema({"file": BINARY}, ["file"]),
)
async def upload_song(request: Request, app: App, owner: Maker, key: IdempotencyKey = None) -> JSONResponse:
    """Send a song, to make covers of it later. Its content decides what it is, not its name."""
    limit = owner.limit("song_bytes", app.settings)
    async with received(request, app.incoming, FormRules(("file",), limit, 1)) as form:
        refuse_fields(form.fields, ())
        if not form.files:
            raise ApiError("request-invalid", "There is no file in the field 'file'.", "Send one.")
        found = await examined(app, owner, form.files)

        def make(connection: Connection, now: float) -> answers.Song:
            check_storage(connection, app.settings, owner, now, sum(upload.bytes for upload in form.files))
            rows = list_uploads(connection, owner, now, form.files, found)
            song = connection.execute(select(songs).where(songs.c.id == rows["file"])).one()
            store_uploads(app, owner, form.files, rows)
            return answers.song(song)

        return await run_in_threadpool(accept, app.database, owner.id, key, form.fingerprint, 201, make)


@router.get("", responses=documented(422))
def list_songs(app: App, owner: Reader, cursor: Cursor = None, size: Size = 20) -> Page[answers.Song]:
    """Your songs, newest first."""
    query = select(songs).where(songs.c.owner == owner.id)
    return page(app.database, query, songs, cursor, size, answers.song)


@router.get("/{id}", responses=documented(404))
def show_song(id: str, app: App, owner: Reader) -> answers.Song:
    """One song."""
    with app.database.read() as connection:
        return answers.song(find_song(connection, owner, id))


@router.get(
    "/{id}/audio",
    responses={**documented(404, 416), **FILE},
    response_class=Response,
)
def song_audio(id: str, app: App, owner: Reader, range: Range = None) -> Response:
    """The file as it was sent; a part of it with a Range header."""
    with app.database.read() as connection:
        song = find_song(connection, owner, id)
    type = _MEDIA.get(song.container, "application/octet-stream")
    return send(app.storage, song.path, song.name, type, range, song.sha256)


@router.delete("/{id}", status_code=204, responses=documented(404, 409))
def delete_song(id: str, app: App, owner: Deleter) -> None:
    """Remove a song. Covers that were made of it stay."""
    with app.database.write() as connection:
        song = find_song(connection, owner, id)
        using = and_(jobs.c.owner == owner.id, jobs.c.state.in_(ACTIVE), uses(id))
        if connection.scalar(select(func.count()).where(using)):
            text = "A job that is waiting or running needs this song."
            raise ApiError("song-in-use", text, "Cancel the job or wait for its end.")
        connection.execute(songs.delete().where(songs.c.id == id))
    app.storage.remove(song.path)


def uses(song: str) -> Any:
    """Whether a job needs that song."""
    parts = [
        jobs.c.request["inputs"][role].as_string() == song for role in ("vocals", "instrumental", "backing_vocals")
    ]
    return or_(jobs.c.song == song, *parts)


def find_song(connection: Connection, owner: Owner, id: str) -> Any:
    row = connection.execute(select(songs).where(songs.c.id == id, songs.c.owner == owner.id)).first()
    if row is None:
        raise ApiError("song-unknown", f"You have no song {id[:60]!r}.", "GET /v1/songs lists yours.")
    return row


async def examined(app: AppState, owner: Owner, uploads: Iterable[Upload]) -> dict[str, SongInfo]:
    """What the files are, by field; raises `UnderstudyError` if one is no sound that can be read."""
    longest = owner.limit("song_seconds", app.settings)
    found = {}
    for upload in uploads:
        arguments = (untrusted.examine, upload.path, upload.name, longest)
        async with app.probing:
            found[upload.field] = await run_in_threadpool(app.readers.call, *arguments, seconds=PROBE_SECONDS)
    return found


def list_uploads(
    connection: Connection,
    owner: Owner,
    now: float,
    uploads: Iterable[Upload],
    found: Mapping[str, SongInfo],
) -> dict[str, str]:
    """List uploads that were examined among the owner's songs; returns the ids by field. `store_uploads` must
    follow."""
    listed = {}
    for upload in uploads:
        id = new_id("song")
        path = _path(owner, id)
        about = {"name": upload.name, "bytes": upload.bytes, "sha256": upload.sha256, **asdict(found[upload.field])}
        connection.execute(songs.insert().values(id=id, owner=owner.id, path=path, created=now, used=now, **about))
        listed[upload.field] = id
    return listed


def store_uploads(app: AppState, owner: Owner, uploads: Iterable[Upload], listed: Mapping[str, str]) -> None:
    """Move the files of songs that `list_uploads` listed into the storage. This is the last step of the transaction:
    a request that is refused leaves no file there."""
    for upload in uploads:
        app.storage.put(upload.path, _path(owner, listed[upload.field]), move=True)


def _path(owner: Owner, id: str) -> str:
    return f"{owner.id}/songs/{id}"


def refuse_fields(fields: dict[str, Any], known: Iterable[str]) -> None:
    for name in fields:
        if name not in known:
            text = f"There is no field {name[:80]!r} here."
            raise UnderstudyError("request-invalid", text, f"Fields there are: {', '.join(known) or 'file'}.")


_MEDIA = {
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "w64": "application/octet-stream",
    "ogg": "audio/ogg",
    "mov": "audio/mp4",
    "matroska": "audio/webm",
    "aiff": "audio/aiff",
    "aac": "audio/aac",
}
