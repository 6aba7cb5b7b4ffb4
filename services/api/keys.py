"""``/v1/keys``: the API keys of an owner, made, changed and revoked with a key that has the scope for it.

A key makes none that may more than itself. One with the scope `admin` may manage the keys of every owner.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Row

from understudy.choices import Scope
from understudy.services.api import answers
from understudy.services.api.auth import KeyKeeper
from understudy.services.api.pages import Cursor, Page, Size, page
from understudy.services.api.problems import ApiError, documented
from understudy.services.api.root_path import href
from understudy.services.api.state import App, AppState
from understudy.services.queue import owners, tables
from understudy.services.queue.owners import LISTED, Owner
from understudy.services.queue.tables import keys

router = APIRouter(prefix="/v1/keys", tags=["keys"])
YEARS = 10 * 366 * 86400.0


class Key(BaseModel):
    """A key, without its secret."""

    id: str
    owner: str
    name: str
    scopes: list[Scope]
    consent: Literal["stated", "delegated", "verified"] = Field(description="least level of the voices used with it")
    created: answers.Time
    expires: answers.Time | None
    revoked: answers.Time | None
    used: answers.Time | None = Field(description="the last time, to the minute")


class NewKey(Key):
    """A key with its secret, which is shown this once."""

    key: str


class KeyRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field("", max_length=100, description="what it is for")
    scopes: list[Scope] = Field(min_length=1, max_length=10)
    consent: Literal["stated", "delegated", "verified"] | None = Field(
        None, description="the least level of consent of the voices used with it; null: that of the key that asks"
    )
    lifetime: float | None = Field(None, gt=0, le=YEARS, description="seconds until it expires; null: it doesn't")
    owner: str | None = Field(
        None, min_length=1, max_length=100, description="with the scope admin: whose it is; a new name makes an owner"
    )
    limits: dict[Annotated[str, Field(max_length=40)], float] = Field(
        default_factory=dict, max_length=40, description="with the scope admin: limits of the owner's own"
    )


class Rotation(BaseModel):
    model_config = ConfigDict(extra="forbid")

    overlap: float = Field(
        86400.0, ge=0, le=30 * 86400.0, description="seconds for which the old key can still be used"
    )


@router.get("", responses=documented(400, 422))
def list_keys(
    app: App,
    owner: KeyKeeper,
    of: Annotated[
        str | None, Query(alias="owner", max_length=100, description="with the scope admin: whose; default: yours")
    ] = None,
    cursor: Cursor = None,
    size: Size = 20,
) -> Page[Key]:
    """Your keys, newest first. Those that were revoked or have expired are listed for 30 days."""
    if of is not None:
        _require_admin(owner)
    query = LISTED.where(tables.owners.c.name == (owner.name if of is None else of))
    return page(app.database, query, keys, cursor, size, _shown)


@router.post("", status_code=201, responses=documented(409, 422))
def make_key(request: KeyRequest, app: App, owner: KeyKeeper, response: Response) -> NewKey:
    """Make a key. It may nothing that the key that asks may not."""
    if request.owner is not None or request.limits:
        _require_admin(owner)
    name = owner.name if request.owner is None else request.owner
    about = (request.limits, request.consent or owner.consent, request.lifetime, owner)
    key, _ = owners.create_key(app.database, name, request.name, request.scopes, *about)
    made = _new(app, key)
    response.headers["Location"] = href(f"/v1/keys/{made.id}")
    return made


@router.get("/{id}", responses=documented(404))
def show_key(id: str, app: App, owner: KeyKeeper) -> Key:
    """One key."""
    with app.database.read() as connection:
        row = connection.execute(LISTED.where(keys.c.id == id)).first()
    if row is None or (row.owner != owner.name and "admin" not in owner.scopes):
        raise owners.key_unknown(id)
    return _shown(row)


@router.post("/{id}/rotate", status_code=201, responses=documented(404, 409, 422))
def rotate_key(id: str, rotation: Rotation, app: App, owner: KeyKeeper) -> NewKey:
    """Make a key that may the same and lives as long; the old one ends after `overlap` seconds."""
    return _new(app, owners.rotate_key(app.database, id, rotation.overlap, owner))


@router.delete("/{id}", status_code=204, responses=documented(404))
def revoke_key(id: str, app: App, owner: KeyKeeper) -> None:
    """Revoke a key at once. Jobs that were sent with it continue."""
    owners.revoke_key(app.database, id, owner)


def _require_admin(owner: Owner) -> None:
    if "admin" not in owner.scopes:
        text = "This key may manage its own owner's keys alone: it lacks the scope 'admin'."
        raise ApiError("scope-missing", text, "Leave out owner and limits, or use another key.")


def _new(app: AppState, key: str) -> NewKey:
    id = owners.key_id(key)
    with app.database.read() as connection:
        row = connection.execute(LISTED.where(keys.c.id == id)).first()
    if row is None:  # it was deleted meanwhile, with its owner
        raise owners.key_unknown(id)
    return NewKey.model_validate(_fields(row) | {"key": key})


def _shown(row: Row[Any]) -> Key:
    return Key.model_validate(_fields(row))


def _fields(row: Row[Any]) -> dict[str, Any]:
    return row._asdict() | {"scopes": row.scopes.split()}
