"""Pages of a list, newest first. A cursor encodes the last item of the page before; clients treat it as opaque."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, Row, Select, Table, and_, or_

from understudy.services.api.problems import ApiError
from understudy.services.queue.database import Database

Cursor = Annotated[str | None, Query(max_length=200, description="`next` of the page before")]
Size = Annotated[int, Query(ge=1, le=100, alias="limit", description="items of a page")]


Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """Items, newest first, and the cursor of the next page (null at the end)."""

    items: list[Item]
    next: str | None = Field(None, description="`cursor` of the next page")


def page(
    database: Database,
    query: Select[Any],
    table: Table,
    cursor: str | None,
    size: int,
    show: Callable[[Row[Any]], Item],
    order: tuple[ColumnElement[Any], ColumnElement[Any]] | None = None,
    rows: Select[Any] | None = None,
) -> Page[Item]:
    """The rows of `query`, which selects from `table`, after `cursor`, each as `show` gives it.

    `order`: columns with the same values as `created` and `id`, whose index is to be used. `rows`: what is read of the
    rows where `query` gives only their ids; then an index alone can decide which ones these are.
    """
    created, id = order or (table.c.created, table.c.id)
    if cursor is not None:
        at, before = _decoded(cursor)
        query = query.where(or_(created < at, and_(created == at, id < before)))
    query = query.order_by(created.desc(), id.desc()).limit(size + 1)
    if rows is not None:
        query = rows.where(table.c.id.in_(query)).order_by(table.c.created.desc(), table.c.id.desc())
    with database.read() as connection:
        found = list(connection.execute(query))
    following = None
    if len(found) > size:
        last = found[size - 1]
        following = base64.urlsafe_b64encode(f"{last.created!r} {last.id}".encode()).decode().rstrip("=")
    return Page(items=[show(row) for row in found[:size]], next=following)


def _decoded(cursor: str) -> tuple[float, str]:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode("ascii")
        created, _, id = text.partition(" ")
        if not id or not id.replace("_", "").isalnum() or not 0 <= float(created) < 1e11:
            raise ValueError
        return float(created), id
    except (ValueError, binascii.Error):
        raise ApiError(
            "cursor-invalid", "This cursor isn't one of ours.", "Take `next` of a page, or none to begin anew."
        ) from None
