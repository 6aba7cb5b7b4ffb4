"""``/v1/account``, ``/v1/choices`` and ``/v1/session``: the owner, its limits, the cookie of the page."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.security import HTTPAuthorizationCredentials
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from understudy.audio.encode import FORMATS
from understudy.pipeline.presets import presets
from understudy.pipeline.settings import CoverSettings, load_settings
from understudy.services.api.auth import COOKIE, Deleter, Reader, count_request, identify
from understudy.services.api.job_requests import check_separation
from understudy.services.api.problems import documented
from understudy.services.api.root_path import href
from understudy.services.api.state import App
from understudy.services.api.usable import objection
from understudy.services.queue import housekeeping, sessions
from understudy.services.queue.owners import LIMITS, usage
from understudy.services.queue.tables import owners
from understudy.voices.voice import Level

router = APIRouter(prefix="/v1", tags=["account"])


class Account(BaseModel):
    """`limits` and their `usage`; `scopes` of the request's key."""

    owner: str
    open: bool = Field(description="the server needs no keys")
    consent: Level = Field(description="what the consent for a voice must rest on to be used with the request's key")
    scopes: list[str]
    limits: dict[str, float]
    usage: dict[str, float]
    webhook_secret: str | None = Field(description="signs webhooks; shown to keys with the scope 'make'")


class Login(BaseModel):
    model_config = ConfigDict(extra="forbid")

    key: str = Field(max_length=200)


class Preset(BaseModel):
    name: str
    settings: CoverSettings
    unusable: str | None = Field(description="why it can't be used on this server, in words; null if it can")


class Choices(BaseModel):
    """The presets, formats and settings of covers on this server."""

    presets: list[Preset]
    formats: list[str]
    settings: dict[str, Any] = Field(description="JSON schema of the settings")


@router.get("/account", responses=documented())
def show_account(app: App, owner: Reader) -> Account:
    """The owner of the key, its limits and their use."""
    with app.database.read() as connection:
        used = usage(connection, owner.id, app.database.now(connection))
        secret = connection.scalar(select(owners.c.webhook_secret).where(owners.c.id == owner.id))
    limits = {name: float(owner.limit(name, app.settings)) for name in LIMITS}
    shown = secret if "make" in owner.scopes else None
    scopes = sorted(owner.scopes)
    return Account(
        owner=owner.name,
        open=not app.keys,
        consent=owner.consent,
        scopes=scopes,
        limits=limits,
        usage=used,
        webhook_secret=shown,
    )


@router.delete("/account/everything", status_code=204, responses=documented())
def delete_everything(app: App, owner: Deleter) -> None:
    """Delete all your songs, voices, covers and separations, also queued and running ones. Keys stay."""
    housekeeping.delete_everything(app.database, owner.id)


@router.get("/choices", responses=documented())
def show_choices(app: App, owner: Reader) -> Choices:
    """Presets, formats and the schema of the settings."""
    settings = {name: load_settings(name, None, {}) for name in presets()}
    found = [
        Preset(name=name, settings=one, unusable=objection(check_separation, one.separation, True))
        for name, one in settings.items()
    ]
    return Choices(presets=found, formats=list(FORMATS), settings=CoverSettings.model_json_schema())


@router.post("/session", status_code=204, responses=documented(422))
def log_in(login: Login, request: Request, app: App, response: Response) -> None:
    """Begin a session: a cookie that scripts can't read stands for the key. It is for the web page, whose players can't
    send headers."""
    owner = identify(app, request, HTTPAuthorizationCredentials(scheme="Bearer", credentials=login.key))
    count_request(request, app, owner)
    _forget_key(response)
    if owner.key is None:
        return  # the server needs no keys
    seconds = app.settings.keep_sessions
    token = sessions.begin(app.database, owner.key, seconds)
    options: dict[str, Any] = {"httponly": True, "samesite": "strict", "secure": request.url.scheme == "https"}
    response.set_cookie(COOKIE, token, max_age=round(seconds), path=href("/"), **options)


@router.delete("/session", status_code=204, responses=documented())
def log_out(request: Request, app: App, response: Response) -> None:
    """End the session."""
    if token := request.cookies.get(COOKIE):
        sessions.end(app.database, token)
    response.delete_cookie(COOKIE, href("/"))
    _forget_key(response)


def _forget_key(response: Response) -> None:
    response.delete_cookie("understudy_key")  # in which releases before 0.2 kept the key itself
