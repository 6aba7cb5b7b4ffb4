"""Deletion of an owner, with all that it has.

The request revokes the owner's keys and marks its row, so nothing new comes in. A thread of the server does the rest in
small transactions; each begins where the one before ended, so after a kill another server goes on. The consent for each
voice is revoked first. The caches go with the next sweep of each machine, which knows the owner no more.

What stays, under a pseudonym that nothing connects with the owner: the audit log, without addresses and names of
voices, until it is too old; and the hashes of the consent log, so that who has kept the log can prove what was decided.
"""

from __future__ import annotations

import json
import logging
from threading import Event

from sqlalchemy import Connection, and_, func, select

from understudy.errors import UnderstudyError
from understudy.services.queue import audit, consents, removals, tables
from understudy.services.queue.database import Database
from understudy.services.queue.owners import LOCAL
from understudy.services.queue.tables import events, jobs, keys, new_id, owners, past_consents, sessions, turns, voices

log = logging.getLogger("understudy.deletion")
_AT_ONCE = 500  # jobs of a transaction
_LATE = 60.0  # seconds after which what a running job stored meanwhile is removed, too


def ask(connection: Connection, now: float, owner: str) -> None:
    """Have the owner with this id deleted. Its keys can't be used from now on. Raises ``owner-unknown``."""
    mine = and_(owners.c.id == owner, owners.c.id != LOCAL)
    marked = owners.update().where(mine).values(deleting=func.coalesce(owners.c.deleting, now))
    if not connection.execute(marked).rowcount:
        raise owner_unknown(owner)
    connection.execute(sessions.delete().where(sessions.c.key.in_(select(keys.c.id).where(keys.c.owner == owner))))
    revoked = func.coalesce(keys.c.revoked, now)
    connection.execute(keys.update().where(keys.c.owner == owner).values(revoked=revoked))
    connection.execute(turns.delete().where(turns.c.owner == owner))


def owner_unknown(owner: str) -> UnderstudyError:
    return UnderstudyError(
        "owner-unknown", f"There is no owner {owner[:60]!r} that can be deleted.", "List the owners."
    )


def run(database: Database, stopping: Event) -> None:
    """Delete the owners that are to be deleted, until `stopping` is set."""
    while not stopping.wait(5.0):
        try:
            delete_marked(database)
        except UnderstudyError as error:
            log.warning("deletions wait: %s", error)


def delete_marked(database: Database) -> None:
    """Delete the owners that are marked; one that can't be deleted now doesn't hold up the others. Safe in several
    processes at once."""
    with database.read() as connection:
        marked = connection.scalars(select(owners.c.id).where(owners.c.deleting.is_not(None))).all()
    for owner in marked:
        try:
            delete(database, owner)
        except UnderstudyError as error:
            log.warning("the deletion of an owner waits: %s", error, extra={"owner": owner})


def delete(database: Database, owner: str) -> None:
    """Delete a marked owner to the end. Raises what reading and writing the database raise."""
    while _revoke_voice(database, owner) or _delete_jobs(database, owner):
        pass
    _delete_rest(database, owner)
    log.info("deleted an owner", extra={"owner": owner})


def _revoke_voice(database: Database, owner: str) -> bool:
    """Revoke the consent for one of the voices, and delete its row; False if there is none."""
    with database.write() as connection:
        query = select(voices).where(voices.c.owner == owner).order_by(voices.c.id).limit(1)
        row = connection.execute(query.with_for_update()).first()
        if row is None:
            return False
        if row.state == "ready":
            consents.revoke(connection, database.now(connection), row, "Its owner was deleted.")
        connection.execute(voices.delete().where(voices.c.id == row.id))
    return True


def _delete_jobs(database: Database, owner: str) -> bool:
    """Delete some of the jobs; False if there is none. Workers of running ones lose them and stop."""
    with database.write() as connection:
        ids = connection.scalars(select(jobs.c.id).where(jobs.c.owner == owner).limit(_AT_ONCE)).all()
        connection.execute(events.delete().where(events.c.job.in_(ids)))
        connection.execute(jobs.delete().where(jobs.c.id.in_(ids)))
    return bool(ids)


def _delete_rest(database: Database, owner: str) -> None:
    """Delete every other row of the owner, at last its own, and have its files removed; keep what has to stay."""
    with database.write() as connection:
        locked = select(owners.c.id).where(owners.c.id == owner).with_for_update()
        if connection.scalar(locked) is None:
            return  # another process was faster
        now, pseudonym = database.now(connection), new_id("deleted", 12)
        lines = select(tables.consents.c.line).where(tables.consents.c.owner == owner)
        for line in connection.scalars(lines).all():
            entry = json.loads(line)
            about = {"owner": pseudonym, "number": entry["number"], "hash": entry["hash"]}
            connection.execute(past_consents.insert().values(**about))
        mine = tables.audit.c.owner == owner
        connection.execute(tables.audit.update().where(mine).values(owner=pseudonym, address=""))
        named = and_(tables.audit.c.owner == pseudonym, tables.audit.c.resource.like("/v1/voices/%"))
        connection.execute(tables.audit.update().where(named).values(resource="/v1/voices/..."))
        audit.record(connection, now, pseudonym, None, "deleted", "/v1/account")
        connection.execute(sessions.delete().where(sessions.c.key.in_(select(keys.c.id).where(keys.c.owner == owner))))
        for table in reversed(tables.metadata.sorted_tables):  # those that refer to others first
            if "owner" in table.c and table not in (tables.audit, past_consents):
                connection.execute(table.delete().where(table.c.owner == owner))
        connection.execute(owners.delete().where(owners.c.id == owner))
        for due in (now, now + _LATE):
            removals.note(connection, due, [owner])
