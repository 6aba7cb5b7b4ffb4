"""``/v1/voices``: the owner's voices, made from recordings or brought as an archive."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, and_, or_, select

from understudy.errors import UnderstudyError
from understudy.services.api import answers
from understudy.services.api.auth import Deleter, Reader, VoiceMaker
from understudy.services.api.events import STREAM, LastEventId, stream
from understudy.services.api.files import FileWanted, file_response, send
from understudy.services.api.idempotency import IdempotencyKey, accept
from understudy.services.api.limits import charge_jobs, check_storage
from understudy.services.api.pages import Cursor, Page, Size, page
from understudy.services.api.problems import ApiError, documented
from understudy.services.api.songs import BINARY, form_schema, new_songs, refuse_fields
from understudy.services.api.state import App, AppState
from understudy.services.api.uploads import Form, FormRules, Upload, owner_as_sender, received
from understudy.services.queue import jobs as queue
from understudy.services.queue import removals
from understudy.services.queue.owners import Owner
from understudy.services.queue.run_voice import SAMPLE
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.tables import jobs, new_id, voices
from understudy.voices.consent import levels
from understudy.voices.names import valid_name
from understudy.voices.voice import RECORDINGS, Manifest, Voice

router = APIRouter(prefix="/v1/voices", tags=["voices"])
FIELDS = ("name", "consent", "speaker", "sample")
FILES = ("recordings", "model", "index")
SAMPLED = {"type": "boolean", "description": "whether it sings a short melody when it is ready"}
CONSENT = {
    "type": "string",
    "enum": ["self", "granted"],
    "description": "required: it is your own voice, or its owner has agreed",
}


class VoiceChange(BaseModel):
    """What is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, min_length=1, max_length=64)
    engine: Literal["instant", "zero-shot", "rvc"] | None = Field(
        None, description="which of its engines sings from now on"
    )


@router.post(
    "",
    status_code=202,
    response_model=answers.Voice,
    responses=documented(408, 409, 413, 415, 422, 507),
    openapi_extra=form_schema(
        "VoiceForm",
        {
            "name": {"type": "string", "maxLength": 64},
            "consent": CONSENT,
            "recordings": {"type": "array", "items": BINARY, "description": "of the voice alone; 15 to 40 s in total"},
            "model": {
                **BINARY,
                "description": "instead of recordings: a trained RVC model (.pth, .safetensors, or a zip with its "
                "index), or what 'understudy voices export' wrote",
            },
            "index": {**BINARY, "description": "the model's faiss index"},
            "speaker": {"type": "integer", "minimum": 0, "description": "which of the model's speakers sings"},
            "sample": SAMPLED,
        },
        ["name", "consent"],
    ),
)
async def make_voice(request: Request, app: App, owner: VoiceMaker, key: IdempotencyKey = None) -> JSONResponse:
    """Make a voice from recordings, or upload a trained one; it is ready some seconds later."""
    limit, most = owner.limit("song_bytes", app.settings), owner.limit("recordings", app.settings)
    sender = await owner_as_sender(app, owner, key)
    async with received(request, app, sender, FormRules(FILES, limit, most)) as form:
        refuse_fields(form.fields, FIELDS)
        name, consent = _named(form), check_consent(form.fields.get("consent"))
        speaker, sample = _speaker(form), _sampled(form, owner)
        kinds = [upload.field for upload in form.files]
        from_recordings = set(kinds) == {"recordings"}
        if not from_recordings and sorted(kinds) not in (["model"], ["index", "model"]):
            text = "A voice is made from recordings, or from one model, with its index if there is one."
            raise ApiError("no-recordings", text, "Send files in the field 'recordings', or one in 'model'.")
        form.files.sort(key=lambda upload: upload.field != "model")
        if from_recordings:
            await new_songs(app, owner, form.files)
        voice = NewVoice(new_id("voice"), name, consent, speaker, sample, form.files)
        return (
            await accept(app, owner, key, form, 202, partial(voice.submit, app.settings, owner), voice.places(owner))
        ).response()


@dataclass(frozen=True)
class NewVoice:
    """A checked request to make a voice."""

    id: str
    name: str
    consent: str
    speaker: int | None
    sample: bool
    files: list[Upload]

    def path(self, owner: Owner) -> str:
        return f"{owner.id}/voices/{self.id}"

    def places(self, owner: Owner) -> dict[Upload, str]:
        """Where the files that were sent are stored until the voice is made."""
        return {upload: f"{self.path(owner)}-sent/{number}" for number, upload in enumerate(self.files)}

    def submit(self, server: ServerSettings, owner: Owner, connection: Connection, now: float) -> answers.Voice:
        """List the voice as being made, and submit the job that makes it of the files at their `places`."""
        total = sum(upload.bytes for upload in self.files)
        charge_jobs(connection, server, owner, now, [0.0])
        check_storage(connection, server, owner, now, total)
        _refuse_taken(connection, owner, self.name)
        id, path = self.id, self.path(owner)
        sent = [
            {"name": upload.name, "path": place, "field": upload.field} for upload, place in self.places(owner).items()
        ]
        request = {"sent": sent, "consent": self.consent, "path": path, "speaker": self.speaker, "sample": self.sample}
        about: dict[str, Any] = {"priority": 0, "name": self.name, "voice": id, "request": request}
        job = queue.submit(connection, now, owner.id, "voice", **about)
        row: dict[str, Any] = {"id": id, "owner": owner.id, "name": self.name, "folded": self.name.casefold()}
        row |= {"state": "making", "consent": self.consent, "path": path, "bytes": total, "findings": []}
        connection.execute(voices.insert().values(job=job, created=now, **row))
        return answers.voice(connection.execute(select(voices).where(voices.c.id == id)).one())


@router.get("", responses=documented(422))
def list_voices(app: App, owner: Reader, cursor: Cursor = None, size: Size = 20) -> Page[answers.Voice]:
    """Your voices, newest first."""
    query = select(voices, jobs.c.error).outerjoin(jobs, jobs.c.id == voices.c.job).where(voices.c.owner == owner.id)
    return page(app.database, query, voices, cursor, size, lambda row: answers.voice(row, row.error))


@router.get("/{id}", responses=documented(404))
def show_voice(id: str, app: App, owner: Reader) -> answers.Voice:
    """One voice, by its id or its name."""
    with app.database.read() as connection:
        row = find_voice(connection, owner, id)
        return answers.voice(row, connection.scalar(select(jobs.c.error).where(jobs.c.id == row.job)))


@router.get("/{id}/recording", responses=documented(404, 416) | file_response("audio/flac"), response_class=Response)
def voice_recording(id: str, app: App, owner: Reader, wanted: FileWanted) -> Response:
    """The first of its recordings, as mono FLAC."""
    with app.database.read() as connection:
        row = find_voice(connection, owner, id)
    recordings = (row.manifest or {}).get("recordings")
    if not recordings:
        raise ApiError("sample-unknown", f"The voice {row.name!r} has no recordings.", "Listen to a cover with it.")
    first, name = recordings[0], f"{row.name}.flac"
    return send(app, owner, f"{row.path}/{RECORDINGS}/{first['file']}", name, "audio/flac", wanted, first["sha256"])


@router.get("/{id}/sample", responses=documented(404, 416) | file_response("audio/mpeg"), response_class=Response)
def voice_sample(id: str, app: App, owner: Reader, wanted: FileWanted) -> Response:
    """Five seconds sung by the voice, as mp3, made at the end of the job that makes it."""
    with app.database.read() as connection:
        row = find_voice(connection, owner, id)
    path, name = f"{row.path}/{SAMPLE}", f"{row.name} sample.mp3"
    if app.storage.size(path) is None:
        raise ApiError("sample-unknown", f"The voice {row.name!r} has no sample.", "Listen to a cover with it.")
    return send(app, owner, path, name, "audio/mpeg", wanted, row.manifest["content_hash"])


@router.post(
    "/{id}/recordings",
    status_code=202,
    response_model=answers.Voice,
    responses=documented(404, 408, 409, 413, 415, 422, 507),
    openapi_extra=form_schema(
        "MoreRecordingsForm",
        {
            "recordings": {"type": "array", "items": BINARY, "description": "of the same voice"},
            "consent": CONSENT,
            "sample": SAMPLED,
        },
        ["recordings", "consent"],
    ),
)
async def add_recordings(
    request: Request, id: str, app: App, owner: VoiceMaker, key: IdempotencyKey = None
) -> JSONResponse:
    """Give a voice more recordings; it stays as it is until it has them. What its consent rests on is `stated` again:
    the new recordings may be somebody else's."""
    limit, most = owner.limit("song_bytes", app.settings), owner.limit("recordings", app.settings)
    sender = await owner_as_sender(app, owner, key)
    async with received(request, app, sender, FormRules(("recordings",), limit, most)) as form:
        refuse_fields(form.fields, ("consent", "sample"))
        consent = check_consent(form.fields.get("consent"))
        if not form.files:
            raise ApiError("no-recordings", "There are no recordings.", "Send files in the field 'recordings'.")
        await new_songs(app, owner, form.files)
        more = MoreRecordings(id, new_id("sent"), consent, _sampled(form, owner), form.files)
        places = await app.requests.run(owner.id, more.places, app, owner)
        return (await accept(app, owner, key, form, 202, partial(more.submit, app.settings, owner), places)).response()


@dataclass(frozen=True)
class MoreRecordings:
    """A checked request to give the voice `voice` (an id or a name) more recordings."""

    voice: str
    id: str
    consent: str
    sample: bool
    files: list[Upload]

    def places(self, app: AppState, owner: Owner) -> dict[Upload, str]:
        with app.database.read() as connection:
            path = find_voice(connection, owner, self.voice).path
        return {upload: f"{path}-sent/{self.id}-{number}" for number, upload in enumerate(self.files)}

    def submit(self, server: ServerSettings, owner: Owner, connection: Connection, now: float) -> answers.Voice:
        row = find_voice(connection, owner, self.voice)
        if row.state != "ready" or _changes(connection, row):
            text = f"The voice {row.name!r} {'is changed just now' if row.state == 'ready' else 'isn’t ready'}."
            raise ApiError("voice-not-ready", text, "Try again when that is done.")
        manifest = Manifest.model_validate(row.manifest | {"name": row.name})
        levels.require(manifest)
        if not manifest.recordings:
            text = f"The voice {row.name!r} is a model alone."
            raise UnderstudyError("voice-without-recordings", text, "Make a new voice from recordings.")
        total = sum(upload.bytes for upload in self.files)
        charge_jobs(connection, server, owner, now, [0.0])
        check_storage(connection, server, owner, now, total)
        sent = [
            {"name": upload.name, "path": f"{row.path}-sent/{self.id}-{number}", "field": "recordings"}
            for number, upload in enumerate(self.files)
        ]
        request = {"sent": sent, "consent": self.consent, "path": row.path, "more": True, "sample": self.sample}
        about: dict[str, Any] = {"priority": 0, "name": row.name, "voice": row.id, "request": request}
        job = queue.submit(connection, now, owner.id, "voice", **about)
        connection.execute(voices.update().where(voices.c.id == row.id).values(job=job))
        return answers.voice(find_voice(connection, owner, row.id))


def _changes(connection: Connection, row: Any) -> bool:
    """Whether a job changes the voice in `row`."""
    its = and_(jobs.c.owner == row.owner, jobs.c.voice == row.id, jobs.c.kind.in_(("voice", "training")))
    return connection.scalar(select(jobs.c.id).where(its, jobs.c.state.in_(queue.ACTIVE)).limit(1)) is not None


@router.patch("/{id}", responses=documented(404, 409, 422))
def change_voice(id: str, change: VoiceChange, app: App, owner: VoiceMaker) -> answers.Voice:
    """Give it another name, or choose which of its engines sings; what was made with it stays."""
    with app.database.write() as connection:
        row = find_voice(connection, owner, id)
        values: dict[str, Any] = {}
        if change.name is not None:
            name = valid_name(change.name)
            _refuse_taken(connection, owner, name, row.id)
            values |= {"name": name, "folded": name.casefold()}
        if change.engine is not None:
            values["manifest"] = _sung_by(row, change.engine)
        if values:
            connection.execute(voices.update().where(voices.c.id == row.id).values(**values))
        return answers.voice(find_voice(connection, owner, row.id))


@router.delete("/{id}", status_code=204, responses=documented(404, 409))
def delete_voice(id: str, app: App, owner: Deleter) -> None:
    """Remove a voice, its recordings and its model; a training of it is cancelled, and what its trainings made is
    removed. Covers that it sang stay."""
    with app.database.write() as connection:
        row = find_voice(connection, owner, id)
        active = and_(jobs.c.owner == owner.id, jobs.c.kind == "cover", jobs.c.state.in_(queue.ACTIVE))
        requests = connection.scalars(select(jobs.c.request).where(active))
        if any(row.id in request["singers"].values() for request in requests):
            text = "A cover that is waiting or running needs this voice."
            raise ApiError("voice-in-use", text, "Cancel the cover or wait for its end.")
        its = or_(jobs.c.id == row.job, and_(jobs.c.kind == "training", jobs.c.voice == row.id))
        for job in connection.execute(
            select(jobs).where(jobs.c.owner == owner.id, its, jobs.c.state.in_(queue.ACTIVE))
        ):
            queue.cancel(connection, app.database.now(connection), job, at_once=job.kind == "training")
        # their samples hold parts of the recordings
        trainings = and_(jobs.c.owner == owner.id, jobs.c.kind == "training", jobs.c.voice == row.id)
        emptied = jobs.update().where(trainings).values(result=None, bytes=0).returning(jobs.c.id)
        trained = connection.scalars(emptied).all()
        connection.execute(voices.delete().where(voices.c.id == row.id))
        paths = (row.path, f"{row.path}-sent", *(f"{owner.id}/jobs/{id}" for id in trained))
        removals.note(connection, app.database.now(connection), paths)


@router.get("/{id}/events", responses=documented(404) | STREAM, response_class=Response)
async def voice_events(request: Request, id: str, app: App, owner: Reader, last: LastEventId = None) -> Response:
    """Progress of its making."""
    return await stream(request, app, owner, lambda connection: str(find_voice(connection, owner, id).job), last)


def _sung_by(row: Any, engine: str) -> dict[str, Any]:
    """The manifest of a voice with another engine. Raises ``voice-not-ready`` or ``engine-missing``."""
    if row.state != "ready":
        raise ApiError("voice-not-ready", f"The voice {row.name!r} can't sing.", "GET /v1/voices says why.")
    manifest = Manifest.model_validate(row.manifest)
    if engine not in manifest.engines:
        text = f"The voice {row.name!r} has no {engine!r}; it has: {', '.join(manifest.engines)}."
        hint = "Train it: POST /v1/voices/{id}/train." if engine == "rvc" else "It was made from a model alone."
        raise UnderstudyError("engine-missing", text, hint)
    return Voice(Path(), manifest).sung_by(engine).manifest.model_dump(mode="json")


def find_voice(connection: Connection, owner: Owner, id: str) -> Any:
    mine = select(voices).where(voices.c.owner == owner.id)
    row = connection.execute(mine.where(voices.c.id == id)).first()
    row = row or connection.execute(mine.where(voices.c.folded == id.casefold())).first()
    if row is None:
        raise ApiError("voice-unknown", f"You have no voice {id[:60]!r}.", "GET /v1/voices lists yours.")
    return row


def _refuse_taken(connection: Connection, owner: Owner, name: str, but: str = "") -> None:
    """Raise ``voice-exists`` if the name is taken. A failed voice of that name is removed instead."""
    mine = and_(voices.c.owner == owner.id, voices.c.folded == name.casefold(), voices.c.id != but)
    found = connection.execute(select(voices).where(mine)).first()
    if found is not None and found.state == "failed":
        connection.execute(voices.delete().where(voices.c.id == found.id))
    elif found is not None:
        text = f"You have a voice named {found.name!r} already."
        raise UnderstudyError("voice-exists", text, "Choose another name, or delete that voice.")


def _named(form: Form) -> str:
    if not isinstance(form.fields.get("name"), str):
        raise ApiError("request-invalid", "The voice has no name.", "Send one in the field 'name'.")
    return valid_name(form.fields["name"])


def _sampled(form: Form, owner: Owner) -> bool:
    """Whether a sample is to be made; never where the key demands another consent than a word."""
    wanted = str(form.fields.get("sample", "false")).lower()
    if wanted not in ("true", "false"):
        text = "The field 'sample' is neither true nor false."
        raise ApiError("request-invalid", text, "Leave it out, or correct it.")
    return wanted == "true" and owner.consent == "stated"


def _speaker(form: Form) -> int | None:
    text = form.fields.get("speaker")
    if text is None or (str(text).isascii() and str(text).isdigit() and int(text) < 10_000):
        return None if text is None else int(text)
    raise ApiError("request-invalid", "The field 'speaker' is not a number from 0.", "Send for example speaker=0.")


def check_consent(consent: Any) -> str:
    """`consent` if it says that the voice's owner agrees; else raises ``consent-missing``."""
    if consent not in ("self", "granted"):
        raise UnderstudyError(
            "consent-missing",
            "A voice belongs to a person: Understudy needs to know that this person agrees.",
            "Send consent=self for your own voice, or consent=granted when its owner has agreed.",
        )
    return str(consent)
