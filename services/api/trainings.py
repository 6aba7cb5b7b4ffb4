"""``/v1/voices/{id}/train`` and ``/v1/trainings``: jobs that train an RVC model of a voice from its recordings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from sqlalchemy import Connection, and_, func, select
from starlette.concurrency import run_in_threadpool

from understudy.errors import UnderstudyError
from understudy.services.api import answers
from understudy.services.api.auth import Deleter, Reader, VoiceMaker
from understudy.services.api.events import STREAM, LastEventId, stream
from understudy.services.api.files import FILE, Range, send
from understudy.services.api.idempotency import IdempotencyKey, accept
from understudy.services.api.limits import check_storage, check_training
from understudy.services.api.pages import Cursor, Page, Size, page
from understudy.services.api.problems import ApiError, documented
from understudy.services.api.songs import BINARY, examined, refuse_fields
from understudy.services.api.state import App, AppState
from understudy.services.api.uploads import Form, FormRules, received
from understudy.services.api.voices import check_consent, find_voice
from understudy.services.queue import jobs as queue
from understudy.services.queue import webhooks
from understudy.services.queue.owners import Owner
from understudy.services.queue.tables import jobs
from understudy.voices.rvc.training.settings import TrainingSettings

training = APIRouter(prefix="/v1/voices", tags=["trainings"])
router = APIRouter(prefix="/v1/trainings", tags=["trainings"])

Rate = Annotated[Literal[32000, 40000, 48000], BeforeValidator(lambda rate: int(rate) if str(rate).isdigit() else rate)]


class TrainingRequest(BaseModel):
    """How to train. `consent` is needed with further recordings."""

    model_config = ConfigDict(extra="forbid")

    size: Literal["full", "tiny"] = Field(
        "full", description="full: RVC's network; tiny: a small network for tests of your program, not for singing"
    )
    version: Literal["v1", "v2"] = Field("v2", description="of RVC's networks")
    sample_rate: Rate = Field(48000, description="Hz; of a tiny network always 16000")
    embedder: str = Field(
        "contentvec", max_length=64, pattern="^[A-Za-z0-9._-]+$", description="content features, by their name"
    )
    steps: int | None = Field(None, ge=1, le=10_000_000, description="the most steps; it ends when no gain is likely")
    batch_size: int | None = Field(None, ge=1, le=256, description="clips per step; null: as many as memory allows")
    separate: bool = Field(False, description="separate the voice from music in the recordings first")
    seed: int = Field(1234, ge=0, lt=1 << 31)
    consent: Literal["self", "granted"] | None = Field(
        None, description="for further recordings: it is your own voice, or its owner has agreed"
    )
    webhook: str | None = Field(
        None, max_length=2000, description="address that gets a signed message when it has ended"
    )

    def settings(self) -> TrainingSettings:
        steps = {"most_steps": self.steps} if self.steps else {}
        given = self.model_dump(include={"size", "version", "sample_rate", "embedder", "batch_size", "seed"})
        return TrainingSettings(**given, **steps)


def _body_schema() -> dict[str, Any]:
    """The `openapi_extra` of the POST route, which reads its body itself: JSON, or a form with the same fields and
    recordings."""
    fields = {
        name: {key: value for key, value in about.items() if key not in ("title", "default")}
        for name, about in TrainingRequest.model_json_schema()["properties"].items()
    }
    recordings = {"type": "array", "items": BINARY, "description": "further recordings of the same voice"}
    form = {"type": "object", "properties": {"recordings": recordings, **fields}, "additionalProperties": False}
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
    """Train a model of this voice, from its recordings and any that come with the request. Takes hours on a GPU and
    days without one; a voice's next training with the same settings goes on where the last one stopped."""
    limit, most = owner.limit("song_bytes", app.settings), owner.limit("recordings", app.settings)
    async with received(request, app.incoming, FormRules(("recordings",), limit, most)) as form:
        refuse_fields(form.fields, tuple(TrainingRequest.model_fields))
        body = TrainingRequest.model_validate(form.fields)
        if form.files:
            check_consent(body.consent)
        if body.webhook:
            await run_in_threadpool(webhooks.check, body.webhook, app.settings)
        await examined(app, owner, form.files)
        make = partial(NewTraining(id, body, form).submit, app, owner)
        return await run_in_threadpool(accept, app.database, owner.id, key, form.fingerprint, 202, make)


@dataclass(frozen=True)
class NewTraining:
    """A checked request to train the voice `id`."""

    id: str
    request: TrainingRequest
    form: Form

    def submit(self, app: AppState, owner: Owner, connection: Connection, now: float) -> answers.Training:
        """Store the recordings that were sent, and submit the job."""
        total = sum(upload.bytes for upload in self.form.files)
        check_training(connection, app.settings, owner, now)
        check_storage(connection, app.settings, owner, now, total)
        voice = find_voice(connection, owner, self.id)
        _check_trainable(connection, voice)
        sent = [
            {"name": upload.name, "path": f"{voice.path}-sent/{number}", "field": upload.field}
            for number, upload in enumerate(self.form.files)
        ]
        request = {
            "settings": self.request.settings().model_dump(mode="json"),
            "separate": self.request.separate,
            "sent": sent,
            "consent": self.request.consent,
        }
        about: dict[str, Any] = {"priority": 0, "name": voice.name, "voice": voice.id, "request": request}
        job = queue.submit(connection, now, owner.id, "training", webhook=self.request.webhook, bytes=total, **about)
        for upload, file in zip(self.form.files, sent, strict=True):
            app.storage.put(upload.path, file["path"], move=True)
        return answers.training(connection.execute(select(jobs).where(jobs.c.id == job)).one())


def _check_trainable(connection: Connection, voice: Any) -> None:
    """Raise ``voice-not-ready``, ``voice-without-recordings`` or ``training-running`` if it can't be trained now."""
    if voice.state != "ready":
        text = f"The voice {voice.name!r} is {'being made' if voice.state == 'making' else 'unusable'}."
        raise ApiError("voice-not-ready", text, "GET /v1/voices says when it is ready, or why not.")
    if not voice.manifest["recordings"]:
        raise UnderstudyError(
            "voice-without-recordings",
            f"The voice {voice.name!r} was made from a model: it has no recordings to train from.",
            "Make a voice from recordings, and train that one.",
        )
    query = select(jobs.c.id).where(_of_voice(voice.id), jobs.c.owner == voice.owner, jobs.c.state.in_(queue.ACTIVE))
    if (running := connection.scalar(query)) is not None:
        text = f"The voice {voice.name!r} is being trained already ({running})."
        raise ApiError("training-running", text, "Wait for its end, or cancel it; a paused one can be resumed.")


def _of_voice(id: str) -> Any:
    return and_(jobs.c.kind == "training", jobs.c.voice == id)


@router.get("", responses=documented(400, 422))
def list_trainings(
    app: App,
    owner: Reader,
    voice: Annotated[str | None, Field(max_length=64, description="id or name of a voice: its trainings alone")] = None,
    state: answers.TrainingState | None = None,
    cursor: Cursor = None,
    size: Size = 20,
) -> Page[answers.Training]:
    """Your trainings, newest first; `voice` and `state` pick some of them."""
    query = select(jobs).where(jobs.c.owner == owner.id, jobs.c.kind == "training")
    if voice:
        with app.database.read() as connection:
            query = query.where(jobs.c.voice == find_voice(connection, owner, voice).id)
    if state:
        query = query.where(jobs.c.state == state)
    return page(app.database, query, jobs, cursor, size, answers.training)


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
            queue.cancel(connection, app.database.now(connection), row, app.settings)
            answer = answers.training(_find(connection, owner, id))
            return JSONResponse(answer.model_dump(mode="json"), 202)
        connection.execute(jobs.delete().where(jobs.c.id == id))
    app.storage.remove(f"{owner.id}/jobs/{id}")
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


RESULT = {**documented(404, 409, 410, 416), **FILE}


@router.get("/{id}/report", responses=RESULT, response_class=Response)
def training_report(id: str, app: App, owner: Reader, range: Range = None) -> Response:
    """The report as a page: curves, players, what would help most."""
    return _file(app, owner, id, "report", range)


@router.get("/{id}/samples/{step}/{name}", responses=RESULT, response_class=Response)
def training_sample(id: str, step: int, name: str, app: App, owner: Reader, range: Range = None) -> Response:
    """What a kept checkpoint made of a held-out recording or a sung phrase, also while the training runs."""
    return _file(app, owner, id, f"samples/{step}/{name}", range)


def _file(app: AppState, owner: Owner, id: str, name: str, range: str | None) -> Response:
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
    return send(app.storage, file["path"], file["name"], file["type"], range, id.rpartition("_")[2] + name)


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
