"""Pages of a list, newest first. A cursor encodes the last item of the page before; clients treat it as opaque."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import Connection, Row, Select, Table, and_, or_

from understudy.services.api.problems import ApiError

Cursor = Annotated[str | None, Query(max_length=200, description="`next` of the page before")]
Size = Annotated[int, Query(ge=1, le=100, alias="limit", description="items of a page")]


Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """Items, newest first, and the cursor of the next page (null at the end)."""

    items: list[Item]
    next: str | None = Field(None, description="`cursor` of the next page")


def page(
    connection: Connection, query: Select[Any], table: Table, cursor: str | None, size: int
) -> tuple[list[Row[Any]], str | None]:
    """Rows of `query`, which selects from `table`, after `cursor`; and the cursor of the next page."""
    if cursor is not None:
        created, id = _decoded(cursor)
        before = or_(table.c.created < created, and_(table.c.created == created, table.c.id < id))
        query = query.where(before)
    rows = list(connection.execute(query.order_by(table.c.created.desc(), table.c.id.desc()).limit(size + 1)))
    if len(rows) <= size:
        return rows, None
    last = rows[size - 1]
    return rows[:size], base64.urlsafe_b64encode(f"{last.created!r} {last.id}".encode()).decode().rstrip("=")


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
