"""Claims: which worker gets which job.

Order. Each owner with queued jobs has a turn. The next job is of the owner with the fewest running jobs, among these of
the one who was served longest ago, and of this owner the oldest: one owner's thousand jobs don't delay another owner's
single one. No owner has more jobs running than its limit `jobs_running`. Turns are per priority: interactive jobs come
first, but a share of the claims (`ServerSettings.batch_share`) looks for a batch job first, so that batches get on.

Locks. A claim locks a turn and a job, and skips what others have locked (``FOR UPDATE SKIP LOCKED``): it waits for
nobody, so claims neither queue up nor can be part of a deadlock, and no row that requests lock is touched. On
PostgreSQL one statement, sent alone, finds the job and takes it. What it can't decide is done in steps, as always on
SQLite, which has one write lock.

Lost jobs. A job whose lease has ended is claimed before queued ones. Clocks may jump, and machines may sleep: then
leases end although their workers live. So a lease that seems to have ended is first marked as doubted; a worker that
lives renews it within seconds, which removes the mark.

Poisoned jobs. A job may kill its worker each time (a file that exhausts memory). Starts without a finished stage are
counted; after `ServerSettings.tries` of them the job fails as ``job-poisoned``.
"""

from __future__ import annotations

import random
from functools import cache
from typing import Any, Literal

from sqlalchemy import (
    CTE,
    JSON,
    BindParameter,
    Boolean,
    Connection,
    Double,
    Integer,
    Row,
    Select,
    Update,
    and_,
    bindparam,
    cast,
    extract,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    union_all,
)

from understudy.services.queue import jobs as queue
from understudy.services.queue.database import Database
from understudy.services.queue.jobs import BATCH, INTERACTIVE, NEVER, RETRY, TRAINING, USED_UP, Claimed, Note
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.tables import events, jobs, new_id, owners, turns

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
    priorities = _priorities(training)
    if not training and random.random() < settings.batch_share:
        priorities = (BATCH, INTERACTIVE)
    taking: dict[str, Any] = {"claimer": worker, "proof": new_id("t"), "lasting": settings.lease}
    values = {**taking, "slack": settings.lease + AHEAD, "most": settings.jobs_running}
    if database.is_sqlite:
        if not waits(database, settings, training):
            return None  # idle workers leave its one write lock alone
    else:
        with database.statement() as connection:
            first = {**values, "of_priority": priorities[0], "lost_first": True}
            taken = connection.execute(_search(training, passing=False, at_once=True), first).one()
        if taken.id is not None:
            return _claimed(taken, taken.generation)
    lost_first = True
    while True:
        with database.write() as connection:
            now = database.now(connection)
            taking, values = taking | {"now": now}, values | {"now": now}
            found = _next(connection, values | {"lost_first": lost_first}, taking, priorities, training)
            if found != "lost":
                return found
            row = connection.execute(_lost_job(training), values).first()
            if row is None:  # others see to it
                lost_first = False
            elif row.lease != 0.0 and (row.doubted is None or row.doubted > now):
                connection.execute(_DOUBT, {"job": row.id, "now": now})
            elif not _settled(connection, now, row, settings):
                return _taken(connection, row, taking)


def waits(database: Database, settings: ServerSettings, training: bool = False) -> bool:
    """Whether there is a job that could be claimed."""
    with database.read() as connection:
        values = {"now": database.now(connection), "slack": settings.lease + AHEAD}
        return any(
            connection.scalar(query, {**values, "of_priority": priority}) is not None
            for priority in _priorities(training)
            for query in _waiting(training)
        )


def _priorities(training: bool) -> tuple[int, ...]:
    return (TRAINING,) if training else (INTERACTIVE, BATCH)


# The statements are built once: that takes longer than to run them. Values that change are parameters (`bindparam`).
_NOW: BindParameter[Any] = bindparam("now", type_=Double)
_SLACK: BindParameter[Any] = bindparam("slack", type_=Double)
_PRIORITY: BindParameter[Any] = bindparam("of_priority")
_OWNER: BindParameter[Any] = bindparam("of_owner")
_CLOCK = cast(extract("epoch", func.statement_timestamp()), Double)
"""`_NOW` on PostgreSQL for one statement, which need not ask for it before."""


def _ended(now: Any) -> Any:
    """Its lease has ended; or the clock was set back."""
    return or_(jobs.c.lease < now, jobs.c.lease > now + _SLACK)


def _mine(training: bool) -> Any:
    return jobs.c.priority == TRAINING if training else jobs.c.priority != TRAINING


def _ready(training: bool, now: Any) -> Any:
    """Its pause is over; or the clock was set back, and it would be longer than any pause."""
    return or_(jobs.c.not_before <= now, jobs.c.not_before > now + (USED_UP if training else RETRY))


@cache
def _waiting(training: bool) -> tuple[Select[Any], ...]:
    """Any job that is ready, any whose lease has ended."""
    one = select(jobs.c.id).where(jobs.c.priority == _PRIORITY).limit(1)
    return one.where(_QUEUED, _ready(training, _NOW)), one.where(_RUNNING, _ended(_NOW))


def _is_lost(training: bool, now: Any) -> Any:
    """Its lease has ended, and that isn't doubted or was so for long enough."""
    sure = or_(jobs.c.lease == 0.0, jobs.c.doubted <= now - DOUBT)
    new = or_(jobs.c.doubted.is_(None), jobs.c.doubted > now)
    return and_(_RUNNING, _mine(training), _ended(now), or_(sure, new))


@cache
def _lost_job(training: bool) -> Select[Any]:
    return (
        select(jobs, owners.c.generation)
        .join(owners, owners.c.id == jobs.c.owner)
        .where(_is_lost(training, _NOW))
        .order_by(jobs.c.lease)
        .limit(1)
        .with_for_update(skip_locked=True, of=jobs)
    )


@cache
def _search(training: bool, passing: bool, at_once: bool) -> Select[Any]:
    """Finds the next job, and takes it if `at_once` (on PostgreSQL). One row: whether there is a lost job, which comes
    first; else the owner whose turn it is, whether that is still so, and the job. `passing`: not the turns of the
    owners `passed`."""
    now = _CLOCK if at_once else _NOW
    some = select(jobs.c.id).where(_is_lost(training, now)).exists()
    lost = select(and_(bindparam("lost_first", type_=Boolean), some).label("is_lost"))
    there = lost.cte("lost")
    turn = _turn(training, passing, there)
    queued = (
        select(jobs.c.id)
        .where(_QUEUED, jobs.c.priority == _PRIORITY, _ready(training, now))
        .where(jobs.c.owner == select(turn.c.owner).where(turn.c.fresh).scalar_subquery())
        .order_by(jobs.c.created, jobs.c.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=jobs)
        .cte("queued")
    )
    found = select(there.c.is_lost, turn.c.owner.label("turn"), turn.c.fresh)
    if not at_once:
        both = there.outerjoin(turn, true()).outerjoin(queued, true()).outerjoin(owners, owners.c.id == turn.c.owner)
        return found.add_columns(queued.c.id, owners.c.generation).select_from(both)
    taken = _take(select(queued.c.id).scalar_subquery(), now).cte("taken")
    what = func.json_build_object("state", "running", "attempt", taken.c.attempts, type_=JSON)
    told = select(taken.c.id, taken.c.events, now, literal("state"), what)
    return (
        found.add_columns(*taken.c, owners.c.generation)
        .select_from(
            there.outerjoin(turn, true()).outerjoin(taken, true()).outerjoin(owners, owners.c.id == taken.c.owner)
        )
        .add_cte(
            events.insert().from_select(["job", "number", "at", "type", "data"], told).cte("told"),
            _serve(select(taken.c.owner).scalar_subquery(), now).cte("served"),
        )
    )


def _turn(training: bool, passing: bool, lost: CTE) -> CTE:
    """The next turn: of an owner without running jobs, which an index gives; else of one with the fewest that is under
    its limit. It is `fresh` unless it was another claim's in the moment before it was locked."""
    mine = and_(turns.c.priority == _PRIORITY, turns.c.waiting, ~select(lost.c.is_lost).scalar_subquery())
    if passing:
        mine = and_(mine, turns.c.owner.not_in(bindparam("passed", expanding=True)))
    runs = select(jobs.c.id).where(_RUNNING, _mine(training), jobs.c.owner == turns.c.owner).exists()
    free = (
        select(turns.c.owner, turns.c.served)
        .where(mine, ~runs)
        .order_by(turns.c.served)
        .limit(1)
        .with_for_update(skip_locked=True, of=turns)
        .cte("free")
    )
    most = func.coalesce(owners.c.limits["jobs_running"].as_float(), bindparam("most", type_=Integer))
    running = (
        select(jobs.c.owner, func.count().label("count"), func.max(most).label("most"))
        .join(owners, owners.c.id == jobs.c.owner)
        .where(_RUNNING, _mine(training))
        .group_by(jobs.c.owner)
        .subquery("running")
    )
    fewest = (
        select(turns.c.owner, turns.c.served)
        .join(running, running.c.owner == turns.c.owner)
        .where(mine, running.c.count < running.c.most, ~select(free.c.owner).exists())
        .order_by(running.c.count, turns.c.served)
        .limit(1)
        .with_for_update(skip_locked=True, of=turns)
        .cte("fewest")
    )
    # a locked row is read as it is now, `seen` as it was when the statement began
    locked = union_all(select(free), select(fewest)).cte("locked")
    seen = turns.alias("seen")
    return (
        select(locked.c.owner, (seen.c.served == locked.c.served).label("fresh"))
        .join(seen, and_(seen.c.owner == locked.c.owner, seen.c.priority == _PRIORITY))
        .cte("turn")
    )


def _take(job: Any, now: Any) -> Update:
    """Takes the job with that id."""
    return (
        jobs.update()
        .where(jobs.c.id == job, or_(_QUEUED, _RUNNING))
        .values(
            state="running",
            worker=bindparam("claimer"),
            token=bindparam("proof"),
            lease=now + bindparam("lasting", type_=Double),
            started=func.coalesce(jobs.c.started, now),
            doubted=None,
            attempts=jobs.c.attempts + 1,
            strikes=jobs.c.strikes + 1,
            events=jobs.c.events + 1,
        )
        .returning(
            *(jobs.c[name] for name in ("id", "owner", "kind", "name", "request", "song", "voice", "token")),
            *(jobs.c[name] for name in ("attempts", "strikes", "result", "events")),
        )
    )


def _serve(owner: Any, now: Any) -> Update:
    """Puts the owner's turn behind those of all others."""
    return turns.update().where(turns.c.owner == owner, turns.c.priority == _PRIORITY).values(served=now)


_TAKE, _SERVE = _take(bindparam("job"), _NOW), _serve(_OWNER, _NOW)
_ANY_JOB = select(jobs.c.id).where(_QUEUED, jobs.c.priority == _PRIORITY, jobs.c.owner == _OWNER).limit(1)
_END_TURNS = turns.update().where(turns.c.owner == _OWNER, turns.c.priority == _PRIORITY).values(waiting=False)
_DOUBT = jobs.update().where(jobs.c.id == bindparam("job")).values(doubted=_NOW)


def _settled(connection: Connection, now: float, row: Row[Any], settings: ServerSettings) -> bool:
    """Whether a lost job is over, or paused, instead of going on."""
    if row.cancel and not row.result:  # a training that has something keeps it when it is cancelled
        return queue.end(connection, now, row, "lost", "cancelled")
    if row.strikes >= settings.tries:
        return queue.end(connection, now, row, "lost", "failed", error=_poisoned(row.strikes))
    return row.not_before == NEVER and queue.set_paused(connection, now, row.id, jobs.c.id == row.id)


def _next(
    connection: Connection,
    values: dict[str, Any],
    taking: dict[str, Any],
    priorities: tuple[int, ...],
    training: bool,
) -> Claimed | Literal["lost"] | None:
    """The next queued job, now claimed; or that there is a lost one, which comes first."""
    for priority in priorities:
        passed: list[str] = []
        while True:
            mine = values | {"of_priority": priority} | ({"passed": passed} if passed else {})
            row = connection.execute(_search(training, bool(passed), at_once=False), mine).one()
            if row.is_lost:
                return "lost"
            if row.turn is None:
                break
            turn = {"of_owner": row.turn, "of_priority": priority}
            if row.id is not None:
                connection.execute(_SERVE, turn | {"now": values["now"]})
                return _taken(connection, row, taking)
            if row.fresh:  # it has no job, or each pauses before it is tried again
                passed.append(row.turn)
                if connection.scalar(_ANY_JOB, turn) is None:
                    connection.execute(_END_TURNS, turn)
    return None


def _taken(connection: Connection, found: Row[Any], taking: dict[str, Any]) -> Claimed:
    row = connection.execute(_TAKE, taking | {"job": found.id}).one()
    note = Note("state", {"state": "running", "attempt": row.attempts})
    queue.insert_events(connection, row.id, row.events, taking["now"], [note])
    return _claimed(row, found.generation)


def _claimed(row: Row[Any], generation: int) -> Claimed:
    return Claimed(
        row.id,
        row.owner,
        generation,
        row.kind,
        row.name,
        row.request,
        row.song,
        row.voice,
        row.token,
        row.attempts,
        row.strikes,
        row.result,
    )


def _poisoned(times: int) -> dict[str, str]:
    return {
        "code": "job-poisoned",
        "message": f"The work was started {times} times, and each time its process died before it got on.",
        "hint": "Try a shorter part of the song or another file; if that doesn't help, tell the server's operator.",
    }
