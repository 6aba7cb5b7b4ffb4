"""``/v1/covers`` and ``/v1/separations``: jobs over songs, with their results."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from understudy.services.api import answers
from understudy.services.api.auth import Deleter, Maker, Reader
from understudy.services.api.events import STREAM, LastEventId
from understudy.services.api.files import FILE, Range
from understudy.services.api.idempotency import IdempotencyKey
from understudy.services.api.job_requests import ROLES, CoverRequest, SeparationRequest
from understudy.services.api.job_resource import JobResource
from understudy.services.api.pages import Cursor, Page, Size
from understudy.services.api.problems import documented
from understudy.services.api.state import App

COVERS = JobResource("cover", CoverRequest, ROLES)
SEPARATIONS = JobResource("separation", SeparationRequest, ("song",))

covers = APIRouter(prefix="/v1/covers", tags=["covers"])
separations = APIRouter(prefix="/v1/separations", tags=["separations"])

POSTED = documented(404, 408, 409, 413, 415, 422, 507)
DELETED = {**documented(404), 202: {"description": "It is running and will be cancelled", "model": answers.Job}}
RESULT = {**documented(404, 409, 410, 416), **FILE}


@covers.post(
    "",
    status_code=202,
    response_model=answers.Job,
    responses=POSTED,
    openapi_extra=COVERS.openapi(),
    summary="Make a cover",
)
async def make_cover(request: Request, app: App, owner: Maker, key: IdempotencyKey = None) -> JSONResponse:
    """Answers at once with the job; follow it by its events, or ask for it again."""
    return await COVERS.submit(request, app, owner, key)


@covers.get("", responses=documented(400, 422), summary="List your covers")
def list_covers(
    app: App, owner: Reader, state: answers.State | None = None, cursor: Cursor = None, size: Size = 20
) -> Page[answers.Job]:
    """Newest first; `state` picks those in that state."""
    return COVERS.list(app, owner, state, cursor, size)


@covers.get("/{id}", responses=documented(404), summary="One cover")
def show_cover(id: str, app: App, owner: Reader) -> answers.Job:
    """Its state, progress and result."""
    return COVERS.show(app, owner, id)


@covers.delete("/{id}", status_code=204, responses=DELETED, summary="Cancel or remove a cover")
def delete_cover(id: str, app: App, owner: Deleter) -> Response:
    """One that waits or runs is cancelled (202, the job stays); one that has ended is removed (204)."""
    return COVERS.delete(app, owner, id)


@covers.get("/{id}/events", responses=documented(404) | STREAM, response_class=Response, summary="Progress of a cover")
async def cover_events(request: Request, id: str, app: App, owner: Reader, last: LastEventId = None) -> Response:
    """Server-sent events: `state`, `stage` and `progress`; with Last-Event-ID from there on."""
    return await COVERS.events(request, app, owner, id, last)


@covers.get("/{id}/audio", responses=RESULT, response_class=Response)
def cover_audio(id: str, app: App, owner: Reader, range: Range = None) -> Response:
    """The cover itself."""
    return COVERS.file(app, owner, id, "audio", range)


@covers.get("/{id}/report", responses=RESULT, response_class=Response)
def cover_report(id: str, app: App, owner: Reader, range: Range = None) -> Response:
    """The report as a page."""
    return COVERS.file(app, owner, id, "report", range)


@covers.get("/{id}/figures", responses=RESULT, response_class=Response)
def cover_figures(id: str, app: App, owner: Reader, range: Range = None) -> Response:
    """The report as JSON."""
    return COVERS.file(app, owner, id, "figures", range)


@covers.get("/{id}/stems/{stem}", responses=RESULT, response_class=Response)
def cover_stem(id: str, stem: str, app: App, owner: Reader, range: Range = None) -> Response:
    """One stem: vocals, instrumental and, where they were made, others."""
    return COVERS.file(app, owner, id, f"stems/{stem}", range)


@separations.post(
    "",
    status_code=202,
    response_model=answers.Job,
    responses=POSTED,
    openapi_extra=SEPARATIONS.openapi(),
    summary="Make a separation",
)
async def make_separation(request: Request, app: App, owner: Maker, key: IdempotencyKey = None) -> JSONResponse:
    """Answers at once with the job; follow it by its events, or ask for it again."""
    return await SEPARATIONS.submit(request, app, owner, key)


@separations.get("", responses=documented(400, 422), summary="List your separations")
def list_separations(
    app: App, owner: Reader, state: answers.State | None = None, cursor: Cursor = None, size: Size = 20
) -> Page[answers.Job]:
    """Newest first; `state` picks those in that state."""
    return SEPARATIONS.list(app, owner, state, cursor, size)


@separations.get("/{id}", responses=documented(404), summary="One separation")
def show_separation(id: str, app: App, owner: Reader) -> answers.Job:
    """Its state, progress and result."""
    return SEPARATIONS.show(app, owner, id)


@separations.delete("/{id}", status_code=204, responses=DELETED, summary="Cancel or remove a separation")
def delete_separation(id: str, app: App, owner: Deleter) -> Response:
    """One that waits or runs is cancelled (202, the job stays); one that has ended is removed (204)."""
    return SEPARATIONS.delete(app, owner, id)


@separations.get(
    "/{id}/events", responses=documented(404) | STREAM, response_class=Response, summary="Progress of a separation"
)
async def separation_events(request: Request, id: str, app: App, owner: Reader, last: LastEventId = None) -> Response:
    """Server-sent events: `state`, `stage` and `progress`; with Last-Event-ID from there on."""
    return await SEPARATIONS.events(request, app, owner, id, last)


@separations.get("/{id}/stems/{stem}", responses=RESULT, response_class=Response)
def separation_stem(id: str, stem: str, app: App, owner: Reader, range: Range = None) -> Response:
    """One stem: vocals, instrumental and, where they were made, others."""
    return SEPARATIONS.file(app, owner, id, f"stems/{stem}", range)
