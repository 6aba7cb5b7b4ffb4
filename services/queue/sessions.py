"""Sessions of the page: a visitor who has shown a key gets a token instead, which ends with the session or the key.

Of a token only a hash is stored; like a key's secret it has 200 random bits.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import replace

from sqlalchemy import Connection, select

from understudy.services.queue.database import Database
from understudy.services.queue.owners import KEYS, Owner, as_owner, hashed, living
from understudy.services.queue.tables import keys, sessions

MOST = 100
"""Sessions of a key at a time. Another one ends the oldest."""


def begin(database: Database, key: str, seconds: float) -> str:
    """A token that stands for the key with the id `key` for so many `seconds`."""
    token = secrets.token_hex(25)
    mine = select(sessions.c.id).where(sessions.c.key == key).order_by(sessions.c.expires.desc())
    with database.write() as connection:
        expires = database.now(connection) + seconds
        connection.execute(sessions.insert().values(id=hashed(token), key=key, expires=expires))
        connection.execute(sessions.delete().where(sessions.c.id.in_(mine.offset(MOST))))
    return token


def end(database: Database, token: str) -> None:
    """End the session of `token`, if there is one."""
    this = sessions.c.id == hashed(token)
    with database.read() as connection:
        there = connection.scalar(select(sessions.c.id).where(this))
    if there:  # strangers can't make the database write
        with database.write() as connection:
            connection.execute(sessions.delete().where(this))


def find_owner(connection: Connection, now: float, token: str) -> Owner | None:
    """The owner whose session `token` is; None if it or its key has ended."""
    lasting = sessions.c.id == hashed(token), sessions.c.expires > now, living(now)
    row = connection.execute(KEYS.join(sessions, sessions.c.key == keys.c.id).where(*lasting)).first()
    return None if row is None else replace(as_owner(row), session=hashed(token))


def ended(connection: Connection, now: float, ids: Collection[str]) -> set[str]:
    """Those of the sessions `ids` that have ended."""
    lasting = select(sessions.c.id).where(sessions.c.id.in_(ids), sessions.c.expires > now)
    return set(ids) - set(connection.scalars(lasting)) if ids else set()
