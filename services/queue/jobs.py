"""The queue: jobs are submitted, claimed under a lease, kept alive, and ended exactly once.

Leases. A claim gives the worker a lease, a time until which the job is its own; the worker renews it while it runs. A
killed worker doesn't, so after that time the job can be claimed again. The new worker finds the finished stages in the
artifact store and goes on from there.

Fencing. Each claim also draws a random token. Every later write names it (``WHERE token = ...``), so a worker that lost
its lease, because it was suspended or cut off, changes nothing when it comes back: a job ends once, with one result.

`claims.py` says which job comes next.

Trainings take hours or days, so workers of their own run them: no other job waits behind one. They can be paused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, and_, bindparam, func, or_, select, text

from understudy.errors import UnderstudyError
from understudy.pipeline.executor import StageRun
from understudy.services.queue.database import Database
from understudy.services.queue.search import folded, terms_of
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.tables import counters, deliveries, events, jobs, new_id, owners, terms, trained, voices

Kind = Literal["cover", "separation", "voice", "training"]
ACTIVE = ("queued", "running", "paused")
"""The states of jobs that have not ended."""
SPEED = "training-clip"
"""The counter of how long a training takes for a clip, by device and size."""
NEVER = 1e15
"""The `not_before` of a running job whose owner wants it paused."""
INTERACTIVE, BATCH, TRAINING = 0, 1, 2
PRIORITIES = {"interactive": INTERACTIVE, "batch": BATCH}
RETRY, USED_UP = 300.0, 3600.0
"""Seconds of the longest pause before a job is tried again, and of a training's while its owner has no minutes left."""
_NOTE_TURN = text(
    "INSERT INTO turns (owner, priority, served, waiting) VALUES (:owner, :priority, 0, TRUE)"
    " ON CONFLICT (owner, priority) DO UPDATE SET waiting = TRUE"
)
_COUNT = text(
    "INSERT INTO tallies (name, label, number, seconds) VALUES (:name, :label, 1, :seconds)"
    " ON CONFLICT (name, label) DO UPDATE"
    " SET number = tallies.number + 1, seconds = tallies.seconds + excluded.seconds"
)
ROLES = ("song", "vocals", "instrumental", "backing_vocals")
"""What a song can be in a job."""


@dataclass(frozen=True)
class Claimed:
    """A job that a worker has claimed. `token`: the proof of this claim; `attempts`: all starts so far."""

    id: str
    owner: str
    generation: int
    kind: Kind
    name: str
    request: dict[str, Any]
    song: str | None
    voice: str | None
    token: str
    attempts: int
    failures: int  # starts since a stage was last finished, this one included; the column `strikes`
    result: dict[str, Any] | None = None  # how far a training was


@dataclass(frozen=True)
class Note:
    """Something that happened to a job: `type` is ``state``, ``stage``, ``progress``, ``preview`` or ``training``."""

    type: str
    data: dict[str, Any]


def submit(
    connection: Connection, now: float, owner: str, kind: Kind, priority: int = INTERACTIVE, **values: Any
) -> str:
    """Put a job into the queue; returns its id. Call it in the transaction that charged the owner for it."""
    return submit_all(connection, now, owner, [{"kind": kind, "priority": priority, **values}])[0]


def submit_all(connection: Connection, now: float, owner: str, each: Sequence[Mapping[str, Any]]) -> list[str]:
    """Put jobs into the queue; returns their ids, in the same order. `each`: the columns of a job that aren't the same
    for all, ``kind`` and ``priority`` among them, the same columns for each job."""
    rows = []
    for place, values in enumerate(each):
        row = {"id": new_id(values["kind"]), "owner": owner, "state": "queued", "not_before": 0.0, "events": 1}
        priority = TRAINING if values["kind"] == "training" else values["priority"]
        row |= {"created": now + place * 1e-6, "folded": folded(values["name"])}  # they keep their order
        rows.append({**row, **values, "priority": priority})
    connection.execute(jobs.insert(), rows)
    if found := [term for row in rows for term in terms_of(row)]:
        connection.execute(terms.insert(), found)
    for priority in {row["priority"] for row in rows}:
        _take_turn(connection, owner, priority)
    notes = [{"job": row["id"], "number": 1, "at": now, "type": "state", "data": {"state": "queued"}} for row in rows]
    connection.execute(events.insert(), notes)
    return [row["id"] for row in rows]


def count(database: Database, name: str, label: str, seconds: float) -> None:
    """Add something that took so long to the counters."""
    with database.write() as connection:
        _count(connection, [(name, label, seconds)])


def mean_seconds(connection: Connection, name: str, label: str) -> float | None:
    """How long it took on the average; None if it was never counted."""
    its = select(counters.c.seconds / counters.c.number).where(counters.c.name == name, counters.c.label == label)
    found = connection.scalar(its)
    return None if found is None else float(found)


def change(database: Database, job: Claimed, **values: Any) -> None:
    """Change `values` of the job's row, if it is still ours."""
    with database.write() as connection:
        connection.execute(jobs.update().where(_held(job)).values(**values))


Held = Literal["held", "cancelled", "paused", "lost"]


def renew(database: Database, job: Claimed, settings: ServerSettings) -> Held:
    """Renew the lease. Returns ``cancelled`` or ``paused`` if the owner wants that, ``lost`` if the job is no longer
    ours."""
    with database.write() as connection:
        values = {"lease": database.now(connection) + settings.lease, "doubted": None}
        query = jobs.update().where(_held(job)).values(**values).returning(jobs.c.cancel, jobs.c.not_before)
        row = connection.execute(query).first()
    if row is None:
        return "lost"
    return "cancelled" if row.cancel else "paused" if row.not_before == NEVER else "held"


def record(
    database: Database, job: Claimed, notes: Sequence[Note], stage: str | None, fraction: float, **values: Any
) -> None:
    """Store events, how far the job is (0..1), and other `values` of its row. A finished stage, an evaluation or a
    saved state of a training resets the count of failures."""
    progressed = any(
        note.type == "training" or note.data["state"] == "finished" or note.data.get("kind") == "saved"
        for note in notes
    )
    with database.write() as connection:
        values |= {"stage": stage, "fraction": fraction} | ({"strikes": 0} if progressed else {})
        if connection.execute(jobs.update().where(_held(job)).values(**values)).rowcount:
            if job.kind == "training":  # it has very many, and only the latest says anything
                connection.execute(events.delete().where(events.c.job == job.id, events.c.type == "progress"))
            append(connection, job.id, database.now(connection), notes)


def count_training(database: Database, job: Claimed, minutes: float, settings: ServerSettings) -> bool:
    """Count `minutes` of training for the owner of `job`; False if that is more than the owner may have in 24 hours."""
    with database.write() as connection:
        now = database.now(connection)
        connection.execute(trained.insert().values(owner=job.owner, at=now, minutes=minutes))
        limits = connection.scalar(select(owners.c.limits).where(owners.c.id == job.owner)) or {}
        most = limits.get("training_minutes_a_day", settings.training_minutes_a_day)
        return trained_minutes(connection, job.owner, now) <= float(most)


def trained_minutes(connection: Connection, owner: str, now: float) -> float:
    """The owner's minutes of training within the last 24 hours."""
    query = select(func.sum(trained.c.minutes)).where(trained.c.owner == owner, trained.c.at > now - 86400)
    return float(connection.scalar(query) or 0.0)


def finish(
    database: Database,
    job: Claimed,
    settings: ServerSettings,
    result: dict[str, Any],
    size: int,
    stages: Sequence[StageRun],
) -> bool:
    """End the job with its result. Returns False, and writes nothing, if it is no longer ours."""
    with database.write() as connection:
        now = database.now(connection)
        more = {"result": result, "bytes": size, "fraction": 1.0, "expires": now + settings.keep_results}
        run = [("stage-cached" if stage.cached else "stage", stage.kind, stage.seconds) for stage in stages]
        return end(connection, now, job, "held", "done", run, **more)


def fail(
    database: Database, job: Claimed, settings: ServerSettings, error: UnderstudyError, again: float
) -> Literal["again", "over", "lost"]:
    """End the job as failed; or, with `again` > 0 and tries left, put it back to be claimed after so many seconds.
    Returns which of the two was done, or ``lost``."""
    problem = _problem(error)
    with database.write() as connection:
        now = database.now(connection)
        if again and job.failures < settings.tries:
            if set_paused(connection, now, job.id, and_(_held(job), jobs.c.not_before == NEVER)):
                return "again"
            if _queue_again(connection, job, not_before=now + again):
                data = {"state": "queued", "again_in": again, "because": problem}
                append(connection, job.id, now, [Note("state", data)])
                return "again"
            return "lost"
        return "over" if end(connection, now, job, "held", "failed", error=problem) else "lost"


def confirm_cancelled(database: Database, job: Claimed, settings: ServerSettings, **values: Any) -> bool:
    """End a job whose cancellation its worker has seen; `values` are those of its row, such as what it made so far."""
    with database.write() as connection:
        now = database.now(connection)
        values |= {"expires": now + settings.keep_results} if values else {}
        return end(connection, now, job, "held", "cancelled", **values)


def confirm_paused(database: Database, job: Claimed) -> None:
    """Pause a job whose worker has seen that its owner wants it."""
    with database.write() as connection:
        set_paused(connection, database.now(connection), job.id, _held(job))


def release(database: Database, job: Claimed) -> None:
    """Put the job back into the queue as if it had not been started: its worker has to stop."""
    _put_back(database, job)


def put_off(database: Database, job: Claimed, again: float, why: UnderstudyError) -> None:
    """The same, to be claimed again after so many seconds, because of `why`."""
    _put_back(database, job, again, _problem(why))


def _put_back(database: Database, job: Claimed, again: float = 0.0, because: dict[str, str] | None = None) -> None:
    with database.write() as connection:
        now = database.now(connection)
        if set_paused(connection, now, job.id, and_(_held(job), jobs.c.not_before == NEVER)):
            return
        pause = {"not_before": now + again} if again else {}
        if _queue_again(connection, job, strikes=max(0, job.failures - 1), **pause):
            data = {"state": "queued"} | ({"again_in": again, "because": because} if again else {})
            append(connection, job.id, now, [Note("state", data)])


def _queue_again(connection: Connection, job: Claimed, **values: Any) -> bool:
    """Put a running job back into the queue; returns False if it is no longer ours."""
    back = {"state": "queued", "worker": None, "token": None, "lease": None, "doubted": None, **values}
    row = connection.execute(jobs.update().where(_held(job)).values(**back).returning(jobs.c.priority)).first()
    if row is not None:
        _take_turn(connection, job.owner, row.priority)
    return row is not None


def _take_turn(connection: Connection, owner: str, priority: int) -> None:
    """Note that the owner has queued jobs. In the transaction that queues one: a claim that finds none left, and takes
    the note away, does so before or after it, never in between."""
    connection.execute(_NOTE_TURN, {"owner": owner, "priority": priority})


def abandon(database: Database, worker: str) -> int:
    """Expire the leases of a worker that is known to be dead. Returns the number of its jobs."""
    with database.write() as connection:
        held = and_(jobs.c.worker == worker, jobs.c.state == "running")
        return int(connection.execute(jobs.update().where(held).values(lease=0.0)).rowcount)


def cancel(connection: Connection, now: float, row: Row[Any], at_once: bool = False) -> None:
    """Cancel a waiting job at once; mark a running one, whose worker sees the mark when it next renews the lease. With
    `at_once` a running one is over, too: its worker loses it."""
    if not end(connection, now, row, "active" if at_once else "waiting", "cancelled"):
        running = and_(jobs.c.id == row.id, jobs.c.state == "running")
        connection.execute(jobs.update().where(running).values(cancel=True))


def pause(connection: Connection, now: float, id: str) -> None:
    """Pause a queued job at once; mark a running one, whose worker sees the mark when it next renews the lease."""
    if not set_paused(connection, now, id, and_(jobs.c.id == id, jobs.c.state == "queued")):
        running = and_(jobs.c.id == id, jobs.c.state == "running")
        connection.execute(jobs.update().where(running).values(not_before=NEVER))


def resume(connection: Connection, now: float, id: str) -> None:
    """Put a paused job back into the queue; one that was still to be paused goes on."""
    paused = and_(jobs.c.id == id, jobs.c.state == "paused")
    back = jobs.update().where(paused).values(state="queued", not_before=0.0).returning(jobs.c.owner, jobs.c.priority)
    if row := connection.execute(back).first():
        _take_turn(connection, row.owner, row.priority)
        append(connection, id, now, [Note("state", {"state": "queued"})])
    marked = and_(jobs.c.id == id, jobs.c.state == "running", jobs.c.not_before == NEVER)
    connection.execute(jobs.update().where(marked).values(not_before=0.0))


def set_paused(connection: Connection, now: float, id: str, where: Any) -> bool:
    """Pause the job if it satisfies `where`; returns whether it did."""
    values = {"state": "paused", "not_before": 0.0, "worker": None, "token": None, "lease": None, "strikes": 0}
    if not connection.execute(jobs.update().where(where).values(**values)).rowcount:
        return False
    append(connection, id, now, [Note("state", {"state": "paused"})])
    return True


# Statements that run for each job are built once: that takes longer than to run them.
_JOB = jobs.c.id == bindparam("of_job")
_WAITS, _RUNS = jobs.c.state.in_(("queued", "paused")), jobs.c.state == "running"
_END = {
    name: jobs.update()
    .where(_JOB, which)
    .values(events=jobs.c.events + 1)
    .returning(
        *(jobs.c[name] for name in ("id", "owner", "kind", "voice", "started", "error", "events")),
        *(jobs.c[name] for name in ("webhook", "webhook_events", "metadata")),
    )
    for name, which in {
        "held": and_(_RUNS, jobs.c.token == bindparam("proof")),
        "lost": _RUNS,
        "waiting": _WAITS,
        "active": or_(_WAITS, _RUNS),
    }.items()
}
_NO_PROGRESS = events.delete().where(events.c.job == bindparam("of_job"), events.c.type == "progress")


def end(
    connection: Connection,
    now: float,
    job: Row[Any] | Claimed,
    now_is: Literal["held", "lost", "waiting", "active"],
    state: str,
    counted: Sequence[tuple[str, str, float]] = (),
    **values: Any,
) -> bool:
    """End a job, with its last event, its webhook and its metrics, to which `counted` is added: name, label, seconds.
    All ends go through here.

    `now_is`: what the job must be: running under this claim, running, not running, one of these. If it isn't, nothing
    is written and the result is False.
    """
    over = {"state": state, "finished": now, "worker": None, "token": None, "lease": None, "stage": None, **values}
    which = {"of_job": job.id} | ({"proof": job.token} if now_is == "held" else {})
    row = connection.execute(_END[now_is], over | which).first()
    if row is None:
        return False
    connection.execute(_NO_PROGRESS, {"of_job": job.id})  # only the states and stages stay
    ended: dict[str, Any] = {"state": state} | ({"error": row.error} if row.error else {})
    insert_events(connection, row.id, row.events, now, [Note("state", ended)])
    if row.kind == "voice" and state != "done":
        making = and_(voices.c.id == row.voice, voices.c.state == "making")
        connection.execute(voices.update().where(making).values(state="failed", bytes=0))
    if row.webhook:
        wanted = row.webhook_events is None or state in row.webhook_events.split()
        values = {"webhook_state": "waiting" if wanted else "unwanted"}
        connection.execute(jobs.update().where(jobs.c.id == row.id).values(**values))
    if row.webhook and wanted:
        body = json.dumps(
            {
                "type": f"{row.kind}.{state}",
                "id": row.id,
                "state": state,
                "error": row.error,
                "finished": now,
                "metadata": row.metadata or {},
            },
            separators=(",", ":"),
        )
        about = {"id": new_id("delivery"), "owner": row.owner, "job": row.id, "url": row.webhook, "body": body}
        connection.execute(deliveries.insert().values(state="waiting", tries=0, due=now, created=now, **about))
    failed = [("failure", row.error["code"], 0.0)] if row.error else []
    _count(connection, [*counted, *failed, ("job", f"{row.kind} {state}", now - (row.started or now))])
    return True


def append(connection: Connection, job: str, now: float, notes: Sequence[Note]) -> None:
    """Append events, numbered from 1 per job.

    The counter in the job's row is raised first, which locks the row until the transaction ends. So numbers become
    visible in their order, and a stream that asks for events after number n misses none.
    """
    if not notes:
        return
    query = jobs.update().where(jobs.c.id == job).values(events=jobs.c.events + len(notes)).returning(jobs.c.events)
    last = connection.scalar(query)
    if last is None:
        return
    insert_events(connection, job, last - len(notes) + 1, now, notes)


def insert_events(connection: Connection, job: str, first: int, now: float, notes: Sequence[Note]) -> None:
    """Insert events with the numbers from `first` on, which the job's row already counts."""
    rows = [
        {"job": job, "number": first + place, "at": now, "type": note.type, "data": note.data}
        for place, note in enumerate(notes)
    ]
    connection.execute(events.insert(), rows)


def _count(connection: Connection, counted: Sequence[tuple[str, str, float]]) -> None:
    """Add to the metrics: name, label, seconds. All ends write to the same few rows, each of which is locked until the
    transaction ends: so this comes last, and in one order, in which no two wait for each other."""
    connection.execute(
        _COUNT, [{"name": name, "label": label, "seconds": took} for name, label, took in sorted(counted)]
    )


def _problem(error: UnderstudyError) -> dict[str, str]:
    return {"code": error.code, "message": error.message, "hint": error.hint}


def _held(job: Claimed) -> Any:
    return and_(jobs.c.id == job.id, jobs.c.state == "running", jobs.c.token == job.token)
