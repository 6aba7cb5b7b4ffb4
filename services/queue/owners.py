"""Owners and their API keys. A key is ``us_<id>_<secret>``; of the secret only a hash is stored.

The secret has 200 random bits, so it can't be guessed from its hash: SHA-256 is enough, where a password would need a
slow hash.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import ValidationError
from sqlalchemy import Connection, Row, Select, and_, func, or_, select
from sqlalchemy.exc import IntegrityError

from understudy.choices import Scope, Work
from understudy.errors import UnderstudyError
from understudy.services.queue.database import Database
from understudy.services.queue.jobs import ACTIVE, trained_minutes
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.tables import jobs, keys, new_id, owners, songs, spent, uploads, voices
from understudy.services.queue.webhooks import new_secret
from understudy.validation import faults
from understudy.voices.consent import levels
from understudy.voices.voice import Level

SCOPES = get_args(Scope)
MOST_KEYS = 200
"""Keys of an owner, those included that ended within the last `KEEP_KEYS` seconds."""
KEEP_KEYS = 30 * 86400.0
LOCAL = "local"  # the owner of everything on a server without keys
LIMITS = (
    "song_bytes",
    "song_seconds",
    "recordings",
    "jobs_queued",
    "jobs_a_day",
    "jobs_running",
    "minutes_a_day",
    "trainings_queued",
    "training_minutes_a_day",
    "storage_bytes",
    "requests_a_minute",
    "streams",
    "transfers",
    "uploads",
)


@dataclass(frozen=True)
class Owner:
    """The owner of a request. `limits` overlay the server's settings; `key`: the id of the key that came with the
    request, None on a server without keys; `session`: the id of the page's session that stands for the key; `consent`:
    the level that voices must have to be used with the key."""

    id: str
    name: str
    scopes: frozenset[str]
    limits: Mapping[str, Any]
    key: str | None = None
    session: str | None = None
    consent: Level = "stated"

    def limit(self, name: str, settings: ServerSettings) -> Any:
        return self.limits.get(name, getattr(settings, name))


def ensure_owner(database: Database, name: str, id: str | None = None) -> str:
    """The id of the owner of that name, made if there is none."""
    with database.write() as connection:
        found = connection.scalar(select(owners.c.id).where(owners.c.name == name))
        if found is None:
            found = id or new_id("own", 12)
            values = {"name": name, "created": time.time(), "webhook_secret": new_secret()}
            try:
                with connection.begin_nested():
                    connection.execute(owners.insert().values(id=found, limits={}, **values))
            except IntegrityError:  # another process made it meanwhile
                found = connection.scalar(select(owners.c.id).where(owners.c.name == name))
        return str(found)


def local_owner(database: Database) -> Owner:
    """The owner of everything on a server without keys."""
    ensure_owner(database, LOCAL, LOCAL)
    with database.read() as connection:
        limits = connection.scalar(select(owners.c.limits).where(owners.c.id == LOCAL))
    return Owner(LOCAL, LOCAL, frozenset(get_args(Work)), limits or {})


def create_key(
    database: Database,
    owner: str,
    name: str,
    scopes: Iterable[str],
    limits: Mapping[str, Any] | None = None,
    consent: Level = "stated",
    lifetime: float | None = None,
    by: Owner | None = None,
) -> tuple[str, str]:
    """A new key of the owner named `owner` (made if need be) and the owner's webhook secret; the key is shown once.
    `consent`: the level that voices must have to be used with it. `lifetime`: seconds until it expires; None: it
    doesn't. `by`: who asks for it; None: the server's operator. Raises ``scope-unknown``, ``limit-unknown``,
    ``limit-invalid``, ``owner-name-invalid``, ``too-many-keys``, and ``scope-missing`` for a key that may more than the
    one of `by`."""
    scopes = list(dict.fromkeys(scopes))
    if unknown := [scope for scope in scopes if scope not in SCOPES] or ([] if scopes else ["(none)"]):
        raise UnderstudyError(
            "scope-unknown", f"There is no scope {unknown[0]!r}.", f"Scopes there are: {', '.join(SCOPES)}."
        )
    if wrong := [limit for limit in limits or {} if limit not in LIMITS]:
        raise UnderstudyError("limit-unknown", f"There is no limit {wrong[0]!r}.", f"Limits: {', '.join(LIMITS)}.")
    _check_limits(limits or {})
    if not owner.strip() or len(owner) > 100 or len(name) > 100:
        raise UnderstudyError("owner-name-invalid", "A name has 1 to 100 characters.", "Use for example --owner shop.")
    _check_grant(by, scopes, consent)
    if by is not None and owner != by.name and "admin" not in by.scopes:
        raise _may_not("it isn't your own")
    id = ensure_owner(database, owner)
    with database.write() as connection:
        if limits:
            before = connection.scalar(select(owners.c.limits).where(owners.c.id == id)) or {}
            connection.execute(owners.update().where(owners.c.id == id).values(limits={**before, **limits}))
        now = database.now(connection)
        expires = None if lifetime is None else now + lifetime
        about = {"owner": id, "name": name, "scopes": " ".join(scopes), "consent": consent, "expires": expires}
        key = _add_key(connection, now, about)
        webhook = connection.scalar(select(owners.c.webhook_secret).where(owners.c.id == id))
    return key, str(webhook)


def rotate_key(database: Database, id: str, overlap: float, by: Owner | None = None) -> str:
    """A new key that may the same as the key `id` and lives as long; the old one ends after `overlap` seconds. Raises
    ``key-unknown`` for one that has ended or isn't of `by`, and what `create_key` raises."""
    with database.write() as connection:
        now = database.now(connection)
        row = connection.execute(select(keys).where(keys.c.id == id, living(now))).first()
        if row is None or not _may_manage(by, row.owner):
            raise key_unknown(id)
        _check_grant(by, row.scopes.split(), row.consent)
        expires = None if row.expires is None else now + row.expires - row.created
        about = {name: getattr(row, name) for name in ("owner", "name", "scopes", "consent")}
        key = _add_key(connection, now, {**about, "expires": expires})
        ends = now + overlap if row.expires is None else min(row.expires, now + overlap)
        connection.execute(keys.update().where(keys.c.id == id).values(expires=ends))
    return key


def revoke_key(database: Database, id: str, by: Owner | None = None) -> None:
    """Revoke a key at once. Raises ``key-unknown`` for one that isn't of `by`, too."""
    with database.write() as connection:
        owner = connection.scalar(select(keys.c.owner).where(keys.c.id == id))
        if owner is None or not _may_manage(by, owner):
            raise key_unknown(id)
        values = {"revoked": func.coalesce(keys.c.revoked, database.now(connection))}
        connection.execute(keys.update().where(keys.c.id == id).values(**values))


def key_id(key: str) -> str:
    """The id in a key, or the id itself."""
    return key.removeprefix("us_").partition("_")[0]


def _add_key(connection: Connection, now: float, about: Mapping[str, Any]) -> str:
    """A new key with these values of its row. Raises ``too-many-keys``."""
    mine = keys.c.owner == about["owner"]
    connection.execute(select(owners.c.id).where(owners.c.id == about["owner"]).with_for_update())
    if (connection.scalar(select(func.count()).where(mine)) or 0) >= MOST_KEYS:
        text = f"This owner has {MOST_KEYS} keys, those included that ended within {KEEP_KEYS / 86400:.0f} days."
        raise UnderstudyError("too-many-keys", text, "Use keys for longer: each can serve any number of programs.")
    id, secret = new_id("k", 10)[2:], secrets.token_hex(25)
    connection.execute(keys.insert().values(id=id, hash=hashed(secret), created=now, **about))
    return f"us_{id}_{secret}"


def _may_manage(by: Owner | None, owner: str) -> bool:
    return by is None or by.id == owner or "admin" in by.scopes


def _check_grant(by: Owner | None, scopes: Iterable[str], consent: Level) -> None:
    """Raise ``scope-missing`` for a key that may more than the one of `by`."""
    if by is None or "admin" in by.scopes:
        return
    if more := [scope for scope in scopes if scope not in by.scopes]:
        raise _may_not(f"it would have the scope {more[0]!r}, which yours lacks")
    if levels.LEVELS.index(consent) < levels.LEVELS.index(by.consent):
        raise _may_not(f"it would use voices whose consent is {consent}, and yours needs {by.consent}")


def _may_not(why: str) -> UnderstudyError:
    return UnderstudyError("scope-missing", f"This key may not make that key: {why}.", "Ask for another key.")


def key_unknown(id: str) -> UnderstudyError:
    return UnderstudyError("key-unknown", f"There is no key {id[:60]!r}.", "List the keys: it may have ended.")


def _check_limits(limits: Mapping[str, Any]) -> None:
    """Raise ``limit-invalid`` for a limit that the settings couldn't have either."""
    try:
        ServerSettings.model_validate(dict(limits))
    except ValidationError as error:
        first = faults(error.errors())[0]
        text = f"The limit {first.field!r} can't be {first.value}: {first.reason}."
        raise UnderstudyError("limit-invalid", text, "To keep an owner out, revoke its keys.") from None


def list_keys(database: Database) -> list[Row[Any]]:
    """All keys but the hashes of their secrets, oldest first, with the names of their owners."""
    with database.read() as connection:
        return list(connection.execute(LISTED.order_by(keys.c.created)))


LISTED: Select[Any] = select(
    *(column for column in keys.c if column.name not in ("owner", "hash")), owners.c.name.label("owner")
).join(owners)
"""The keys, each with the name of its owner, without the hashes of their secrets."""


def living(now: float) -> Any:
    """Whether a key is neither revoked nor expired."""
    return and_(keys.c.revoked.is_(None), or_(keys.c.expires.is_(None), keys.c.expires > now))


def has_keys(database: Database) -> bool:
    """Whether there is a key that can be used."""
    with database.read() as connection:
        return connection.scalar(select(keys.c.id).where(living(database.now(connection))).limit(1)) is not None


def find_owner(database: Database, connection: Connection, key: str) -> Owner | None:
    """The owner of `key`; None for one that is wrong, revoked or expired."""
    kind, _, rest = key.partition("_")
    id, _, secret = rest.partition("_")
    if kind != "us" or not id or not secret:
        return None
    row = connection.execute(KEYS.where(keys.c.id == id)).first()
    if row is None or not hmac.compare_digest(row.hash, hashed(secret)):
        return None
    return None if row.expires is not None and row.expires <= database.now(connection) else as_owner(row)


KEYS = select(keys, owners.c.name.label("owner_name"), owners.c.limits).join(owners).where(keys.c.revoked.is_(None))
"""The keys that are not revoked, each with its owner. They may have expired."""


def as_owner(row: Row[Any]) -> Owner:
    """The owner of a row of `KEYS`."""
    return Owner(row.owner, row.owner_name, frozenset(row.scopes.split()), row.limits, row.id, None, row.consent)


def note_use(database: Database, key: str) -> None:
    """Store that the key is in use now."""
    with database.write() as connection:
        connection.execute(keys.update().where(keys.c.id == key).values(used=database.now(connection)))


def usage(connection: Connection, owner: str, now: float) -> dict[str, float]:
    """The use of the limits: jobs that have not ended, jobs, minutes of song and of training in the last 24 hours,
    bytes stored."""
    active = select(func.count()).where(jobs.c.owner == owner, jobs.c.state.in_(ACTIVE))
    today = select(func.count(), func.sum(spent.c.minutes)).where(spent.c.owner == owner, spent.c.at > now - 86400)
    sent, minutes = connection.execute(today).one()
    return {
        "jobs_queued": float(connection.scalar(active) or 0),
        "jobs_a_day": float(sent),
        "minutes_a_day": float(minutes or 0.0),
        "trainings_queued": float(connection.scalar(active.where(jobs.c.kind == "training")) or 0),
        "training_minutes_a_day": trained_minutes(connection, owner, now),
        "storage_bytes": float(stored_bytes(connection, owner)),
    }


def stored_bytes(connection: Connection, owner: str) -> int:
    """The bytes of the owner's songs, voices and results, and of resumable uploads as they were announced."""
    sums = [select(func.sum(table.c.bytes)).where(table.c.owner == owner) for table in (songs, uploads, voices, jobs)]
    return sum(int(connection.scalar(query) or 0) for query in sums)


def hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
