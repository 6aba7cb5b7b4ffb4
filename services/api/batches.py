"""``/v1/batches``: many covers and separations by one request, all or none of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError, WrapValidator
from sqlalchemy import Connection, Row, and_, case, func, select

from understudy.errors import UnderstudyError
from understudy.pipeline.settings import CoverSettings
from understudy.services.api import answers
from understudy.services.api.auth import Deleter, Maker, Reader
from understudy.services.api.idempotency import IdempotencyKey, accept
from understudy.services.api.job_requests import (
    CoverRequest,
    JobRequest,
    Lookup,
    NewJob,
    SeparationRequest,
    Submission,
    VoiceText,
    checked,
    submit_all,
)
from understudy.services.api.pages import Cursor, Page, Size, page
from understudy.services.api.problems import ApiError, documented
from understudy.services.api.state import App, AppState
from understudy.services.api.uploads import FormRules, Sender, received
from understudy.services.queue import jobs as queue
from understudy.services.queue import removals
from understudy.services.queue.owners import Owner
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.tables import batches, jobs, new_id
from understudy.validation import faults
from understudy.wording import counted

MOST_JOBS = 500
_AT_ONCE = 25  # jobs that one transaction cancels or removes: others come in between

router = APIRouter(prefix="/v1/batches", tags=["batches"])
_LATER = WrapValidator(lambda value, _: value)  # each by itself: what is wrong with one is said of that one


class BatchRequest(BaseModel):
    """A cover of each of `songs` by each of `voices`, and further `covers` and `separations`, written as the bodies of
    their own requests: together at most 500. All are made or none, unless `partial`."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, min_length=1, max_length=400, description="for your lists")
    songs: list[Annotated[str, Field(max_length=60)]] = Field([], max_length=MOST_JOBS, description="ids of songs")
    voices: list[VoiceText | list[VoiceText]] = Field(
        [], max_length=MOST_JOBS, description="each as `voice` of a cover"
    )
    covers: list[Annotated[CoverRequest, _LATER]] = Field([], max_length=MOST_JOBS)
    separations: list[Annotated[SeparationRequest, _LATER]] = Field([], max_length=MOST_JOBS)
    each: dict[str, Any] = Field(
        {}, description="what all have that don't say otherwise: preset, settings ...; their priority is batch"
    )
    partial: bool = Field(False, description="leave out those that can't be made, and say why in `skipped`")

    def items(self) -> Iterator[tuple[str, Literal["cover", "separation"], Any]]:
        """(where it stands in the request, kind, body) of each job."""
        common = {"priority": "batch", **self.each}
        for place, song in enumerate(self.songs):
            for other, voice in enumerate(self.voices):
                yield f"songs.{place} voices.{other}", "cover", {**common, "song": song, "voice": voice}
        listed: dict[Literal["cover", "separation"], Sequence[Any]] = {
            "cover": self.covers,
            "separation": self.separations,
        }
        for kind, bodies in listed.items():
            for place, body in enumerate(bodies):
                yield f"{kind}s.{place}", kind, {**common, **body} if isinstance(body, dict) else body


@router.post(
    "",
    status_code=202,
    response_model=answers.Batch,
    responses=documented(404, 409, 415, 422, 507),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/BatchRequest"}}},
        }
    },
)
async def make_batch(request: Request, app: App, owner: Maker, key: IdempotencyKey = None) -> JSONResponse:
    """Submit many jobs. Limits count each of them; if they allow fewer, the batch is refused."""
    async with received(request, app, Sender(owner.id, 1, 0.0), FormRules((), 1, 0)) as form:
        body = BatchRequest.model_validate(form.fields)
        count = len(body.songs) * len(body.voices) + len(body.covers) + len(body.separations)
        if not 1 <= count <= MOST_JOBS:
            text = f"The batch has {counted(count, 'job')}; it takes 1 to {MOST_JOBS}."
            raise ApiError("request-invalid", text, "Name 'songs' and 'voices', or 'covers' or 'separations'.")
        found, skipped = await app.requests.run(owner.id, _checked, body, app.settings)
        make = partial(_Batch(body, found, skipped).submit, app.settings, owner)
        return (await accept(app, owner, key, form, 202, make, {})).response()


def _checked(body: BatchRequest, server: ServerSettings) -> tuple[dict[str, Submission], list[answers.Skipped]]:
    """The jobs by their place in the request, and the problems of the others. The database isn't asked."""
    found, skipped = {}, []
    settings: dict[str, CoverSettings] = {}  # most jobs have the same, and each takes milliseconds to check
    for place, kind, fields in body.items():
        try:
            request: JobRequest = (CoverRequest if kind == "cover" else SeparationRequest).model_validate(fields)
            found[place] = Submission(kind, request, *checked(request, settings), ())
            request.check(server)
        except ValidationError as error:
            fault = faults(error.errors())[0]
            text = f"The field {fault.field!r} is wrong: {fault.reason}."
            skipped.append(_skipped(place, UnderstudyError("request-invalid", text, "Correct it.")))
        except UnderstudyError as error:
            skipped.append(_skipped(place, error))
    return found, skipped


def _skipped(place: str, error: UnderstudyError) -> answers.Skipped:
    return answers.Skipped(field=place, code=error.code, message=error.message, hint=error.hint)


@dataclass(frozen=True)
class _Batch:
    """A checked request. `skipped`: the problems that are known already."""

    request: BatchRequest
    found: Mapping[str, Submission]
    skipped: Sequence[answers.Skipped]

    def submit(self, server: ServerSettings, owner: Owner, connection: Connection, now: float) -> answers.Batch:
        """Submit the jobs, in the transaction of `connection`. Raises ``batch-invalid`` with the problem of each job
        that can't be made, and what the checks of the limits raise."""
        lookup, skipped = Lookup(connection, owner), list(self.skipped)
        new: list[NewJob] = []
        for place, submission in self.found.items():
            try:
                new.append(submission.prepared(lookup))
            except UnderstudyError as error:
                skipped.append(_skipped(place, error))
        if skipped and (not new or not self.request.partial):
            total = len(new) + len(skipped)
            raise ApiError(
                "batch-invalid",
                f"{len(skipped)} of {counted(total, 'job')} can't be made; {skipped[0].field}: {skipped[0].message}",
                "Correct them, or send partial: true to make the others.",
                errors=[one.model_dump() for one in skipped],
            )
        id = new_id("batch")
        about = {"name": self.request.name, "skipped": [one.model_dump() for one in skipped]}
        connection.execute(batches.insert().values(id=id, owner=owner.id, created=now, **about))
        submit_all(server, owner, connection, now, new, id)
        return _shown(connection, [_find(connection, owner, id)])[0]


@router.get("", responses=documented(422))
def list_batches(app: App, owner: Reader, cursor: Cursor = None, size: Size = 20) -> Page[answers.Batch]:
    """Your batches, newest first."""
    query = select(batches).where(batches.c.owner == owner.id)
    rows: Page[Row[Any]] = page(app.database, query, batches, cursor, size, lambda row: row)
    with app.database.read() as connection:
        return Page(items=_shown(connection, rows.items), next=rows.next)


@router.get("/{id}", responses=documented(404))
def show_batch(id: str, app: App, owner: Reader) -> answers.Batch:
    """How far it is."""
    with app.database.read() as connection:
        return _shown(connection, [_find(connection, owner, id)])[0]


@router.get("/{id}/jobs", responses=documented(404, 422))
def list_batch_jobs(
    id: str, app: App, owner: Reader, state: answers.State | None = None, cursor: Cursor = None, size: Size = 20
) -> Page[answers.Job]:
    """Its jobs, the last one first; `state` picks those in that state."""
    with app.database.read() as connection:
        _find(connection, owner, id)
    query = select(jobs).where(jobs.c.batch == id)
    if state:
        query = query.where(jobs.c.state == state)
    return page(app.database, query, jobs, cursor, size, answers.job)


@router.delete(
    "/{id}",
    status_code=204,
    responses={**documented(404), 202: {"description": "Its jobs are being cancelled", "model": answers.Batch}},
)
def delete_batch(id: str, app: App, owner: Deleter) -> Response:
    """Cancel what waits or runs of it (202, its jobs stay); if all of it has ended, remove it with its jobs (204)."""
    with app.database.read() as connection:
        _find(connection, owner, id)
        active = connection.scalar(select(jobs.c.id).where(jobs.c.batch == id, jobs.c.state.in_(queue.ACTIVE)).limit(1))
    change = _remove_some if active is None else _cancel_some
    while change(app, owner, id):
        pass
    if active is None:
        return Response(status_code=204)
    return JSONResponse(show_batch(id, app, owner).model_dump(mode="json"), 202)


def _cancel_some(app: AppState, owner: Owner, id: str) -> bool:
    with app.database.write() as connection:
        now = app.database.now(connection)
        waits = and_(jobs.c.batch == id, jobs.c.state.in_(queue.ACTIVE), ~jobs.c.cancel)
        rows = connection.execute(select(jobs).where(waits).limit(_AT_ONCE)).all()
        for row in rows:
            queue.cancel(connection, now, row)
        return bool(rows)


def _remove_some(app: AppState, owner: Owner, id: str) -> bool:
    with app.database.write() as connection:
        some = connection.scalars(select(jobs.c.id).where(jobs.c.batch == id).limit(_AT_ONCE)).all()
        connection.execute(jobs.delete().where(jobs.c.id.in_(some)))
        removals.note(connection, app.database.now(connection), [f"{owner.id}/jobs/{job}" for job in some])
        if not some:
            connection.execute(batches.delete().where(batches.c.id == id))
        return bool(some)


def _find(connection: Connection, owner: Owner, id: str) -> Any:
    row = connection.execute(select(batches).where(batches.c.id == id, batches.c.owner == owner.id)).first()
    if row is None:
        raise ApiError("batch-unknown", f"You have no batch {id[:60]!r}.", "GET /v1/batches lists yours.")
    return row


def _shown(connection: Connection, rows: Sequence[Row[Any]]) -> list[answers.Batch]:
    """The batches as the API shows them, with what their jobs do now."""
    done = func.sum(case((jobs.c.state.in_(queue.ACTIVE), jobs.c.fraction), else_=1.0))
    query = select(jobs.c.batch, jobs.c.state, func.count().label("number"), done.label("done"))
    query = query.where(jobs.c.batch.in_([row.id for row in rows])).group_by(jobs.c.batch, jobs.c.state)
    found: dict[str, list[Row[Any]]] = {}
    for one in connection.execute(query):
        found.setdefault(one.batch, []).append(one)
    shown = []
    for row in rows:
        its = found.get(row.id, [])
        states = {one.state: one.number for one in its}
        total = sum(states.values())
        about = {
            "ended": not any(state in queue.ACTIVE for state in states),
            "jobs": total,
            "states": states,
            "fraction": sum(one.done for one in its) / total if total else 1.0,
        }
        shown.append(answers.Batch.model_validate(row._asdict() | about))
    return shown
