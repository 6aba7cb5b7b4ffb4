"""Files that are removed from the storage after their rows.

The storage may be slow, and who deletes something shouldn't wait for it, nor may a transaction. So the transaction that
deletes a row notes the row's files, and a thread of the server removes them within seconds. If the process is killed in
between, or the storage can't be reached, the note stays.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from threading import Event

from sqlalchemy import Connection, select

from understudy.errors import UnderstudyError
from understudy.services.queue.database import Database
from understudy.services.queue.storage import Storage
from understudy.services.queue.tables import removals

log = logging.getLogger("understudy.removals")
_AT_ONCE = 50
_AGAIN = 60.0  # seconds after which a file that couldn't be removed is tried again


def note(connection: Connection, now: float, paths: Iterable[str]) -> None:
    """Have files or folders of the storage removed, once the transaction of `connection` is committed."""
    if rows := [{"path": path, "due": now} for path in paths]:
        connection.execute(removals.insert(), rows)


def run(database: Database, storage: Storage, stopping: Event) -> None:
    """Remove what is noted until `stopping` is set."""
    while not stopping.wait(1.0):
        try:
            while remove_due(database, storage) == _AT_ONCE and not stopping.is_set():
                pass
        except UnderstudyError as error:
            log.warning("removals wait: %s", error)
            stopping.wait(5.0)


def remove_due(database: Database, storage: Storage) -> int:
    """Remove some of what is noted; returns how much of it was due. Safe in several processes at once."""
    with database.read() as connection:
        due = select(removals).where(removals.c.due <= database.now(connection)).order_by(removals.c.due)
        rows = connection.execute(due.limit(_AT_ONCE)).all()
    removed, failed = [], []
    for row in rows:
        try:
            storage.remove(row.path)
            removed.append(row.id)
        except UnderstudyError as error:
            log.warning("can't be removed yet: %s", error)
            failed.append(row.id)
    if rows:
        with database.write() as connection:
            connection.execute(removals.delete().where(removals.c.id.in_(removed)))
            later = database.now(connection) + _AGAIN
            connection.execute(removals.update().where(removals.c.id.in_(failed)).values(due=later))
    return len(rows)
