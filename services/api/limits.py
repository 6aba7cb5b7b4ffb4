"""Limits: requests per minute, and what an owner may store and submit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Lock

from sqlalchemy import Connection, select

from understudy.services.api.problems import ApiError
from understudy.services.queue.owners import Owner, usage
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.tables import owners, spent
from understudy.wording import counted


class RateLimits:
    """Token buckets by name. A bucket refills evenly over a minute and holds one minute's tokens at most. Each server
    process counts for itself."""

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[float, float]] = {}  # name: (tokens, at which time)
        self._lock = Lock()

    def take(self, name: str, per_minute: float) -> float:
        """Take one token of the bucket `name`. Returns 0, or the seconds until there is a token again."""
        now = time.monotonic()
        with self._lock:
            tokens, at = self._buckets.pop(name, (per_minute, now))
            tokens = min(per_minute, tokens + (now - at) * per_minute / 60)
            wait = 0.0 if tokens >= 1 else (1 - tokens) * 60 / per_minute
            self._buckets[name] = (tokens if wait else tokens - 1, now)
            if len(self._buckets) > 10_000:  # the one that was not used for longest
                del self._buckets[next(iter(self._buckets))]
        return wait

    def left(self, name: str, per_minute: float) -> float:
        """The tokens that the bucket `name` holds now."""
        with self._lock:
            tokens, at = self._buckets.get(name, (per_minute, 0.0))
        return min(per_minute, tokens + (time.monotonic() - at) * per_minute / 60)

    def check(self, name: str, per_minute: float) -> None:
        """Take one token; raise ``rate-limited`` if there is none."""
        if wait := self.take(name, per_minute):
            retry = {"Retry-After": str(max(1, round(wait + 0.5)))}
            raise ApiError("rate-limited", "Too many requests.", f"Wait {wait:.1f} seconds.", retry)


def check_storage(connection: Connection, settings: ServerSettings, owner: Owner, now: float, more: int) -> None:
    """Raise ``storage-used-up`` if the owner can't store `more` bytes.

    Locks the owner's row until the end of the transaction, so that two requests can't both take the last of it.
    """
    _lock_owner(connection, owner)
    used, limit = usage(connection, owner.id, now)["storage_bytes"], owner.limit("storage_bytes", settings)
    if used + more > limit:
        raise ApiError(
            "storage-used-up",
            f"Your songs, voices and results take {used / 1e6:.0f} MB of {limit / 1e6:.0f} MB.",
            "Delete some of them and send it again.",
        )


def charge_jobs(
    connection: Connection, settings: ServerSettings, owner: Owner, now: float, minutes: Sequence[float]
) -> list[int]:
    """Charge the owner for jobs over so many `minutes` of song each; returns the ids of what was spent, for the jobs'
    requests.

    Raises ``too-many-jobs`` or ``minutes-used-up`` if the owner can't submit all of them. Locks the owner's row as
    `check_storage` does.
    """
    _lock_owner(connection, owner)
    used = usage(connection, owner.id, now)
    more = f" These are {len(minutes)} more." if len(minutes) > 1 else ""
    limit = owner.limit("jobs_queued", settings)
    if used["jobs_queued"] + len(minutes) > limit:
        text = f"You have {counted(round(used['jobs_queued']), 'job')} waiting or running; the limit is {limit}.{more}"
        raise ApiError("too-many-jobs", text, "Wait until one has ended.", {"Retry-After": "30"})
    limit = owner.limit("jobs_a_day", settings)
    if used["jobs_a_day"] + len(minutes) > limit:
        text = f"You sent {counted(round(used['jobs_a_day']), 'job')} within a day; the limit is {limit}.{more}"
        raise ApiError("too-many-jobs", text, "Try again tomorrow.", {"Retry-After": "3600"})
    limit = owner.limit("minutes_a_day", settings)
    if used["minutes_a_day"] + sum(minutes) > limit:
        sent = counted(round(used["minutes_a_day"]), "minute")
        text = f"You sent {sent} of song within a day; the limit is {limit:.0f}."
        raise ApiError("minutes-used-up", text, "Try again tomorrow.", {"Retry-After": "3600"})
    rows = [{"owner": owner.id, "at": now, "minutes": one} for one in minutes]
    inserted = spent.insert().returning(spent.c.id, sort_by_parameter_order=True)
    return [int(id) for id in connection.scalars(inserted, rows)]


def charge_training(connection: Connection, settings: ServerSettings, owner: Owner, now: float) -> None:
    """`charge_jobs` for a training, whose minutes are counted while it runs. Raises ``too-many-jobs`` or
    ``minutes-used-up`` if the owner can't submit another."""
    charge_jobs(connection, settings, owner, now, [0.0])
    used = usage(connection, owner.id, now)
    limit = owner.limit("trainings_queued", settings)
    if used["trainings_queued"] >= limit:
        waiting = counted(round(used["trainings_queued"]), "training")
        text = f"You have {waiting} that wait, run or are paused; the limit is {limit}."
        raise ApiError("too-many-jobs", text, "Wait until one has ended, or cancel one.", {"Retry-After": "3600"})
    limit = owner.limit("training_minutes_a_day", settings)
    if used["training_minutes_a_day"] >= limit:
        text = f"Your trainings ran for {counted(round(limit), 'minute')} within a day, and no more are allowed."
        raise ApiError("minutes-used-up", text, "Try again tomorrow.", {"Retry-After": "3600"})


def _lock_owner(connection: Connection, owner: Owner) -> None:
    row = connection.execute(select(owners.c.deleting).where(owners.c.id == owner.id).with_for_update()).first()
    if row is None or row.deleting is not None:
        raise ApiError("key-invalid", "The owner of this key is being deleted.", "Ask for another key.")
