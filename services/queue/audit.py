"""The audit log: who did what, when, from where, to what. Rows are added, and removed when they are old; nothing
changes them, but the deletion of their owner takes the owner's name, addresses and names of voices out of them."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from understudy.services.queue.database import Database
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.tables import audit, new_id

MOST = 100_000
"""Entries of an owner that are kept, the latest ones."""
OPERATOR = "operator"
"""In place of a key: somebody at the server's command line."""


def record(
    connection: Connection, now: float, owner: str, key: str | None, action: str, resource: str, address: str = ""
) -> None:
    """Add an entry. `owner`: its id; `key`: the id of the key, None on a server without keys; `action`: the name of the
    operation, as in the OpenAPI document; `resource`: the path of what it was done to."""
    about = {"owner": owner, "key": key, "action": action[:60], "resource": resource[:200], "address": address[:64]}
    connection.execute(audit.insert().values(id=new_id("audit"), created=now, **about))


def prune(database: Database, settings: ServerSettings) -> None:
    """Remove what is older than `keep_audit`, and the oldest entries of owners who have more than `MOST`."""
    with database.write() as connection:
        connection.execute(audit.delete().where(audit.c.created < database.now(connection) - settings.keep_audit))
        many = select(audit.c.owner).group_by(audit.c.owner).having(func.count() > MOST)
        for owner in connection.scalars(many).all():
            mine = select(audit.c.created).where(audit.c.owner == owner).order_by(audit.c.created.desc())
            first = connection.scalar(mine.offset(MOST - 1).limit(1))
            connection.execute(audit.delete().where(audit.c.owner == owner, audit.c.created < first))
