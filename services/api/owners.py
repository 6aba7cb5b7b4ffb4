"""``/v1/owners`` and ``DELETE /v1/account``: the owners of a server, and their deletion."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from sqlalchemy import Connection, or_, select

from understudy.services.api import answers
from understudy.services.api.auth import require
from understudy.services.api.pages import Cursor, Page, Size, page
from understudy.services.api.problems import documented
from understudy.services.api.state import App
from understudy.services.queue import deletion, tables
from understudy.services.queue.owners import Owner

router = APIRouter(prefix="/v1", tags=["account"])
Admin = Annotated[Owner, Depends(require("admin"), scope="function")]
Leaver = Annotated[Owner, Depends(require("keys", "delete"), scope="function")]


class OwnerEntry(BaseModel):
    """An owner of this server."""

    id: str
    name: str
    created: answers.Time
    deleting: answers.Time | None = Field(description="since when it is being deleted")


@router.get("/owners", responses=documented(400, 422))
def list_owners(app: App, owner: Admin, cursor: Cursor = None, size: Size = 20) -> Page[OwnerEntry]:
    """All owners, newest first."""
    query = select(tables.owners)
    show = lambda row: OwnerEntry.model_validate(row._asdict())  # noqa: E731
    return page(app.database, query, tables.owners, cursor, size, show)


@router.delete("/owners/{name}", status_code=202, responses=documented(404))
def delete_owner(name: str, app: App, owner: Admin) -> OwnerEntry:
    """Delete an owner, by its id or name, with all that it has. Its keys can't be used from now on; the rest goes
    within minutes."""
    with app.database.write() as connection:
        named = or_(tables.owners.c.id == name, tables.owners.c.name == name)
        id = connection.scalar(select(tables.owners.c.id).where(named))
        if id is None:
            raise deletion.owner_unknown(name)
        return _asked(connection, app.database.now(connection), id)


@router.delete("/account", status_code=202, responses=documented(404))
def delete_account(app: App, owner: Leaver) -> OwnerEntry:
    """Delete yourself, with all that you have: needs the scopes `keys` and `delete`. Your keys can't be used from now
    on; the rest goes within minutes. Nothing can be brought back."""
    with app.database.write() as connection:
        return _asked(connection, app.database.now(connection), owner.id)


def _asked(connection: Connection, now: float, id: str) -> OwnerEntry:
    """Have the owner deleted; returns what it is then."""
    deletion.ask(connection, now, id)
    row = connection.execute(select(tables.owners).where(tables.owners.c.id == id)).one()
    return OwnerEntry.model_validate(row._asdict())
