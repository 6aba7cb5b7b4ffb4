"""``/v1/voices/{id}/train`` and ``/v1/trainings``: jobs that train an RVC model of a voice from its recordings."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy import Connection, and_, func, select

from understudy.services.api import answers
from understudy.services.api.auth import Deleter, Reader, VoiceMaker
from understudy.services.api.events import STREAM, LastEventId, stream
from understudy.services.api.files import AUDIO, PAGE, FileWanted, Wanted, send
from understudy.services.api.idempotency import IdempotencyKey, accept
from understudy.services.api.jobs import Searched, listed
from understudy.services.api.pages import Cursor, Page, Size
from understudy.services.api.problems import ApiError, documented
from understudy.services.api.songs import BINARY, form_body, new_songs, refuse_fields
from understudy.services.api.state import App, AppState
from understudy.services.api.training_requests import (
    EMBEDDER,
    NewTraining,
    Rate,
    TrainingRequest,
    check_models,
    device_kind,
    estimated,
)
from understudy.services.api.uploads import FormRules, owner_as_sender, received
from understudy.services.api.voices import check_consent, find_voice
from understudy.services.queue import jobs as queue
from understudy.services.queue import removals
from understudy.services.queue.owners import Owner
from understudy.services.queue.tables import jobs, new_id

training = APIRouter(prefix="/v1/voices", tags=["trainings"])
router = APIRouter(prefix="/v1/trainings", tags=["trainings"])
RESULT = documented(404, 409, 410, 416)


def _body_schema() -> dict[str, Any]:
    """The `openapi_extra` of the POST route, which reads its body itself: JSON, or a form with the same fields and
    recordings."""
    fields = {
        name: {key: value for key, value in about.items() if key not in ("title", "default")}
        for name, about in TrainingRequest.model_json_schema()["properties"].items()
    }
    recordings = {"type": "array", "items": BINARY, "description": "further recordings of the same voice"}
    properties = {"recordings": recordings, **fields}
    form = form_body("TrainingForm", properties, [])
    content = {
        "application/json": {"schema": {"$ref": "#/components/schemas/TrainingRequest"}},
        "multipart/form-data": {"schema": form},
    }
    return {"requestBody": {"required": True, "content": content}}


@training.post(
    "/{id}/train",
    status_code=202,
    response_model=answers.Training,
    responses=documented(404, 408, 409, 413, 415, 422, 507),
    openapi_extra=_body_schema(),
)
async def train_voice(
    request: Request, id: str, app: App, owner: VoiceMaker, key: IdempotencyKey = None
) -> JSONResponse:
    """Train a model of this voice, or fine-tune the server's singing model on it, from its recordings and any that come
    with the request. The first takes hours on a GPU and days without one; a voice's next training with the same
    settings goes on where the last one stopped."""
    limit, most = owner.limit("song_bytes", app.settings), owner.limit("recordings", app.settings)
    sender = await owner_as_sender(app, owner, key)
    async with received(
        request, app, sender, FormRules(("recordings",), limit, most, json=("metadata",), repeated=("webhook_events",))
    ) as form:
        refuse_fields(form.fields, tuple(TrainingRequest.model_fields))
        body = TrainingRequest.model_validate(form.fields)
        if form.files:
            check_consent(body.consent)
        body.check(app.settings)
        durations = [sent.about.duration for sent in await new_songs(app, owner, form.files)]
        await app.requests.run(owner.id, check_models, body, app.settings)
        voice = await app.requests.run(owner.id, _voice_id, app, owner, id)
        training = NewTraining(voice, body, form.files, durations, new_id("sent"))
        make = partial(training.submit, app.settings, owner)
        return (await accept(app, owner, key, form, 202, make, training.places(owner))).response()


def _voice_id(app: AppState, owner: Owner, id: str) -> str:
    with app.database.read() as connection:
        return str(find_voice(connection, owner, id).id)


@training.get("/{id}/train", responses=documented(404, 409, 422))
def estimate_training(
    id: str,
    app: App,
    owner: Reader,
    engine: Literal["rvc", "zero-shot"] = "rvc",
    size: Literal["full", "tiny"] = "full",
    version: Literal["v1", "v2"] = "v2",
    sample_rate: Annotated[Rate, Query()] = 48000,
    embedder: Annotated[str, Query(max_length=64, pattern=EMBEDDER)] = "contentvec",
) -> answers.TrainingEstimate:
    """What a training of this voice would take, and what is missing for it. Nothing is begun."""
    request = TrainingRequest(engine=engine, size=size, version=version, sample_rate=sample_rate, embedder=embedder)
    with app.database.read() as connection:
        voice = find_voice(connection, owner, id)
        per_clip = queue.mean_seconds(
            connection, queue.SPEED, f"{device_kind(app.settings)} {size if engine == 'rvc' else engine}"
        )
    return estimated(voice, request.settings(), app.settings, per_clip)


@router.get("", responses=documented(400, 404, 422))
def list_trainings(
    app: App,
    owner: Reader,
    search: Searched,
    state: answers.TrainingState | None = None,
    cursor: Cursor = None,
    size: Size = 20,
) -> Page[answers.Training]:
    """Your trainings, newest first, narrowed to what is searched."""
    return listed(app, owner, ("training",), state, search, cursor, size, answers.training)


@router.get("/{id}", responses=documented(404))
def show_training(id: str, app: App, owner: Reader) -> answers.Training:
    """Its state, its latest losses and scores, and what can be listened to."""
    with app.database.read() as connection:
        row = _find(connection, owner, id)
        return answers.training(row, _ahead(connection, row))


@router.delete(
    "/{id}",
    status_code=204,
    responses={**documented(404), 202: {"description": "It is running and will end", "model": answers.Training}},
)
def delete_training(id: str, app: App, owner: Deleter) -> Response:
    """One that has not ended is cancelled (202, the job stays). If it runs, the best checkpoint so far becomes the
    voice's model. One that has ended is removed (204); the voice keeps its model."""
    with app.database.write() as connection:
        row = _find(connection, owner, id)
        if row.state in queue.ACTIVE:
            queue.cancel(connection, app.database.now(connection), row)
            answer = answers.training(_find(connection, owner, id))
            return JSONResponse(answer.model_dump(mode="json"), 202)
        connection.execute(jobs.delete().where(jobs.c.id == id))
        removals.note(connection, app.database.now(connection), [f"{owner.id}/jobs/{id}"])
    return Response(status_code=204)


@router.post("/{id}/pause", status_code=202, responses=documented(404, 409))
def pause_training(id: str, app: App, owner: VoiceMaker) -> answers.Training:
    """Save how far it is and give its place to another one. It can be resumed at any time."""
    with app.database.write() as connection:
        _refuse_ended(_find(connection, owner, id))
        queue.pause(connection, app.database.now(connection), id)
        return answers.training(_find(connection, owner, id))


@router.post("/{id}/resume", status_code=202, responses=documented(404, 409))
def resume_training(id: str, app: App, owner: VoiceMaker) -> answers.Training:
    """Go on with a paused one where it stopped."""
    with app.database.write() as connection:
        _refuse_ended(_find(connection, owner, id))
        queue.resume(connection, app.database.now(connection), id)
        row = _find(connection, owner, id)
        return answers.training(row, _ahead(connection, row))


@router.get("/{id}/events", responses=documented(404) | STREAM, response_class=Response)
async def training_events(request: Request, id: str, app: App, owner: Reader, last: LastEventId = None) -> Response:
    """Server-sent events: `state`, `stage` and `progress` as of a cover, and `training`: evaluations, warnings, the
    end. With Last-Event-ID from there on."""
    return await stream(request, app, owner, lambda connection: str(_find(connection, owner, id).id), last)


@router.get("/{id}/report", responses=RESULT | PAGE, response_class=Response)
def training_report(id: str, app: App, owner: Reader, wanted: FileWanted) -> Response:
    """The report as a page: curves, players, what would help most."""
    return _file(app, owner, id, "report", wanted)


@router.get("/{id}/samples/{version}/{name}", responses=RESULT | AUDIO, response_class=Response)
def training_sample(id: str, version: str, name: str, app: App, owner: Reader, wanted: FileWanted) -> Response:
    """What a kept checkpoint made of a held-out recording or a sung phrase, also while the training runs. `version`:
    its step; or, once it has ended, ``original`` or ``instant``."""
    return _file(app, owner, id, f"samples/{version}/{name}", wanted)


def _file(app: AppState, owner: Owner, id: str, name: str, wanted: Wanted) -> Response:
    with app.database.read() as connection:
        row = _find(connection, owner, id)
    if row.state == "expired":
        raise ApiError("result-expired", "The report and the samples have expired and were removed.", "Train again.")
    file = ((row.result or {}).get("files") or {}).get(name)
    if file is None and name == "report":
        text = f"There is no report: this training is {row.state}."
        raise ApiError("result-not-ready", text, "It is made at the end, once a checkpoint was evaluated.")
    if file is None:
        raise ApiError("sample-unknown", f"This training has no {name[:80]!r}.", "Its 'samples' lists those there are.")
    return send(app, owner, file["path"], file["name"], file["type"], wanted, id.rpartition("_")[2][:12] + name)


def _find(connection: Connection, owner: Owner, id: str) -> Any:
    mine = select(jobs).where(jobs.c.id == id, jobs.c.owner == owner.id, jobs.c.kind == "training")
    row = connection.execute(mine).first()
    if row is None:
        raise ApiError("job-unknown", f"You have no training {id[:60]!r}.", "GET /v1/trainings lists yours.")
    return row


def _refuse_ended(row: Any) -> None:
    if row.state not in queue.ACTIVE or row.cancel:
        text = f"This training is {'being cancelled' if row.state in queue.ACTIVE else row.state}."
        raise ApiError("job-ended", text, "Train the voice again; with the same settings it goes on where it stopped.")


def _ahead(connection: Connection, row: Any) -> int | None:
    """How many queued trainings of all owners are older."""
    if row.state != "queued":
        return None
    before = and_(jobs.c.kind == "training", jobs.c.state == "queued", jobs.c.created < row.created)
    return connection.scalar(select(func.count()).where(before))
