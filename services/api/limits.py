"""The owners' limits, checked in the transaction that uses them up."""

from __future__ import annotations

from sqlalchemy import Connection, select

from understudy.services.api.house import House
from understudy.services.api.problems import ApiError
from understudy.services.queue.owners import Owner, usage
from understudy.services.queue.tables import owners


def check_storage(house: House, connection: Connection, owner: Owner, now: float, more: int) -> None:
    """Raise ``storage-used-up`` if `more` bytes are too many. Holds the owner's row until the transaction's end."""
    connection.execute(select(owners.c.id).where(owners.c.id == owner.id).with_for_update())
    used, limit = usage(connection, owner.id, now)["storage_bytes"], owner.limit("storage_bytes", house.settings)
    if used + more > limit:
        raise ApiError(
            "storage-used-up",
            f"Your songs, voices and results take {used / 1e6:.0f} MB of {limit / 1e6:.0f} MB.",
            "Delete some of them and send it again.",
        )


def check_job(house: House, connection: Connection, owner: Owner, now: float, minutes: float) -> None:
    """Raise ``too-many-jobs`` or ``minutes-used-up`` if a job over `minutes` of song is too much."""
    connection.execute(select(owners.c.id).where(owners.c.id == owner.id).with_for_update())
    used = usage(connection, owner.id, now)
    most = owner.limit("jobs_queued", house.settings)
    if used["jobs_queued"] >= most:
        text = f"You have {used['jobs_queued']:.0f} jobs waiting or running, and {most} are allowed."
        raise ApiError("too-many-jobs", text, "Wait until one has ended.", {"Retry-After": "30"})
    most = owner.limit("minutes_a_day", house.settings)
    if used["minutes_a_day"] + minutes > most:
        text = f"You sent {used['minutes_a_day']:.0f} minutes of song within a day, and {most:.0f} are allowed."
        raise ApiError("minutes-used-up", text, "Try again tomorrow.", {"Retry-After": "3600"})
