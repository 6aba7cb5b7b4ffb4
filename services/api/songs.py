"""``/v1/songs``: upload once, cover many times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import Any, Self

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import Connection, Select, and_, func, or_, select

from understudy.errors import UnderstudyError
from understudy.services.api import answers
from understudy.services.api.auth import Deleter, Maker, Reader
from understudy.services.api.fetching import fetched
from understudy.services.api.files import FileWanted, file_response, send
from understudy.services.api.idempotency import IdempotencyKey, accept, replayed
from understudy.services.api.limits import check_storage
from understudy.services.api.pages import Cursor, Page, Size, page
from understudy.services.api.problems import ApiError, documented
from understudy.services.api.resumable import finished, use_up
from understudy.services.api.state import App, AppState
from understudy.services.api.uploads import FormRules, Upload, owner_as_sender, received
from understudy.services.queue import removals, untrusted
from understudy.services.queue.jobs import ACTIVE
from understudy.services.queue.owners import Owner
from understudy.services.queue.tables import artworks, jobs, new_id, songs
from understudy.services.queue.untrusted import SongInfo

router = APIRouter(prefix="/v1/songs", tags=["songs"])
PROBE_SECONDS = 20.0
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


class SongSource(BaseModel):
    """A song that is on the server already, or that it fetches: one of the two."""

    model_config = ConfigDict(extra="forbid")

    url: str | None = Field(None, max_length=2000, description="of the sound file, with http or https")
    upload: str | None = Field(None, max_length=40, description="the id of an upload that is whole")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.url is None) == (self.upload is None):
            raise ValueError("name a url or an upload")
        return self


class SongChange(BaseModel):
    """What is left out stays as it is; null: as the file's tags have none."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    title: str | None = Field(None, min_length=1, max_length=400)
    artist: str | None = Field(None, min_length=1, max_length=400)


def form_schema(name: str, properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """The `openapi_extra` of a route that reads a form by itself."""
    content = {"multipart/form-data": {"schema": form_body(name, properties, required)}}
    return {"requestBody": {"required": True, "content": content}}


def form_body(name: str, properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """The schema of a form. `name`: of the schema."""
    fields = {"properties": properties} | ({"required": required} if required else {})
    return {"title": name, "type": "object", **fields, "additionalProperties": False}


BINARY = {"type": "string", "format": "binary"}
_SENT = form_schema("SongForm", {"file": BINARY}, ["file"])
_SENT["requestBody"]["content"]["application/json"] = {"schema": {"$ref": "#/components/schemas/SongSource"}}


@router.post(
    "",
    status_code=201,
    response_model=answers.Song,
    responses=documented(404, 408, 409, 413, 415, 422, 423, 507),
    openapi_extra=_SENT,
)
async def upload_song(request: Request, app: App, owner: Maker, key: IdempotencyKey = None) -> JSONResponse:
    """Send a song, to make covers of it later; or name an upload that is whole, or a URL, from which the server fetches
    it if its settings allow that. Its content decides what it is, not its name."""
    limit = owner.limit("song_bytes", app.settings)
    sender = await owner_as_sender(app, owner, key)
    async with AsyncExitStack() as files:
        form = await files.enter_async_context(received(request, app, sender, FormRules(("file",), limit, 1)))
        uploads, named = form.files, None
        if not uploads and not form.fields:
            hint = "Send one, or JSON with an upload or a url."
            raise ApiError("request-invalid", "There is no file in the field 'file'.", hint)
        if uploads:
            refuse_fields(form.fields, ())
        else:
            source = SongSource.model_validate(form.fields)
            if (answer := await replayed(app, owner, key, form)) is not None:
                return answer.response()
            if (named := source.upload) is not None:
                whole = finished(app, owner, named, "file")
            else:
                whole = fetched(app, sender, str(source.url), "file", limit)
            uploads = [await files.enter_async_context(whole)]
        (sent,) = await new_songs(app, owner, uploads)

        def make(connection: Connection, now: float) -> answers.Song:
            if named is not None:
                use_up(connection, app, owner, named)
            check_storage(connection, app.settings, owner, now, sent.upload.bytes)
            add_songs(connection, owner, now, [sent])
            return answers.song(find_song(connection, owner, sent.id))

        return (await accept(app, owner, key, form, 201, make, {sent.upload: sent.path(owner)})).response()


@router.get("", responses=documented(422))
def list_songs(app: App, owner: Reader, cursor: Cursor = None, size: Size = 20) -> Page[answers.Song]:
    """Your songs, newest first."""
    query = _pictured().where(songs.c.owner == owner.id)
    return page(app.database, query, songs, cursor, size, answers.song)


@router.get("/{id}", responses=documented(404))
def show_song(id: str, app: App, owner: Reader) -> answers.Song:
    """One song."""
    with app.database.read() as connection:
        return answers.song(find_song(connection, owner, id))


@router.get(
    "/{id}/audio",
    responses=documented(404, 416) | file_response(*_MEDIA.values()),
    response_class=Response,
)
def song_audio(id: str, app: App, owner: Reader, wanted: FileWanted) -> Response:
    """The file as it was sent; a part of it with a Range header."""
    with app.database.read() as connection:
        song = find_song(connection, owner, id)
    type = _MEDIA.get(song.container, "application/octet-stream")
    return send(app, owner, song.path, song.name, type, wanted, song.sha256)


@router.get(
    "/{id}/artwork",
    responses=documented(404) | {200: {"description": "A JPEG", "content": {"image/jpeg": {"schema": BINARY}}}},
    response_class=Response,
)
def song_artwork(id: str, app: App, owner: Reader) -> Response:
    """The artwork in the file's tags, as a JPEG of 320 x 320 pixels."""
    with app.database.read() as connection:
        song = find_song(connection, owner, id)
        jpeg = connection.scalar(select(artworks.c.jpeg).where(artworks.c.song == song.id))
    if jpeg is None:
        raise ApiError("artwork-unknown", f"The song {song.name!r} has no artwork.", "Its tags have none.")
    return Response(jpeg, headers={"Cache-Control": "private, max-age=31536000, immutable"}, media_type="image/jpeg")


@router.patch("/{id}", responses=documented(404, 422))
def change_song(id: str, change: SongChange, app: App, owner: Maker) -> answers.Song:
    """Give it another title or artist. Covers that were made of it keep theirs."""
    with app.database.write() as connection:
        song = find_song(connection, owner, id)
        if values := change.model_dump(exclude_unset=True):
            connection.execute(songs.update().where(songs.c.id == song.id).values(**values))
        return answers.song(find_song(connection, owner, id))


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
        removals.note(connection, app.database.now(connection), [song.path])


def uses(song: str) -> Any:
    """Whether a job needs that song."""
    parts = [
        jobs.c.request["inputs"][role].as_string() == song for role in ("vocals", "instrumental", "backing_vocals")
    ]
    return or_(jobs.c.song == song, *parts)


def _pictured() -> Select[Any]:
    """Songs, and whether they have an artwork."""
    return select(songs, artworks.c.song.is_not(None).label("pictured")).outerjoin(artworks)


def find_song(connection: Connection, owner: Owner, id: str) -> Any:
    row = connection.execute(_pictured().where(songs.c.id == id, songs.c.owner == owner.id)).first()
    if row is None:
        raise ApiError("song-unknown", f"You have no song {id[:60]!r}.", "GET /v1/songs lists yours.")
    return row


@dataclass(frozen=True)
class NewSong:
    """An upload that is to be a song: its `id`, and what was found in it."""

    id: str
    upload: Upload
    about: SongInfo

    def path(self, owner: Owner) -> str:
        """Where it is in the storage."""
        return f"{owner.id}/songs/{self.id}"


async def new_songs(app: AppState, owner: Owner, uploads: Iterable[Upload]) -> list[NewSong]:
    """The uploads as songs, in their order; raises `UnderstudyError` if one is no sound that can be read."""
    longest = owner.limit("song_seconds", app.settings)
    found = []
    for upload in uploads:
        arguments = (untrusted.examine, upload.path, upload.name, longest)
        about = await app.probing.run(owner.id, app.readers.call, *arguments, seconds=PROBE_SECONDS)
        found.append(NewSong(new_id("song"), upload, about))
    return found


def add_songs(connection: Connection, owner: Owner, now: float, sent: Sequence[NewSong]) -> None:
    """List what was sent among the owner's songs. The caller stores the files at their `path`."""
    for song in sent:
        upload = song.upload
        about = {"name": upload.name, "bytes": upload.bytes, "sha256": upload.sha256, **asdict(song.about)}
        artwork = about.pop("artwork")
        row = {"id": song.id, "owner": owner.id, "path": song.path(owner), "created": now, "used": now}
        connection.execute(songs.insert().values(**row, **about))
        if artwork:
            connection.execute(artworks.insert().values(song=song.id, jpeg=artwork))


def refuse_fields(fields: dict[str, Any], known: Iterable[str]) -> None:
    for name in fields:
        if name not in known:
            text = f"There is no field {name[:80]!r} here."
            raise UnderstudyError("request-invalid", text, f"Fields there are: {', '.join(known) or 'file'}.")
