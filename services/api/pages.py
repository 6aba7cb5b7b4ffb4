"""Pages of a list, newest first. A cursor encodes the last item of the page before; clients treat it as opaque."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import Row, Select, Table, and_, or_

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
) -> Page[Item]:
    """The rows of `query`, which selects from `table`, after `cursor`, each as `show` gives it."""
    if cursor is not None:
        created, id = _decoded(cursor)
        before = or_(table.c.created < created, and_(table.c.created == created, table.c.id < id))
        query = query.where(before)
    query = query.order_by(table.c.created.desc(), table.c.id.desc()).limit(size + 1)
    with database.read() as connection:
        rows = list(connection.execute(query))
    following = None
    if len(rows) > size:
        last = rows[size - 1]
        following = base64.urlsafe_b64encode(f"{last.created!r} {last.id}".encode()).decode().rstrip("=")
    return Page(items=[show(row) for row in rows[:size]], next=following)


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
