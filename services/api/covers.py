"""``/v1/covers`` and ``/v1/separations``: jobs over songs, with their results.

The two kinds of job share most routes: `route` adds a function to the router of each kind, and the function's
parameter `kind` says which one was called.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy import Connection, select

from understudy.services.api import answers
from understudy.services.api.auth import Deleter, Maker, Reader
from understudy.services.api.estimates import ahead, estimated, running
from understudy.services.api.events import STREAM, LastEventId, stream
from understudy.services.api.files import AUDIO, PAGE, FileWanted, Wanted, file_response, send
from understudy.services.api.idempotency import IdempotencyKey, accept
from understudy.services.api.job_requests import (
    MOST_VOICES,
    CoverRequest,
    JobRequest,
    SeparationRequest,
    Submission,
    checked,
)
from understudy.services.api.jobs import Searched, listed
from understudy.services.api.pages import Cursor, Page, Size
from understudy.services.api.problems import ApiError, documented
from understudy.services.api.songs import BINARY, form_body, new_songs, refuse_fields
from understudy.services.api.state import App, AppState
from understudy.services.api.uploads import Form, FormRules, owner_as_sender, received
from understudy.services.api.waiting import Wait, wait_for_end
from understudy.services.queue import jobs as queue
from understudy.services.queue import removals
from understudy.services.queue.owners import Owner
from understudy.services.queue.tables import jobs

ENDED = {200: {"description": "It has ended while the request waited for it", "model": answers.Job}}
DELETED = {**documented(404), 202: {"description": "It is running and will be cancelled", "model": answers.Job}}
RESULT = documented(404, 409, 410, 416)

covers = APIRouter(prefix="/v1/covers", tags=["covers"])
separations = APIRouter(prefix="/v1/separations", tags=["separations"])


@dataclass(frozen=True)
class JobKind:
    """One kind of job as the API offers it. `request`: the model of the body; `files`: the fields of a form that may
    hold a file in place of a song's id."""

    name: Literal["cover", "separation"]
    router: APIRouter
    request: type[JobRequest]
    files: tuple[str, ...]


COVER = JobKind("cover", covers, CoverRequest, queue.ROLES)
SEPARATION = JobKind("separation", separations, SeparationRequest, ("song",))


async def kind_of_route(request: Request) -> JobKind:
    return COVER if "covers" in request.scope["route"].tags else SEPARATION


Kind = Annotated[JobKind, Depends(kind_of_route)]
Route = TypeVar("Route", bound=Callable[..., Any])


def body_schema(kind: JobKind) -> dict[str, Any]:
    """The `openapi_extra` of the POST route, which reads its body itself: JSON, or a form with the same fields and
    files in place of ids."""
    as_json = {"type": "string", "contentMediaType": "application/json", "description": "as in the JSON body"}
    others = {
        "voice": {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "maxItems": MOST_VOICES,
            "description": "as in the JSON body",
        },
        "engine": {"type": "string", "enum": ["instant", "zero-shot", "rvc"]},
        "preview": {"type": "boolean"},
        "transposes": as_json,
        "settings": as_json,
        "preset": {"type": "string"},
        "priority": {"type": "string", "enum": ["interactive", "batch"]},
        "webhook": {"type": "string", "format": "uri"},
        "metadata": as_json,
        "webhook_events": {"type": "array", "items": {"type": "string"}, "description": "as in the JSON body"},
    }
    fields = kind.request.model_fields
    properties = dict.fromkeys(kind.files, BINARY) | {name: others[name] for name in others if name in fields}
    required = [name for name, field in fields.items() if field.is_required()]
    form = form_body(f"{kind.name.capitalize()}Form", properties, required)
    content = {
        "application/json": {"schema": {"$ref": f"#/components/schemas/{kind.request.__name__}"}},
        "multipart/form-data": {"schema": form, "encoding": {"settings": {"contentType": "application/json"}}},
    }
    return {"requestBody": {"required": True, "content": content}}


def route(method: str, path: str, name: str, summary: str | None = None, **options: Any) -> Callable[[Route], Route]:
    """Add the function as a route of each kind. In `name` (the operation's id) and `summary`, ``{}`` is the kind."""

    def add(function: Route) -> Route:
        for kind in (COVER, SEPARATION):
            words: dict[str, Any] = {"name": name.format(kind.name), "summary": summary and summary.format(kind.name)}
            extra = body_schema(kind) if method == "POST" else None
            kind.router.add_api_route(path, function, methods=[method], openapi_extra=extra, **words, **options)
        return function

    return add


@route(
    "POST",
    "",
    "make_{}",
    "Make a {}",
    status_code=202,
    response_model=answers.Job,
    responses=documented(404, 408, 409, 413, 415, 422, 507) | ENDED,
)
async def make_job(
    request: Request, app: App, owner: Maker, kind: Kind, wait: Wait, key: IdempotencyKey = None
) -> JSONResponse:
    """Answers at once with the job; follow it by its events, or ask for it again. With `Prefer: wait=30` the answer
    comes when the job has ended (200), or after 30 seconds with the job as it is then (202)."""
    async with _received(request, app, owner, kind, key) as (form, submission):
        make = partial(submission.submit, app.settings, owner)
        places = {song.upload: song.path(owner) for song in submission.sent}
        answer = await accept(app, owner, key, form, 202, make, places)
    id, headers = answer.body["id"], {}
    if wait is not None and await wait_for_end(request, app, owner, id, wait):
        job = await app.requests.run(owner.id, show_job, id, app, owner, kind)
        answer = replace(answer, body=job.model_dump(mode="json"), status=202 if job.state in queue.ACTIVE else 200)
        headers = {"Preference-Applied": f"wait={wait}"}
    return answer.response(headers)


@route(
    "POST",
    "/estimate",
    "estimate_{}",
    "What a {} would take",
    response_model=answers.JobEstimate,
    responses=documented(404, 408, 409, 413, 415, 422, 507),
)
async def estimate_job(request: Request, app: App, owner: Maker, kind: Kind) -> answers.JobEstimate:
    """The same body as to make one, and the same problems if that would be refused; nothing is stored or begun. The
    minutes that it would be charged, how long it would take, and its place in the queue."""
    async with _received(request, app, owner, kind, None) as (_, submission):
        return await app.requests.run(owner.id, estimated, app, owner, submission)


@asynccontextmanager
async def _received(
    request: Request, app: AppState, owner: Owner, kind: JobKind, key: str | None
) -> AsyncIterator[tuple[Form, Submission]]:
    """The body of a request, and the checked job that it asks for.

    Everything slow (receiving, parsing, probing) is here, outside of the transaction that checks the owner's limits,
    lists the uploaded songs and submits the job: it makes all of it or nothing."""
    sender, limit = await owner_as_sender(app, owner, key), owner.limit("song_bytes", app.settings)
    json, repeated = ("settings", "transposes", "metadata"), ("voice", "webhook_events", "stems", "midi")
    rules = FormRules(kind.files, limit, len(kind.files), json=json, repeated=repeated)
    async with received(request, app, sender, rules) as form:
        refuse_fields(form.fields, tuple(kind.request.model_fields))
        _refuse_twice(form)
        body = kind.request.model_validate(
            form.fields | {upload.field: f"(file {upload.field})" for upload in form.files}
        )
        settings, parts = await app.requests.run(owner.id, checked, body)
        body.check(app.settings)
        sent = await new_songs(app, owner, form.files)
        yield form, Submission(kind.name, body, settings, parts, sent)


@route("GET", "", "list_{}s", "List your {}s", responses=documented(400, 404, 422))
def list_jobs(
    app: App,
    owner: Reader,
    kind: Kind,
    search: Searched,
    state: answers.State | None = None,
    cursor: Cursor = None,
    size: Size = 20,
) -> Page[answers.Job]:
    """Newest first, narrowed to what is searched."""
    return listed(app, owner, (kind.name,), state, search, cursor, size, answers.job)


@route("GET", "/{id}", "show_{}", "One {}", responses=documented(404))
def show_job(id: str, app: App, owner: Reader, kind: Kind) -> answers.Job:
    """Its state, progress and result."""
    with app.database.read() as connection:
        row = _find(connection, owner, kind, id)
        return answers.job(row, ahead(connection, row), running(connection, row))


@route("DELETE", "/{id}", "delete_{}", "Cancel or remove a {}", status_code=204, responses=DELETED)
def delete_job(id: str, app: App, owner: Deleter, kind: Kind) -> Response:
    """One that waits or runs is cancelled (202, the job stays); one that has ended is removed (204)."""
    with app.database.write() as connection:
        row = _find(connection, owner, kind, id)
        if row.state in queue.ACTIVE:
            queue.cancel(connection, app.database.now(connection), row)
            answer = answers.job(_find(connection, owner, kind, id))
            return JSONResponse(answer.model_dump(mode="json"), 202)
        connection.execute(jobs.delete().where(jobs.c.id == id))
        removals.note(connection, app.database.now(connection), [f"{owner.id}/jobs/{id}"])
    return Response(status_code=204)


@route(
    "GET",
    "/{id}/events",
    "{}_events",
    "Progress of a {}",
    responses=documented(404) | STREAM,
    response_class=Response,
)
async def job_events(
    request: Request, id: str, app: App, owner: Reader, kind: Kind, last: LastEventId = None
) -> Response:
    """Server-sent events: `state`, `stage` and `progress`; with Last-Event-ID from there on."""
    return await stream(request, app, owner, lambda connection: str(_find(connection, owner, kind, id).id), last)


@covers.get("/{id}/audio", responses=RESULT | AUDIO, response_class=Response)
def cover_audio(id: str, app: App, owner: Reader, wanted: FileWanted) -> Response:
    """The cover itself."""
    return _file(app, owner, COVER, id, "audio", wanted)


@covers.get("/{id}/credentials", responses=RESULT | file_response("application/c2pa"), response_class=Response)
def cover_credentials(id: str, app: App, owner: Reader, wanted: FileWanted) -> Response:
    """The signed manifest (C2PA) of a cover in a format that can't hold it, such as Opus."""
    return _file(app, owner, COVER, id, "credentials", wanted)


@covers.get("/{id}/stream", responses=RESULT | file_response("audio/ogg"), response_class=Response)
def cover_stream(id: str, app: App, owner: Reader, wanted: FileWanted) -> Response:
    """The cover as Opus, for players that begin while it loads. It is there beside the stems of a lossless cover."""
    return _file(app, owner, COVER, id, "stream", wanted)


@covers.get("/{id}/previews/{name}", responses=RESULT | file_response("audio/ogg"), response_class=Response)
def cover_preview(id: str, name: str, app: App, owner: Reader, wanted: FileWanted) -> Response:
    """What can be heard of a cover that is being made with `preview`: ``karaoke`` or ``chorus``, as Opus."""
    with app.database.read() as connection:
        row = _find(connection, owner, COVER, id)
    file = ((row.result or {}).get("previews") or {}).get(name)
    if file is None or row.state not in (*queue.ACTIVE, "done"):
        raise ApiError("preview-unknown", f"This cover has no preview {name[:60]!r}.", "Its field previews lists them.")
    return send(app, owner, file["path"], file["name"], file["type"], wanted, id.rpartition("_")[2] + name)


@covers.get("/{id}/video", responses=RESULT | file_response("video/mp4"), response_class=Response)
def cover_video(id: str, app: App, owner: Reader, wanted: FileWanted) -> Response:
    """The video, if `settings.output.video` asked for one."""
    return _file(app, owner, COVER, id, "video", wanted)


@covers.get("/{id}/report", responses=RESULT | PAGE, response_class=Response)
def cover_report(id: str, app: App, owner: Reader, wanted: FileWanted) -> Response:
    """The report as a page."""
    return _file(app, owner, COVER, id, "report", wanted)


@covers.get("/{id}/figures", responses=RESULT | file_response("application/json"), response_class=Response)
def cover_figures(id: str, app: App, owner: Reader, wanted: FileWanted) -> Response:
    """The report as JSON."""
    return _file(app, owner, COVER, id, "figures", wanted)


@route("GET", "/{id}/stems/{stem}", "{}_stem", responses=RESULT | AUDIO, response_class=Response)
def job_stem(id: str, stem: str, app: App, owner: Reader, kind: Kind, wanted: FileWanted) -> Response:
    """One stem: vocals, instrumental and, where they were made, others."""
    return _file(app, owner, kind, id, f"stems/{stem}", wanted)


@separations.get("/{id}/midi/{stem}", responses=RESULT | file_response("audio/midi"), response_class=Response)
def separation_midi(id: str, stem: str, app: App, owner: Reader, wanted: FileWanted) -> Response:
    """The notes of a stem, where the separation asked for them."""
    return _file(app, owner, SEPARATION, id, f"midi/{stem}", wanted)


def _file(app: AppState, owner: Owner, kind: JobKind, id: str, name: str, wanted: Wanted) -> Response:
    """One file of a finished job: ``audio``, ``stream``, ``credentials``, ``video``, ``report``, ``figures`` or
    ``stems/NAME``."""
    with app.database.read() as connection:
        row = _find(connection, owner, kind, id)
    if row.state == "expired":
        raise ApiError("result-expired", "This result has expired and was removed.", "Make it again.")
    if row.state != "done":
        text = f"There is no result: this {kind.name} is {row.state}."
        raise ApiError("result-not-ready", text, "Wait for its end; its events say when.")
    file = row.result["files"].get(name)
    if file is None:
        hint = (
            f"There are: {', '.join(row.result['files'])}. Stems of a cover need settings.output.keep_stems, a video "
            "settings.output.video."
        )
        raise ApiError("stem-unknown", f"This {kind.name} has no {name!r}.", hint)
    return send(app, owner, file["path"], file["name"], file["type"], wanted, id.rpartition("_")[2] + name)


def _find(connection: Connection, owner: Owner, kind: JobKind, id: str) -> Any:
    mine = select(jobs).where(jobs.c.id == id, jobs.c.owner == owner.id, jobs.c.kind == kind.name)
    row = connection.execute(mine).first()
    if row is None:
        raise ApiError("job-unknown", f"You have no {kind.name} {id[:60]!r}.", f"GET /v1/{kind.name}s lists yours.")
    return row


def _refuse_twice(form: Form) -> None:
    fields = [upload.field for upload in form.files]
    for name in fields:
        if fields.count(name) > 1 or name in form.fields:
            raise ApiError("request-invalid", f"The field {name!r} is there twice.", "Send it once.")
