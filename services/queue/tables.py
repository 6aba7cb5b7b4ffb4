"""The tables as they are now; `versions/` has their changes. Times are seconds since 1970 (UTC), ids are random, every
row but owners and counters has an owner."""

from __future__ import annotations

import secrets

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"  # without letters that look like another one

metadata = MetaData()


def new_id(prefix: str, length: int = 20) -> str:
    """A random id such as ``cover_k3v9...``. The prefix names the kind of thing; 20 letters hold 99 random bits."""
    return f"{prefix}_" + "".join(secrets.choice(_LETTERS) for _ in range(length))


def _owner() -> Column[str]:
    return Column("owner", String(40), ForeignKey("owners.id"), nullable=False)


def _index_where(state: str, *columns: str) -> Index:
    """An index over the jobs in one state: it stays small, however many have ended."""
    where = text(f"state = '{state}'")
    return Index(f"jobs_{state}", *columns, postgresql_where=where, sqlite_where=where)


version = Table("alembic_version", metadata, Column("version_num", String(32), primary_key=True))

REFUSED = 2  # releases before there were migrations refuse a database that has not 1 here
schema = Table("schema", metadata, Column("version", Integer, primary_key=True))

owners = Table(
    "owners",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("created", Double, nullable=False),
    Column("webhook_secret", String(80), nullable=False),
    Column("former_secret", String(80)),  # the secret before it, which signs webhooks, too, until then
    Column("former_until", Double),
    Column("limits", JSON, nullable=False),  # limits of this owner that differ from the settings
    Column("deleting", Double),  # since when it is to be deleted (deletion.py)
    Column("generation", Integer, nullable=False, default=0),  # raised by deleting everything; names the cache
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(20), primary_key=True),
    _owner(),
    Column("name", String(100), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("scopes", String(200), nullable=False),
    Column("created", Double, nullable=False),
    Column("revoked", Double),
    Column("expires", Double),
    Column("used", Double),
    Column("consent", String(12), nullable=False, server_default="stated"),  # least level of voices that it uses
    Index("keys_by_owner", "owner", "created", "id"),
)

consents = Table(  # the consent log of each owner (understudy.voices.consent.log)
    "consents",
    metadata,
    Column("owner", String(40), ForeignKey("owners.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("line", Text, nullable=False),
)

past_consents = Table(  # the hashes of the consent logs of deleted owners, under their pseudonyms
    "past_consents",
    metadata,
    Column("owner", String(40), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("hash", String(64), nullable=False),
)

sessions = Table(  # of the page: who has shown a key there
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),  # the hash of the token in the visitor's cookie
    Column("key", String(20), ForeignKey("keys.id"), nullable=False),
    Column("expires", Double, nullable=False),
)

songs = Table(
    "songs",
    metadata,
    Column("id", String(40), primary_key=True),
    _owner(),
    Column("name", String(255), nullable=False),
    Column("path", String(400), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("duration", Double),
    Column("rate", Integer, nullable=False),
    Column("channels", Integer, nullable=False),
    Column("container", String(40), nullable=False),
    Column("codec", String(40), nullable=False),
    Column("title", String(400)),
    Column("artist", String(400)),
    Column("created", Double, nullable=False),
    Column("used", Double, nullable=False),
    Index("songs_by_owner", "owner", "created", "id"),
    Index("songs_of_owner", "owner", "bytes"),
)

uploads = Table(  # resumable ones, until they are used
    "uploads",
    metadata,
    Column("id", String(40), primary_key=True),
    _owner(),
    Column("name", String(255), nullable=False),
    Column("bytes", BigInteger, nullable=False),  # of the whole file
    Column("presigned", Boolean, nullable=False),  # the sender brings it to the store itself
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=False),
    Index("uploads_of_owner", "owner", "bytes"),
)

artworks = Table(  # small pictures of songs, from their tags
    "artworks",
    metadata,
    Column("song", String(40), ForeignKey("songs.id", ondelete="CASCADE"), primary_key=True),
    Column("jpeg", LargeBinary, nullable=False),
)

voices = Table(
    "voices",
    metadata,
    Column("id", String(40), primary_key=True),
    _owner(),
    Column("name", String(64), nullable=False),
    Column("folded", String(200), nullable=False),  # case folded: "Nova" and "nova" are one name
    Column("state", String(12), nullable=False),  # making, ready, failed
    Column("consent", String(12), nullable=False),
    Column("path", String(400), nullable=False),
    Column("bytes", BigInteger, nullable=False, default=0),
    Column("manifest", JSON),
    Column("findings", JSON, nullable=False),
    Column("job", String(40)),
    Column("created", Double, nullable=False),
    UniqueConstraint("owner", "folded"),
    Index("voices_by_owner", "owner", "created", "id"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(40), primary_key=True),
    _owner(),
    Column("kind", String(12), nullable=False),  # cover, separation, voice, training
    Column("state", String(12), nullable=False),  # queued, running, paused, done, failed, cancelled, expired
    Column("priority", Integer, nullable=False),  # 0 interactive, 1 batch, 2 training
    Column("name", String(400), nullable=False),
    Column("request", JSON, nullable=False),
    Column("song", String(40)),
    Column("voice", String(40)),
    Column("bytes", BigInteger, nullable=False, default=0),
    Column("created", Double, nullable=False),
    Column("not_before", Double, nullable=False),
    Column("started", Double),
    Column("finished", Double),
    Column("expires", Double),
    Column("attempts", Integer, nullable=False, default=0),
    Column("strikes", Integer, nullable=False, default=0),  # failures: starts since a stage was last finished
    Column("worker", String(80)),
    Column("token", String(40)),
    Column("lease", Double),  # the worker holds the job until then
    Column("doubted", Double),  # since when the lease seems to have ended; a worker that lives renews it
    Column("cancel", Boolean, nullable=False, default=False),
    Column("stage", String(60)),
    Column("fraction", Double, nullable=False, default=0.0),
    Column("events", Integer, nullable=False, default=0),  # the number of the last event
    Column("result", JSON),
    Column("error", JSON),
    Column("webhook", Text),
    Column("webhook_events", String(60)),  # the ends that it is called for; null: every one
    Column("webhook_state", String(12)),  # as of its delivery; unwanted: it isn't called for this end
    Column("batch", String(40)),
    Column("metadata", JSON),  # what its owner wrote on it: names and texts
    Column("folded", String(400)),  # the name, case folded
    # lists, and what limits count, are decided by these indexes alone
    Index("jobs_by_owner", "owner", "created", "id", "kind", "folded"),
    Index("jobs_of_owner", "owner", "state", "created", "id", "kind", "bytes"),
    Index("jobs_by_state", "state", "priority", "created"),
    Index("jobs_of_batch", "batch", "created", "id"),
    _index_where("queued", "priority", "owner", "created", "id"),
    _index_where("running", "owner", "priority", "lease"),
)

batches = Table(  # of jobs that one request submitted
    "batches",
    metadata,
    Column("id", String(40), primary_key=True),
    _owner(),
    Column("name", String(400)),
    Column("created", Double, nullable=False),
    Column("skipped", JSON, nullable=False),  # the problems of jobs that were left out
    Index("batches_by_owner", "owner", "created", "id"),
)

removals = Table(  # files and folders of the storage that nothing names any more
    "removals",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("path", String(400), nullable=False),
    Column("due", Double, nullable=False),
    Index("removals_due", "due"),
)

terms = Table(  # what jobs are found by (search.py)
    "terms",
    metadata,
    Column("job", String(40), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("term", String(300), primary_key=True),
    Column("owner", String(40), nullable=False),
    Column("created", Double, nullable=False),  # as in the job
    Index("terms_by_owner", "owner", "term", "created", "job"),
)

turns = Table(  # owners with queued jobs, by the jobs' priority: a claim takes a turn, and then a job
    "turns",
    metadata,
    Column("owner", String(40), primary_key=True),  # no foreign key: it would wait for requests that lock the owner
    Column("priority", Integer, primary_key=True),
    Column("served", Double, nullable=False),  # when one of its jobs was last claimed
    Column("waiting", Boolean, nullable=False),  # False: no job is queued
    Index("turns_by_served", "priority", "waiting", "served"),
)

events = Table(
    "events",
    metadata,
    Column("job", String(40), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("at", Double, nullable=False),
    Column("type", String(12), nullable=False),  # state, stage, progress, training
    Column("data", JSON, nullable=False),
)

spent = Table(  # minutes of song submitted within the last day; deleting a job doesn't give them back
    "spent",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    _owner(),
    Column("at", Double, nullable=False),
    Column("minutes", Double, nullable=False),
    Index("spent_by_owner", "owner", "at"),
)

trained = Table(  # minutes of training within the last day, as `spent` has minutes of song
    "trained",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    _owner(),
    Column("at", Double, nullable=False),
    Column("minutes", Double, nullable=False),
    Index("trained_by_owner", "owner", "at"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("owner", String(40), ForeignKey("owners.id"), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("answer", JSON, nullable=False),
    Column("created", Double, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String(40), primary_key=True),
    _owner(),
    Column("job", String(40), nullable=False),
    Column("url", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(12), nullable=False),  # waiting, delivered, failed
    Column("tries", Integer, nullable=False, default=0),
    Column("due", Double, nullable=False),
    Column("error", Text),
    Column("created", Double, nullable=False),
    Column("tried", Double),  # when it was last sent
    Column("status", Integer),  # of the last answer
    Index("deliveries_due", "state", "due"),
    Index("deliveries_by_owner", "owner", "created", "id"),
    Index("deliveries_by_job", "job"),
)

audit = Table(  # what was done (audit.py); it outlives its owner
    "audit",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("owner", String(40), nullable=False),
    Column("created", Double, nullable=False),
    Column("key", String(20)),
    Column("action", String(60), nullable=False),
    Column("resource", String(200), nullable=False),
    Column("address", String(64), nullable=False),
    Index("audit_by_owner", "owner", "created", "id"),
    Index("audit_by_time", "created"),
)

counters = Table(  # for the metrics
    "tallies",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("label", String(80), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("seconds", Double, nullable=False),
)
