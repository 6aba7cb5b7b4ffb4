"""What covers and separations have in common: jobs that are submitted, listed, followed, removed, and have files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy import Connection, func, or_, select
from starlette.concurrency import run_in_threadpool

from understudy.errors import UnderstudyError
from understudy.pipeline.cast import parse_voices
from understudy.pipeline.settings import CoverSettings
from understudy.services.api import answers
from understudy.services.api.events import stream
from understudy.services.api.files import send
from understudy.services.api.idempotency import accept
from understudy.services.api.job_requests import ROLES, CoverRequest, JobRequest, requested_settings
from understudy.services.api.limits import check_job, check_storage
from understudy.services.api.pages import Page, page
from understudy.services.api.problems import ApiError
from understudy.services.api.songs import BINARY, examined, find_song, list_uploads, refuse_fields, store_uploads
from understudy.services.api.state import AppState
from understudy.services.api.uploads import Form, FormRules, received
from understudy.services.api.voices import find_voice
from understudy.services.queue import jobs as queue
from understudy.services.queue import webhooks
from understudy.services.queue.owners import Owner
from understudy.services.queue.tables import jobs
from understudy.services.queue.untrusted import SongInfo

JSON_FIELDS = ("settings", "transposes")
"""Fields of a form that hold JSON."""


@dataclass(frozen=True)
class JobResource:
    """One kind of job as the API offers it. `request`: the model of the body; `files`: the fields of a form that may
    hold a file in place of a song's id."""

    kind: Literal["cover", "separation"]
    request: type[JobRequest]
    files: tuple[str, ...]

    async def submit(self, request: Request, app: AppState, owner: Owner, key: str | None) -> JSONResponse:
        """Check the body and put the job into the queue; 202 with the job.

        Everything slow (receiving, probing, DNS) comes before the transaction that checks the owner's limits, lists the
        uploaded songs and submits the job: it makes all of it or nothing.
        """
        limit = owner.limit("song_bytes", app.settings)
        rules = FormRules(self.files, limit, len(self.files), JSON_FIELDS, repeated=("voice",))
        async with received(request, app.incoming, rules) as form:
            refuse_fields(form.fields, tuple(self.request.model_fields))
            _refuse_twice(form)
            body = self.request.model_validate(
                form.fields | {upload.field: f"(file {upload.field})" for upload in form.files}
            )
            settings = await run_in_threadpool(requested_settings, body)
            if body.webhook:
                await run_in_threadpool(webhooks.check, body.webhook, app.settings)
            submission = Submission(self.kind, body, settings, form, await examined(app, owner, form.files))

            def make(connection: Connection, now: float) -> answers.Job:
                return submission.submit(app, connection, owner, now)

            answer, _ = await run_in_threadpool(accept, app.database, owner.id, key, form.fingerprint, 202, make)
        return answer

    def list(
        self, app: AppState, owner: Owner, state: answers.State | None, cursor: str | None, size: int
    ) -> Page[answers.Job]:
        query = select(jobs).where(jobs.c.owner == owner.id, jobs.c.kind == self.kind)
        if state:
            query = query.where(jobs.c.state == state)
        with app.database.read() as connection:
            rows, following = page(connection, query, jobs, cursor, size)
        return Page(items=[answers.job(row) for row in rows], next=following)

    def show(self, app: AppState, owner: Owner, id: str) -> answers.Job:
        with app.database.read() as connection:
            row = self._find(connection, owner, id)
            return answers.job(row, _ahead(connection, row))

    def delete(self, app: AppState, owner: Owner, id: str) -> Response:
        """Cancel a job that waits or runs (202), remove one that has ended, with its files (204)."""
        with app.database.write() as connection:
            row = self._find(connection, owner, id)
            if row.state in queue.ACTIVE:
                queue.cancel(connection, app.database.now(connection), row, app.settings)
                answer = answers.job(self._find(connection, owner, id))
                return JSONResponse(answer.model_dump(mode="json"), 202)
            connection.execute(jobs.delete().where(jobs.c.id == id))
        app.storage.remove(f"{owner.id}/jobs/{id}")
        return Response(status_code=204)

    async def events(self, request: Request, app: AppState, owner: Owner, id: str, last: str | None) -> Response:
        def known() -> str:
            with app.database.read() as connection:
                return str(self._find(connection, owner, id).id)

        return await stream(request, app, owner, await run_in_threadpool(known), last)

    def file(self, app: AppState, owner: Owner, id: str, name: str, range: str | None) -> Response:
        """One file of a finished job: ``audio``, ``report``, ``figures`` or ``stems/NAME``."""
        with app.database.read() as connection:
            row = self._find(connection, owner, id)
        if row.state == "expired":
            raise ApiError("result-expired", "This result has expired and was removed.", "Make it again.")
        if row.state != "done":
            text = f"There is no result: this {self.kind} is {row.state}."
            raise ApiError("result-not-ready", text, "Wait for its end; its events say when.")
        file = row.result["files"].get(name)
        if file is None:
            hint = f"There are: {', '.join(row.result['files'])}. Stems of a cover need settings.output.keep_stems."
            raise ApiError("stem-unknown", f"This {self.kind} has no {name!r}.", hint)
        return send(app.storage, file["path"], file["name"], file["type"], range, id.rpartition("_")[2] + name)

    def _find(self, connection: Connection, owner: Owner, id: str) -> Any:
        mine = select(jobs).where(jobs.c.id == id, jobs.c.owner == owner.id, jobs.c.kind == self.kind)
        row = connection.execute(mine).first()
        if row is None:
            text = f"You have no {self.kind} {id[:60]!r}."
            raise ApiError("job-unknown", text, f"GET /v1/{self.kind}s lists yours.")
        return row

    def openapi(self) -> dict[str, Any]:
        """The `openapi_extra` of the POST route, which reads its body itself: JSON, or a form with the same fields and
        files in place of ids."""
        as_json = {"type": "string", "contentMediaType": "application/json", "description": "as in the JSON body"}
        others = {
            "voice": {
                "type": "array",
                "items": {"type": "string"},
                "minItems": 1,
                "description": "as in the JSON body",
            },
            "transposes": as_json,
            "settings": as_json,
            "preset": {"type": "string"},
            "priority": {"type": "string", "enum": ["interactive", "batch"]},
            "webhook": {"type": "string", "format": "uri"},
        }
        fields = self.request.model_fields
        properties = dict.fromkeys(self.files, BINARY) | {name: others[name] for name in others if name in fields}
        form = {"type": "object", "properties": properties, "additionalProperties": False}
        if required := [name for name, field in fields.items() if field.is_required()]:
            form["required"] = required
        content = {
            "application/json": {"schema": {"$ref": f"#/components/schemas/{self.request.__name__}"}},
            "multipart/form-data": {"schema": form, "encoding": {"settings": {"contentType": "application/json"}}},
        }
        return {"requestBody": {"required": True, "content": content}}


@dataclass(frozen=True)
class Submission:
    """A checked request, ready to become a job. `songs`: what the uploaded files are, by field."""

    kind: Literal["cover", "separation"]
    request: JobRequest
    settings: CoverSettings
    form: Form
    songs: dict[str, SongInfo]

    def submit(self, app: AppState, connection: Connection, owner: Owner, now: float) -> answers.Job:
        """List the uploads among the owner's songs and submit the job, in the transaction of `connection`.

        Raises ``song-missing``, ``song-unknown``, ``voice-unknown``, ``voice-not-ready``, ``cast-invalid``, and what
        the checks of the limits raise.
        """
        request, uploads = self.request, self.form.files
        ids = {role: getattr(request, role, None) for role in ROLES}
        inputs = {role: id for role, id in ids.items() if id is not None}
        singers = _singers(connection, owner, request) if isinstance(request, CoverRequest) else None
        given = {*inputs, *(upload.field for upload in uploads)}
        if "song" not in given and not {"vocals", "instrumental"} <= given:
            text = "There is no song."
            raise UnderstudyError("song-missing", text, "Send a song, or both vocals and instrumental.")
        uploaded: dict[str, str] = {}
        if uploads:
            check_storage(connection, app.settings, owner, now, sum(upload.bytes for upload in uploads))
            uploaded = list_uploads(connection, owner, now, uploads, self.songs)
        inputs |= uploaded
        rows = {role: find_song(connection, owner, id) for role, id in inputs.items()}
        named = rows.get("song") or rows["vocals"]
        minutes = self._minutes(named.duration)
        check_job(connection, app.settings, owner, now, minutes)
        id = queue.submit(
            connection,
            now,
            owner.id,
            self.kind,
            minutes,
            priority=queue.PRIORITIES[request.priority],
            name=PurePath(named.name).stem,
            request={"inputs": inputs, "settings": self.settings.model_dump(mode="json"), **(singers or {})},
            song=inputs.get("song"),
            voice=next(iter(singers["singers"].values())) if singers else None,
            webhook=request.webhook,
        )
        answer = answers.job(connection.execute(select(jobs).where(jobs.c.id == id)).one())
        store_uploads(app, connection, uploads, uploaded)
        return answer

    def _minutes(self, duration: float | None) -> float:
        """Minutes of song that the job works on; a song of unknown length counts as 4 minutes."""
        part = self.settings.song
        seconds = part.duration or max(0.0, (duration or 240.0) - part.start)
        return min(seconds, duration or seconds) / 60


def _singers(connection: Connection, owner: Owner, request: CoverRequest) -> dict[str, Any]:
    """Who sings, with the ids of the voices: voices may get other names before the work begins."""
    texts: Sequence[str] = [request.voice] if isinstance(request.voice, str) else request.voice
    parts = parse_voices(texts)
    found = {}
    for name in dict.fromkeys([*(name for _, name in parts.lead), *([parts.backing] if parts.backing else [])]):
        voice = find_voice(connection, owner, name)
        if voice.state != "ready":
            text = f"The voice {voice.name!r} is {'being made' if voice.state == 'making' else 'unusable'}."
            raise ApiError("voice-not-ready", text, "GET /v1/voices says when it is ready, or why not.")
        found[name] = str(voice.id)
    transposes = {str(find_voice(connection, owner, name).id): value for name, value in request.transposes.items()}
    if any(id not in found.values() for id in transposes):
        text = "A voice is to be transposed that doesn't sing here."
        raise UnderstudyError("cast-invalid", text, f"Singing: {', '.join(found)}.")
    return {"voices": texts, "singers": found, "transposes": transposes}


def _refuse_twice(form: Form) -> None:
    fields = [upload.field for upload in form.files]
    for name in fields:
        if fields.count(name) > 1 or name in form.fields:
            raise ApiError("request-invalid", f"The field {name!r} is there twice.", "Send it once.")


def _ahead(connection: Connection, row: Any) -> int | None:
    """How many queued jobs of all owners are older or more urgent. Fair shares may let it overtake some of them."""
    if row.state != "queued":
        return None
    before = or_(jobs.c.priority < row.priority, (jobs.c.priority == row.priority) & (jobs.c.created < row.created))
    return connection.scalar(select(func.count()).where(jobs.c.state == "queued", before))
