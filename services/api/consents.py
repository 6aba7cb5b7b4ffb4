"""``/v1/voices/{id}/consent`` and ``/v1/consent-log``: proving, limiting and withdrawing the consent for a voice."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fastapi import APIRouter, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from understudy.errors import UnderstudyError
from understudy.pipeline.store import Store
from understudy.services.api import answers
from understudy.services.api.auth import Deleter, Reader, VoiceMaker
from understudy.services.api.problems import ApiError, documented
from understudy.services.api.songs import BINARY, form_schema, refuse_fields
from understudy.services.api.state import App, AppState
from understudy.services.api.uploads import FormRules, owner_as_sender, received
from understudy.services.api.voices import find_voice
from understudy.services.queue import bounded, consents, removals, untrusted
from understudy.services.queue.owners import Owner
from understudy.voices.consent import challenge, delegation
from understudy.voices.consent.log import Entry
from understudy.voices.voice import Manifest, Voice

router = APIRouter(prefix="/v1", tags=["consent"])

_LARGEST = 20 << 20  # bytes of a recording of a phrase
_SECONDS, _MEMORY = 300.0, 3 << 30  # that checking one may take


class Challenge(BaseModel):
    """A phrase that the voice's owner reads aloud."""

    phrase: str
    expires: AwareDatetime = Field(description="until then one recording can answer it")


class ConsentEntry(BaseModel):
    """A decision in the log. `previous` and `hash` are SHA-256 in hex: of the entry before, and of this one."""

    number: int
    at: str = Field(description="ISO 8601, UTC")
    voice: str = Field(description="its name then")
    identity: str = Field(description="the voice's, also under another name; empty where it wasn't readable")
    decision: str = Field(description="a level of consent, or what else happened: challenged, refused, removed ...")
    details: dict[str, Any]
    previous: str
    hash: str


class ConsentLog(BaseModel):
    entries: list[ConsentEntry]
    last: str | None = Field(description="the hash of the last entry")


class Revocation(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field("", max_length=500, description="stands in the consent log")


@router.post("/voices/{id}/consent/challenge", status_code=201, responses=documented(404, 409, 422))
def ask_for_proof(id: str, app: App, owner: VoiceMaker) -> Challenge:
    """A phrase made up for this voice now. Its owner reads it aloud within ten minutes; an earlier phrase is void."""
    with app.database.write() as connection:
        now = app.database.now(connection)
        row = _ready(connection, owner, id)
        challenge.refuse_without_recordings(_voice(row))
        made = challenge.details(answers.moment(now))
        consents.decide(connection, now, row, "challenged", made)
    return Challenge.model_validate(made)


@router.post(
    "/voices/{id}/consent/recording",
    responses=documented(404, 408, 409, 413, 415, 422),
    openapi_extra=form_schema("ChallengeForm", {"recording": BINARY}, ["recording"]),
)
async def answer_challenge(request: Request, id: str, app: App, owner: VoiceMaker) -> answers.Voice:
    """The recording of the phrase. If it proves the consent, the voice is ``verified``; if not, the answer says what is
    wrong with the recording, and a new phrase is needed."""
    sender = await owner_as_sender(app, owner, None)
    async with received(request, app, sender, FormRules(("recording",), _LARGEST, 1)) as form:
        refuse_fields(form.fields, ())
        if not form.files:
            raise ApiError("request-invalid", "There is no file in the field 'recording'.", "Send one.")
        (upload,) = form.files
        voice, entry, own = await app.storing.run(owner.id, _asked, app, owner, id)
        with TemporaryDirectory(dir=app.incoming) as folder:
            arguments = (untrusted.examine_answer, Path(folder), upload.path, upload.name)
            more = (entry.details["phrase"], own)
            limits = {"seconds": _SECONDS, "memory": _MEMORY}
            refusal, told = await app.probing.run(owner.id, bounded.call, *arguments, *more, **limits)
    return await app.requests.run(owner.id, _conclude, app, owner, voice, entry, refusal, told)


@router.post(
    "/voices/{id}/consent/delegation",
    responses=documented(404, 408, 409, 413, 415, 422),
    openapi_extra=form_schema(
        "DelegationForm",
        {
            "file": BINARY,
            "owner": {"type": "string", "description": "fingerprint of the owner's key"},
        },
        ["file", "owner"],
    ),
)
async def delegate_consent(request: Request, id: str, app: App, owner: VoiceMaker) -> answers.Voice:
    """A consent file that the voice's owner has signed: it allows the uses that it names, until it expires."""
    sender = await owner_as_sender(app, owner, None)
    async with received(request, app, sender, FormRules(("file",), delegation.LARGEST, 1)) as form:
        refuse_fields(form.fields, ("owner",))
        if not form.files or not isinstance(form.fields.get("owner"), str):
            raise ApiError("request-invalid", "There is no 'file' or no 'owner'.", "Send both.")
        data = await app.storing.run(owner.id, form.files[0].path.read_bytes)
    return await app.requests.run(owner.id, _delegate, app, owner, id, data, form.fields["owner"])


@router.post("/voices/{id}/consent/revoke", responses=documented(404, 409, 422))
def revoke_consent(id: str, revocation: Revocation, app: App, owner: Deleter) -> answers.Voice:
    """Withdraw the consent for a voice, for good. Its recordings and models are removed, and those of your other voices
    that share a recording or model with it; covers and trainings with them end, and their results expire."""
    with app.database.write() as connection:
        now, row = app.database.now(connection), _ready(connection, owner, id)
        identities, paths = consents.revoke(connection, now, row, revocation.reason)
        removals.note(connection, now, paths)
        answer = answers.voice(find_voice(connection, owner, row.id))
    for folder in (app.settings.data / "cache").glob(f"{owner.id}-*"):  # other machines do so with their next sweep
        Store(folder).remove_voices(identities)
    return answer


@router.get("/consent-log", responses=documented())
def show_consent_log(app: App, owner: Reader) -> ConsentLog:
    """Everything that was decided about your voices: a chain in which each entry has the hash of the one before. It is
    checked before it is sent."""
    with app.database.read() as connection:
        entries = consents.read(connection, owner.id)
    last = entries[-1].hash if entries else None
    return ConsentLog(entries=[ConsentEntry(**vars(entry)) for entry in entries], last=last)


def _ready(connection: Connection, owner: Owner, id: str) -> Any:
    row = find_voice(connection, owner, id)
    if row.state != "ready":
        raise ApiError("voice-not-ready", f"The voice {row.name!r} isn't ready.", "GET /v1/voices says why.")
    return row


def _voice(row: Any) -> Voice:
    return Voice(Path(), Manifest.model_validate(row.manifest).model_copy(update={"name": row.name}))


def _asked(app: AppState, owner: Owner, id: str) -> tuple[str, Entry, list[Path]]:
    """The voice's id, its open challenge, and its recordings as files of this machine."""
    with app.database.read() as connection:
        now, row = app.database.now(connection), _ready(connection, owner, id)
        voice = _voice(row)
        challenge.refuse_without_recordings(voice)
        entry = challenge.pending(consents.read(connection, owner.id), voice.manifest.identity, answers.moment(now))
    return row.id, entry, [app.storage.fetch(f"{row.path}/{file.as_posix()}") for file in voice.recording_files]


def _conclude(
    app: AppState, owner: Owner, id: str, entry: Entry, refusal: UnderstudyError | None, told: dict[str, Any]
) -> answers.Voice:
    """Write what the recording proved, unless another one has answered meanwhile."""
    with app.database.write() as connection:
        now, row = app.database.now(connection), _ready(connection, owner, id)
        open_one = challenge.pending(
            consents.read(connection, owner.id), _voice(row).manifest.identity, answers.moment(now)
        )
        challenge.refuse_another(open_one, entry)
        consents.decide(connection, now, row, "refused" if refusal else "verified", told)
        answer = answers.voice(find_voice(connection, owner, id))
    if refusal is not None:
        raise refusal
    return answer


def _delegate(app: AppState, owner: Owner, id: str, data: bytes, fingerprint: str) -> answers.Voice:
    with app.database.write() as connection:
        now, row = app.database.now(connection), _ready(connection, owner, id)
        given = delegation.read(data, _voice(row).manifest.identity, fingerprint, answers.moment(now))
        consents.decide(connection, now, row, "delegated", given.details)
        return answers.voice(find_voice(connection, owner, row.id))
