"""``Idempotency-Key``: a POST that is sent twice is carried out once, and gets the same answer twice.

The answer is stored in the same transaction that does the work: either both exist or neither. Answers are kept for a
day.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Header
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy import Connection, and_, select
from sqlalchemy.exc import IntegrityError

from understudy.errors import UnderstudyError
from understudy.services.queue.database import Database
from understudy.services.queue.tables import idempotency

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="any text of yours; the same request with the same key is done once",
    ),
]
Make = Callable[[Connection, float], BaseModel]


def accept(database: Database, owner: str, key: str | None, fingerprint: str, status: int, make: Make) -> JSONResponse:
    """Call ``make(connection, now)`` in one transaction, unless that was done before under `key`.

    Raises ``idempotency-key-reused`` if the key came with another request, which has another `fingerprint`.
    """
    while True:
        try:
            with database.write() as connection:
                mine = and_(idempotency.c.owner == owner, idempotency.c.key == key)
                if key and (found := connection.execute(select(idempotency).where(mine)).first()):
                    if found.fingerprint != fingerprint:
                        raise UnderstudyError(
                            "idempotency-key-reused",
                            "This Idempotency-Key was used for another request.",
                            "Use a new key for every new request.",
                        )
                    return _answer(found.answer, found.status, replayed=True)
                now = database.now(connection)
                answer: dict[str, Any] = make(connection, now).model_dump(mode="json")
                if key:
                    row = {"owner": owner, "key": key, "fingerprint": fingerprint, "status": status, "created": now}
                    connection.execute(idempotency.insert().values(answer=answer, **row))
            return _answer(answer, status)
        except IntegrityError:
            if not key:
                raise
            # The same request was carried out at the same time and committed first: the next round finds its answer.


def _answer(answer: dict[str, Any], status: int, replayed: bool = False) -> JSONResponse:
    kind = answer["id"].partition("_")[0]
    headers = {"Location": f"/v1/{kind}s/{answer['id']}"} | ({"Idempotent-Replayed": "true"} if replayed else {})
    return JSONResponse(answer, status, headers)
