"""Claims: which worker gets which job.

Order. Each owner with queued jobs has a turn. The next job is of the owner with the fewest running jobs, among these of
the one who was served longest ago, and of this owner the oldest: one owner's thousand jobs don't delay another owner's
single one. No owner has more jobs running than its limit `jobs_running`. Turns are per priority: interactive jobs come
first, but a share of the claims (`ServerSettings.batch_share`) looks for a batch job first, so that batches get on.

Locks. A claim locks a turn and a job, and skips what others have locked (``FOR UPDATE SKIP LOCKED``): it waits for
nobody, so claims neither queue up nor can be part of a deadlock, and no row that requests lock is touched. On SQLite
the same statements run under its one write lock.

Lost jobs. A job whose lease has ended is claimed before queued ones. Clocks may jump, and machines may sleep: then
leases end although their workers live. So a lease that seems to have ended is first marked as doubted; a worker that
lives renews it within seconds, which removes the mark.

Poisoned jobs. A job may kill its worker each time (a file that exhausts memory). Starts without a finished stage are
counted; after `ServerSettings.tries` of them the job fails as ``job-poisoned``.
"""

from __future__ import annotations

import random
from functools import cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Double,
    Integer,
    Row,
    Select,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
)

from understudy.services.queue import jobs as queue
from understudy.services.queue.database import Database
from understudy.services.queue.jobs import BATCH, INTERACTIVE, NEVER, RETRY, TRAINING, USED_UP, Claimed, Note
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.tables import jobs, new_id, owners, turns

DOUBT = 5.0
"""Seconds for which a lease stays doubted before its job is claimed; workers renew theirs every two seconds."""
AHEAD = 60.0
"""Seconds by which a lease may end later than a new one would; else the clock was set back."""

# Written into the statements, because partial indexes serve only statements in which these words stand.
_QUEUED = jobs.c.state == literal_column("'queued'")
_RUNNING = jobs.c.state == literal_column("'running'")


def claim(database: Database, worker: str, settings: ServerSettings, training: bool = False) -> Claimed | None:
    """Claim the next job for `worker`, a `training` or one that is none; None if there is none. Jobs that were started
    too often without finishing a stage, and those cancelled or paused whose worker died, are ended or paused on the
    way."""
    if database.is_sqlite and not waits(database, settings, training):
        return None  # idle workers leave its one write lock alone
    while True:
        with database.write() as connection:
            now = database.now(connection)
            lost = _lost(connection, now, settings, training)
            if lost is not None and _settled(connection, now, lost, settings):
                continue
            row = lost or _next(connection, now, settings, training)
            return None if row is None else _taken(connection, now, row, worker, settings)


def waits(database: Database, settings: ServerSettings, training: bool = False) -> bool:
    """Whether there is a job that could be claimed."""
    with database.read() as connection:
        values = {"now": (now := database.now(connection)), "ahead": now + settings.lease + AHEAD}
        return any(
            connection.scalar(query, {**values, "of_priority": priority}) is not None
            for priority in _priorities(training)
            for query in _waiting(training)
        )


def _priorities(training: bool) -> tuple[int, ...]:
    return (TRAINING,) if training else (INTERACTIVE, BATCH)


# The statements are built once: that takes longer than to run them. Values that change are parameters (`bindparam`).
_NOW: BindParameter[Any] = bindparam("now", type_=Double)
_AHEAD: BindParameter[Any] = bindparam("ahead", type_=Double)
_PRIORITY: BindParameter[Any] = bindparam("of_priority")
_OWNER: BindParameter[Any] = bindparam("of_owner")
_ENDED = or_(jobs.c.lease < _NOW, jobs.c.lease > _AHEAD)
"""Its lease has ended; or the clock was set back."""


def _mine(training: bool) -> Any:
    return jobs.c.priority == TRAINING if training else jobs.c.priority != TRAINING


def _ready(training: bool) -> Any:
    """Its pause is over; or the clock was set back, and it would be longer than any pause."""
    return or_(jobs.c.not_before <= _NOW, jobs.c.not_before > _NOW + (USED_UP if training else RETRY))


@cache
def _waiting(training: bool) -> tuple[Select[Any], ...]:
    """Any job that is ready, any whose lease has ended."""
    one = select(jobs.c.id).where(jobs.c.priority == _PRIORITY).limit(1)
    return one.where(_QUEUED, _ready(training)), one.where(_RUNNING, _ENDED)


@cache
def _lost_job(training: bool) -> Select[Any]:
    """A running job whose lease has ended, and that isn't doubted or was so for long enough."""
    sure = or_(jobs.c.lease == 0.0, jobs.c.doubted <= _NOW - DOUBT)
    new = or_(jobs.c.doubted.is_(None), jobs.c.doubted > _NOW)
    return (
        select(jobs, owners.c.generation)
        .join(owners, owners.c.id == jobs.c.owner)
        .where(_RUNNING, _mine(training), _ENDED, or_(sure, new))
        .order_by(jobs.c.lease)
        .limit(1)
        .with_for_update(skip_locked=True, of=jobs)
    )


@cache
def _turns(training: bool) -> tuple[Select[Any], Select[Any]]:
    """Owner and number of running jobs of the next turn: of an owner without running jobs, which an index gives; and of
    one with the fewest that is under its limit."""
    mine = and_(turns.c.priority == _PRIORITY, turns.c.waiting)
    runs = select(jobs.c.id).where(_RUNNING, _mine(training), jobs.c.owner == turns.c.owner).exists()
    most = func.coalesce(owners.c.limits["jobs_running"].as_float(), bindparam("most", type_=Integer))
    running = (
        select(jobs.c.owner, func.count().label("count"), func.max(most).label("most"))
        .join(owners, owners.c.id == jobs.c.owner)
        .where(_RUNNING, _mine(training))
        .group_by(jobs.c.owner)
    ).subquery()
    queries = (
        select(turns.c.owner, literal_column("0").label("running")).where(mine, ~runs).order_by(turns.c.served),
        select(turns.c.owner, running.c.count.label("running"))
        .join(running, running.c.owner == turns.c.owner)
        .where(mine, running.c.count < running.c.most)
        .order_by(running.c.count, turns.c.served),
    )
    first, second = (query.limit(1).with_for_update(skip_locked=True, of=turns) for query in queries)
    return first, second


@cache
def _oldest_job(training: bool) -> Select[Any]:
    """The owner's oldest job that is ready; its `running` says how many of the owner's jobs run now."""
    running = select(func.count()).select_from(jobs).where(_RUNNING, _mine(training), jobs.c.owner == _OWNER)
    return (
        select(jobs, owners.c.generation, running.correlate(None).scalar_subquery().label("running"))
        .join(owners, owners.c.id == jobs.c.owner)
        .where(_QUEUED, jobs.c.priority == _PRIORITY, jobs.c.owner == _OWNER, _ready(training))
        .order_by(jobs.c.created, jobs.c.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=jobs)
    )


_ANY_JOB = select(jobs.c.id).where(_QUEUED, jobs.c.priority == _PRIORITY, jobs.c.owner == _OWNER).limit(1)
_THE_TURN = and_(turns.c.owner == _OWNER, turns.c.priority == _PRIORITY)
_END_TURNS = turns.update().where(_THE_TURN).values(waiting=False)
_COUNT_TURN = turns.update().where(_THE_TURN).values(served=_NOW)
_DOUBT = jobs.update().where(jobs.c.id == bindparam("job")).values(doubted=_NOW)
_TAKE = (
    jobs.update()
    .where(jobs.c.id == bindparam("job"))
    .values(
        state="running",
        worker=bindparam("claimer"),
        token=bindparam("proof"),
        lease=bindparam("until"),
        started=func.coalesce(jobs.c.started, _NOW),
        doubted=None,
        attempts=jobs.c.attempts + 1,
        strikes=jobs.c.strikes + 1,
        events=jobs.c.events + 1,
    )
)


def _lost(connection: Connection, now: float, settings: ServerSettings, training: bool) -> Row[Any] | None:
    """A running job whose worker is dead, or can't reach the database; now locked."""
    values = {"now": now, "ahead": now + settings.lease + AHEAD}
    while (row := connection.execute(_lost_job(training), values).first()) is not None:
        if row.lease == 0.0 or (row.doubted is not None and row.doubted <= now):
            return row
        connection.execute(_DOUBT, {"job": row.id, "now": now})
    return None


def _settled(connection: Connection, now: float, row: Row[Any], settings: ServerSettings) -> bool:
    """Whether a lost job is over, or paused, instead of going on."""
    mine = jobs.c.id == row.id
    if row.cancel and not row.result:  # a training that has something keeps it when it is cancelled
        return queue.end(connection, now, row, mine, "cancelled", settings)
    if row.strikes >= settings.tries:
        return queue.end(connection, now, row, mine, "failed", settings, error=_poisoned(row.strikes))
    return row.not_before == NEVER and queue.set_paused(connection, now, row.id, mine)


def _next(connection: Connection, now: float, settings: ServerSettings, training: bool) -> Row[Any] | None:
    """The next queued job; it and its turn are now locked."""
    priorities = _priorities(training)
    if not training and random.random() < settings.batch_share:
        priorities = (BATCH, INTERACTIVE)
    for priority in priorities:
        passed: list[str] = []
        while (turn := _turn(connection, settings, training, priority, passed)) is not None:
            mine = {"now": now, "of_priority": priority, "of_owner": turn.owner}
            row = connection.execute(_oldest_job(training), mine).first()
            if row is not None and row.running == turn.running:
                connection.execute(_COUNT_TURN, mine)
                return row
            if row is None:  # there is none, or each pauses before it is tried again
                passed.append(turn.owner)
                if connection.scalar(_ANY_JOB, mine) is None:
                    connection.execute(_END_TURNS, mine)
            # else another claim was faster with a job of this owner, and it may no longer be the next
    return None


def _turn(
    connection: Connection, settings: ServerSettings, training: bool, priority: int, passed: list[str]
) -> Row[Any] | None:
    """The next turn but those that were `passed`; now locked."""
    for query in _turns(training):
        if passed:
            query = query.where(turns.c.owner.not_in(passed))
        row = connection.execute(query, {"of_priority": priority, "most": settings.jobs_running}).first()
        if row is not None:
            return row
    return None


def _taken(connection: Connection, now: float, row: Row[Any], worker: str, settings: ServerSettings) -> Claimed:
    token = new_id("t")
    values = {"job": row.id, "claimer": worker, "proof": token, "until": now + settings.lease, "now": now}
    connection.execute(_TAKE, values)
    note = Note("state", {"state": "running", "attempt": row.attempts + 1})
    queue.insert_events(connection, row.id, row.events + 1, now, [note])
    return Claimed(
        row.id,
        row.owner,
        row.generation,
        row.kind,
        row.name,
        row.request,
        row.song,
        row.voice,
        token,
        row.attempts + 1,
        row.strikes + 1,
        row.result,
    )


def _poisoned(times: int) -> dict[str, str]:
    return {
        "code": "job-poisoned",
        "message": f"The work was started {times} times, and each time its process died before it got on.",
        "hint": "Try a shorter part of the song or another file; if that doesn't help, tell the server's operator.",
    }
