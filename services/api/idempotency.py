"""Carrying out a POST once, with its files: all of it or nothing.

The storage may be slow, and nothing slow may happen in a transaction: it would hold the owner's row and a connection
that serves all owners. So a request with files is carried out twice. The first time the transaction is rolled back: it
tells whether the request would be refused. Then the files are stored, and the transaction is done again and committed.
If it is refused now, because another request was faster, the files are removed.

``Idempotency-Key``: a POST that is sent twice is carried out once, and gets the same answer twice. The answer is stored
in the same transaction that does the work: either both exist or neither. Answers are kept for a day.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Header
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy import Connection, and_, select
from sqlalchemy.exc import IntegrityError

from understudy.errors import UnderstudyError
from understudy.services.api.root_path import href
from understudy.services.api.state import AppState
from understudy.services.api.uploads import Form, Upload
from understudy.services.queue.database import Database
from understudy.services.queue.owners import Owner
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


async def accept(
    app: AppState, owner: Owner, key: str | None, form: Form, status: int, make: Make, places: Mapping[Upload, str]
) -> Answer:
    """Call ``make(connection, now)`` in one transaction and store the files of `form` in their `places`, unless that
    was done before under `key`. What `make` writes and the files exist both or neither.

    Raises what `make` raises, and ``idempotency-key-reused`` if the key came with another request.
    """
    request = _Request(owner.id, key, form.fingerprint, status, make)
    stored: list[str] = []
    try:
        if places:
            answer = await app.requests.run(owner.id, request.carry_out, app.database, commit=False)
            if answer.replayed:
                return answer
        for upload, path in places.items():
            stored.append(path)
            await app.storing.run(owner.id, app.storage.put, upload.path, path, move=True)
        answer = await app.requests.run(owner.id, request.carry_out, app.database)
        if not answer.replayed:
            stored = []
        return answer
    finally:
        for path in stored:
            with suppress(UnderstudyError):  # the storage is away; what no row names is swept away later
                await app.storing.run(owner.id, app.storage.remove, path)


async def replayed(app: AppState, owner: Owner, key: str | None, form: Form) -> Answer | None:
    """The answer to the same request with the same `key`, if it was carried out before. For requests that take long to
    prepare; `accept` finds it, too. Raises ``idempotency-key-reused``."""

    def find() -> Answer | None:
        with app.database.read() as connection:
            return _found(connection, owner.id, key or "", form.fingerprint)

    return await app.requests.run(owner.id, find) if key else None


@dataclass(frozen=True)
class Answer:
    """What a POST is answered with. `replayed`: it was carried out before."""

    body: dict[str, Any]
    status: int
    replayed: bool = False

    def response(self, headers: Mapping[str, str] | None = None) -> JSONResponse:
        kind = self.body["id"].partition("_")[0]
        kinds = {"batch": "batches"}.get(kind, f"{kind}s")
        more = {"Location": href(f"/v1/{kinds}/{self.body['id']}"), **(headers or {})}
        more |= {"Idempotent-Replayed": "true"} if self.replayed else {}
        return JSONResponse(self.body, self.status, more)


@dataclass(frozen=True)
class _Request:
    """A request of `owner` that is carried out by `make` and answered with `status`."""

    owner: str
    key: str | None
    fingerprint: str
    status: int
    make: Make

    def carry_out(self, database: Database, commit: bool = True) -> Answer:
        """Make the answer, or find the one that was stored under the key. With ``commit=False`` nothing is written."""
        while True:
            try:
                with database.write() as connection:
                    if self.key and (found := _found(connection, self.owner, self.key, self.fingerprint)) is not None:
                        return found
                    now = database.now(connection)
                    answer = Answer(self.make(connection, now).model_dump(mode="json"), self.status)
                    if self.key:
                        row = {"owner": self.owner, "key": self.key, "fingerprint": self.fingerprint}
                        about = {"status": self.status, "answer": answer.body, "created": now}
                        connection.execute(idempotency.insert().values(**row, **about))
                    if not commit:
                        connection.rollback()
                return answer
            except IntegrityError:
                if not self.key:
                    raise
                # The same request was carried out at the same time and committed first: the next round finds its answer


def _found(connection: Connection, owner: str, key: str, fingerprint: str) -> Answer | None:
    """The answer that was stored under the key. Raises ``idempotency-key-reused`` if that was another request."""
    mine = and_(idempotency.c.owner == owner, idempotency.c.key == key)
    found = connection.execute(select(idempotency).where(mine)).first()
    if found is None:
        return None
    if found.fingerprint != fingerprint:
        raise UnderstudyError(
            "idempotency-key-reused",
            "This Idempotency-Key was used for another request.",
            "Use a new key for every new request.",
        )
    return Answer(found.answer, found.status, replayed=True)
