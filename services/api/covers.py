"""``/v1/covers`` and ``/v1/separations``: jobs over songs, with their results."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import PurePath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, func, or_, select
from starlette.concurrency import run_in_threadpool

from understudy.errors import UnderstudyError
from understudy.pipeline.cast import parse_voices
from understudy.pipeline.settings import CoverSettings, load_settings, presets
from understudy.services.api import answers
from understudy.services.api.auth import Deleter, Maker, Reader
from understudy.services.api.events import STREAM, LastEventId, stream
from understudy.services.api.files import FILE, Range, send
from understudy.services.api.idempotency import IdempotencyKey, accept
from understudy.services.api.limits import check_job, check_storage
from understudy.services.api.pages import Cursor, Page, Size, page
from understudy.services.api.problems import ApiError, documented
from understudy.services.api.separators import check_separation
from understudy.services.api.songs import BINARY, examined, find_song, keep, refuse_fields, store
from understudy.services.api.state import App, AppState
from understudy.services.api.uploads import Form, received
from understudy.services.api.voices import find_voice
from understudy.services.queue import jobs as queue
from understudy.services.queue import webhooks
from understudy.services.queue.owners import Owner
from understudy.services.queue.tables import jobs

State = Literal["queued", "running", "done", "failed", "cancelled", "expired"]


VoiceText = Annotated[str, Field(min_length=1, max_length=2000)]
ROLES = ("song", "vocals", "instrumental", "backing_vocals")


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")

    song: str | None = Field(None, max_length=60, description="id of a song that was uploaded")
    preset: str | None = Field(None, max_length=60, description="a preset's name; settings change it")
    settings: CoverSettings = Field(default_factory=CoverSettings, description="only what differs from the preset")
    priority: Literal["interactive", "batch"] = Field("interactive", description="batch waits for all interactive")
    webhook: str | None = Field(None, max_length=2000, description="an address that is told of the end, signed")


class CoverRequest(_Request):
    """A song, or own stems `vocals` and `instrumental` (with a song, one of them is enough); and who sings: one voice,
    ``["lead=nova", "backing=ada"]``, or by time ``"0:00-1:12=nova,1:12-=ada"``."""

    vocals: str | None = Field(None, max_length=60, description="id of an uploaded vocal stem")
    instrumental: str | None = Field(None, max_length=60, description="id of an uploaded instrumental stem")
    backing_vocals: str | None = Field(None, max_length=60, description="id of a backing stem; vocals is then the lead")
    voice: VoiceText | list[VoiceText] = Field(description="who sings: voices by id or name")
    transposes: dict[str, Literal["auto"] | Annotated[int, Field(ge=-36, le=36)]] = Field(
        default_factory=dict, max_length=20, description="semitones of single voices, by id or name"
    )


class SeparationRequest(_Request):
    """A song that is taken apart."""


def _body(model: type[BaseModel], files: Collection[str], name: str) -> dict[str, Any]:
    """The `openapi_extra` of a route that takes JSON or a form: the same fields, files in place of ids."""
    reference = {"$ref": f"#/components/schemas/{name}"}
    others = {
        "voice": {"type": "array", "items": {"type": "string"}, "minItems": 1, "description": "as in the JSON body"},
        "transposes": {"type": "string", "contentMediaType": "application/json", "description": "as in the JSON body"},
        "settings": {"type": "string", "contentMediaType": "application/json", "description": "as in the JSON body"},
        "preset": {"type": "string"},
        "priority": {"type": "string", "enum": ["interactive", "batch"]},
        "webhook": {"type": "string", "format": "uri"},
    }
    properties = {file: BINARY for file in files} | {
        field: schema for field, schema in others.items() if field in model.model_fields
    }
    form = {"type": "object", "properties": properties, "additionalProperties": False}
    required = [field for field in model.model_fields if model.model_fields[field].is_required()]
    if required:
        form["required"] = required
    content = {
        "application/json": {"schema": reference},
        "multipart/form-data": {"schema": form, "encoding": {"settings": {"contentType": "application/json"}}},
    }
    return {"requestBody": {"required": True, "content": content}}


def _resource(kind: Literal["cover", "separation"], model: type[_Request], files: Collection[str]) -> APIRouter:
    """The routes of one kind of job."""
    router = APIRouter(prefix=f"/v1/{kind}s", tags=[f"{kind}s"])

    @router.post(
        "",
        status_code=202,
        response_model=answers.Job,
        responses=documented(404, 408, 409, 413, 415, 422, 507),
        openapi_extra=_body(model, files, model.__name__),
        name=f"make_{kind}",
        summary=f"Make a {kind}",
    )
    async def make_job(request: Request, app: App, owner: Maker, key: IdempotencyKey = None) -> JSONResponse:
        """Answers at once with the job; follow it by its events, or ask for it again."""
        limit = owner.limit("song_bytes", app.settings)
        async with received(request, app.incoming, files, limit, len(files), JSON_FIELDS, ("voice",)) as form:
            refuse_fields(form.fields, tuple(model.model_fields))
            _refuse_twice(form)
            wanted = model.model_validate(
                form.fields | {upload.field: f"(file {upload.field})" for upload in form.files}
            )
            settings = await run_in_threadpool(_settings, wanted)
            if wanted.webhook:
                await run_in_threadpool(webhooks.check, wanted.webhook, app.settings)
            found = await examined(app, owner, form.files)

            def make(connection: Connection, now: float) -> answers.Job:
                return _submit(app, connection, owner, now, kind, wanted, settings, form, found)

            answer, _ = await run_in_threadpool(accept, app.database, owner.id, key, form.fingerprint, 202, make)
        return answer

    @router.get("", responses=documented(400, 422), name=f"list_{kind}s", summary=f"List your {kind}s")
    def list_jobs(
        app: App, owner: Reader, state: State | None = None, cursor: Cursor = None, size: Size = 20
    ) -> Page[answers.Job]:
        """Newest first; `state` picks those in that state."""
        query = select(jobs).where(jobs.c.owner == owner.id, jobs.c.kind == kind)
        if state:
            query = query.where(jobs.c.state == state)
        with app.database.read() as connection:
            rows, following = page(connection, query, jobs, cursor, size)
        return Page(items=[answers.job(row) for row in rows], next=following)

    @router.get("/{id}", responses=documented(404), name=f"show_{kind}", summary=f"One {kind}")
    def show_job(id: str, app: App, owner: Reader) -> answers.Job:
        """Its state, progress and result."""
        with app.database.read() as connection:
            row = _find(connection, owner, kind, id)
            return answers.job(row, _ahead(connection, row))

    @router.delete(
        "/{id}",
        status_code=204,
        responses={
            **documented(404),
            202: {"description": "It is running and will be cancelled", "model": answers.Job},
        },
        name=f"delete_{kind}",
        summary=f"Cancel or remove a {kind}",
    )
    def delete_job(id: str, app: App, owner: Deleter) -> Response:
        """One that waits or runs is cancelled (202, the job stays); one that has ended is removed (204)."""
        with app.database.write() as connection:
            row = _find(connection, owner, kind, id)
            if row.state in queue.ACTIVE:
                queue.cancel(connection, app.database.now(connection), row, app.settings)
                answer = answers.job(_find(connection, owner, kind, id))
                return JSONResponse(answer.model_dump(mode="json"), 202)
            connection.execute(jobs.delete().where(jobs.c.id == id))
        app.storage.remove(f"{owner.id}/jobs/{id}")
        return Response(status_code=204)

    @router.get(
        "/{id}/events",
        responses=documented(404) | STREAM,
        response_class=Response,
        name=f"{kind}_events",
        summary=f"Progress of a {kind}",
    )
    async def job_events(request: Request, id: str, app: App, owner: Reader, last: LastEventId = None) -> Response:
        """Server-sent events: `state`, `stage` and `progress`; with Last-Event-ID from there on."""

        def known() -> str:
            with app.database.read() as connection:
                return str(_find(connection, owner, kind, id).id)

        return await stream(request, app, owner, await run_in_threadpool(known), last)

    results = {
        **documented(404, 409, 410, 416),
        **FILE,
    }

    def result(app: AppState, owner: Owner, id: str, name: str, range: str | None) -> Response:
        with app.database.read() as connection:
            row = _find(connection, owner, kind, id)
        if row.state == "expired":
            raise ApiError("result-expired", "This result has expired and was removed.", "Make it again.")
        if row.state != "done":
            text = f"There is no result: this {kind} is {row.state}."
            raise ApiError("result-not-ready", text, "Wait for its end; its events say when.")
        file = row.result["files"].get(name)
        if file is None:
            there = ", ".join(row.result["files"])
            hint = f"There are: {there}. Stems of a cover are kept with settings.output.keep_stems."
            raise ApiError("stem-unknown", f"This {kind} has no {name!r}.", hint)
        return send(app.storage, file["path"], file["name"], file["type"], range, id.rpartition("_")[2] + name)

    if kind == "cover":

        @router.get("/{id}/audio", responses=results, response_class=Response, name="cover_audio")
        def audio(id: str, app: App, owner: Reader, range: Range = None) -> Response:
            """The cover itself."""
            return result(app, owner, id, "audio", range)

        @router.get("/{id}/report", responses=results, response_class=Response, name="cover_report")
        def report(id: str, app: App, owner: Reader, range: Range = None) -> Response:
            """The report as a page."""
            return result(app, owner, id, "report", range)

        @router.get("/{id}/figures", responses=results, response_class=Response, name="cover_figures")
        def figures(id: str, app: App, owner: Reader, range: Range = None) -> Response:
            """The report as JSON."""
            return result(app, owner, id, "figures", range)

    @router.get("/{id}/stems/{stem}", responses=results, response_class=Response, name=f"{kind}_stem")
    def stem(id: str, stem: str, app: App, owner: Reader, range: Range = None) -> Response:
        """One stem: vocals, instrumental and, where they were made, others."""
        return result(app, owner, id, f"stems/{stem}", range)

    return router


def _submit(
    app: AppState,
    connection: Connection,
    owner: Owner,
    now: float,
    kind: Literal["cover", "separation"],
    wanted: _Request,
    settings: CoverSettings,
    form: Form,
    found: dict[str, dict[str, Any]],
) -> answers.Job:
    ids = {role: getattr(wanted, role, None) for role in ROLES}
    inputs = {role: id for role, id in ids.items() if id is not None}
    more: dict[str, Any] = {}
    if isinstance(wanted, CoverRequest):
        more = _singers(connection, owner, wanted)
    given = {*inputs, *(upload.field for upload in form.files)}
    if "song" not in given and not {"vocals", "instrumental"} <= given:
        text = "There is no song."
        raise UnderstudyError("song-missing", text, "Send a song, or both vocals and instrumental.")
    kept: dict[str, str] = {}
    if form.files:
        check_storage(connection, app.settings, owner, now, sum(upload.bytes for upload in form.files))
        kept = keep(connection, owner, now, form.files, found)
        inputs |= kept
    rows = {role: find_song(connection, owner, id) for role, id in inputs.items()}
    named = rows.get("song") or rows["vocals"]
    seconds = settings.song.duration or max(0.0, (named.duration or 240.0) - settings.song.start)
    minutes = min(seconds, named.duration or seconds) / 60
    check_job(connection, app.settings, owner, now, minutes)
    id = queue.submit(
        connection,
        now,
        owner.id,
        kind,
        minutes,
        priority=queue.PRIORITIES[wanted.priority],
        name=PurePath(named.name).stem,
        request={"inputs": inputs, "settings": settings.model_dump(mode="json"), **more},
        song=inputs.get("song"),
        voice=next(iter(more["singers"].values())) if more else None,
        webhook=wanted.webhook,
    )
    answer = answers.job(connection.execute(select(jobs).where(jobs.c.id == id)).one())
    store(app, connection, form.files, kept)
    return answer


def _singers(connection: Connection, owner: Owner, wanted: CoverRequest) -> dict[str, Any]:
    """Who sings, with the ids of the voices: what they are called may change before the work begins."""
    texts = [wanted.voice] if isinstance(wanted.voice, str) else wanted.voice
    parts = parse_voices(texts)
    found = {}
    for name in dict.fromkeys([*(name for _, name in parts.lead), *([parts.backing] if parts.backing else [])]):
        voice = find_voice(connection, owner, name)
        if voice.state != "ready":
            text = f"The voice {voice.name!r} is {'being made' if voice.state == 'making' else 'unusable'}."
            raise ApiError("voice-not-ready", text, "GET /v1/voices says when it is ready, or why not.")
        found[name] = str(voice.id)
    transposes = {str(find_voice(connection, owner, name).id): value for name, value in wanted.transposes.items()}
    if any(id not in found.values() for id in transposes):
        text = "A voice is to be transposed that doesn't sing here."
        raise UnderstudyError("cast-invalid", text, f"Singing: {', '.join(found)}.")
    return {"voices": texts, "singers": found, "transposes": transposes}


def _settings(wanted: _Request) -> CoverSettings:
    """The preset, overlaid with the settings that were sent."""
    if wanted.preset is not None and wanted.preset not in presets():
        text = f"There is no preset named {wanted.preset!r}."
        raise UnderstudyError("preset-unknown", text, f"Choose one of {', '.join(presets())}.")
    given = wanted.settings.model_dump(mode="json", exclude_unset=True)
    settings = load_settings(wanted.preset, given, {})
    own = any(getattr(wanted, role, None) for role in ROLES if role != "song")
    check_separation(settings.separation, used=not own)
    return settings


def _refuse_twice(form: Form) -> None:
    fields = [upload.field for upload in form.files]
    for name in fields:
        if fields.count(name) > 1 or name in form.fields:
            raise ApiError("request-invalid", f"The field {name!r} is there twice.", "Send it once.")


def _find(connection: Connection, owner: Owner, kind: str, id: str) -> Any:
    mine = select(jobs).where(jobs.c.id == id, jobs.c.owner == owner.id, jobs.c.kind == kind)
    row = connection.execute(mine).first()
    if row is None:
        raise ApiError("job-unknown", f"You have no {kind} {id[:60]!r}.", f"GET /v1/{kind}s lists yours.")
    return row


def _ahead(connection: Connection, row: Any) -> int | None:
    """Jobs of all owners that were there before it. Fair shares may let it overtake some of them."""
    if row.state != "queued":
        return None
    before = or_(jobs.c.priority < row.priority, (jobs.c.priority == row.priority) & (jobs.c.created < row.created))
    return connection.scalar(select(func.count()).where(jobs.c.state == "queued", before))


JSON_FIELDS = ("settings", "transposes")
covers = _resource("cover", CoverRequest, ROLES)
separations = _resource("separation", SeparationRequest, ("song",))
