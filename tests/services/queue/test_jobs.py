"""The queue on SQLite and on PostgreSQL: who gets which job, and that each ends once whatever dies."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select

from understudy.errors import UnderstudyError
from understudy.pipeline.executor import StageRun
from understudy.services.queue import claims, jobs, owners
from understudy.services.queue.database import Database
from understudy.services.queue.jobs import Claimed, Note
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.tables import counters, deliveries, events
from understudy.services.queue.tables import jobs as table


def submit(database: Database, owner: str = "ada", priority: int = 0, **more: object) -> str:
    id = owners.ensure_owner(database, owner)
    values: dict[str, Any] = {"name": "song", "request": {}, "priority": priority, **more}
    with database.write() as connection:
        return jobs.submit(connection, database.now(connection), id, "cover", **values)


def claim(database: Database, settings: ServerSettings, worker: str = "w1") -> Claimed:
    found = claims.claim(database, worker, settings)
    assert found is not None
    return found


def row(database: Database, id: str):
    with database.read() as connection:
        return connection.execute(select(table).where(table.c.id == id)).one()


def told(database: Database, id: str) -> list[tuple[int, str, str]]:
    query = select(events).where(events.c.job == id).order_by(events.c.number)
    with database.read() as connection:
        return [(event.number, event.type, event.data["state"]) for event in connection.execute(query)]


def let_lease_end(database: Database, id: str) -> None:
    """As if the worker had been silent for longer than its lease, and for as long as that is doubted."""
    with database.write() as connection:
        values = {"lease": database.now(connection) - 1, "doubted": 1.0}
        connection.execute(table.update().where(table.c.id == id).values(**values))


def make_due(database: Database, id: str) -> None:
    """As if the pause before the next try were over."""
    with database.write() as connection:
        connection.execute(table.update().where(table.c.id == id).values(not_before=0.0))


def test_a_job_from_its_submission_to_its_end(database, settings):
    id = submit(database)
    job = claim(database, settings)
    assert (job.id, job.attempts, job.failures) == (id, 1, 1)
    assert claims.claim(database, "w2", settings) is None
    assert jobs.renew(database, job, settings) == "held"
    jobs.record(database, job, [Note("stage", {"state": "finished", "stage": "decode"})], "separate", 0.3)
    assert (row(database, id).fraction, row(database, id).strikes) == (0.3, 0)
    stages = [StageRun("encode x", "encode", 2.0, False, "cpu", ())]
    assert jobs.finish(database, job, settings, {"files": {}}, 10, stages)
    assert (row(database, id).state, row(database, id).bytes) == ("done", 10)
    assert [state for _, _, state in told(database, id)] == ["queued", "running", "finished", "done"]
    assert [number for number, _, _ in told(database, id)] == [1, 2, 3, 4]
    with database.read() as connection:
        found = {(tally.name, tally.label): tally.number for tally in connection.execute(select(counters))}
    assert found == {("job", "cover done"): 1, ("stage", "encode"): 1}


def test_a_lost_lease_ends_nothing(database, settings):
    id = submit(database)
    first = claim(database, settings)
    let_lease_end(database, id)
    second = claim(database, settings, "w2")
    assert (second.id, second.attempts) == (id, 2)
    assert jobs.renew(database, first, settings) == "lost"
    assert not jobs.finish(database, first, settings, {}, 0, [])
    assert not jobs.confirm_cancelled(database, first, settings)
    assert jobs.fail(database, first, settings, UnderstudyError("x", "y", "z"), 0) == "lost"
    jobs.release(database, first)
    assert row(database, id).state == "running"
    assert jobs.finish(database, second, settings, {}, 0, [])
    assert [state for _, _, state in told(database, id)].count("done") == 1


def test_a_dead_workers_jobs_are_free_at_once(database, settings):
    submit(database)
    claim(database, settings, "w1")
    assert jobs.abandon(database, "w2") == 0
    assert jobs.abandon(database, "w1") == 1
    assert claim(database, settings, "w2").attempts == 2


def test_a_poisoned_job_stops_with_the_reason(database, settings):
    id = submit(database)
    for _ in range(settings.tries):
        claim(database, settings)
        jobs.abandon(database, "w1")
    assert claims.claim(database, "w1", settings) is None
    assert row(database, id).state == "failed"
    assert row(database, id).error["code"] == "job-poisoned"
    assert str(settings.tries) in row(database, id).error["message"]


def test_a_job_that_gets_on_is_never_poisoned(database, settings):
    submit(database)
    for _ in range(settings.tries * 3):
        job = claim(database, settings)
        jobs.record(database, job, [Note("stage", {"state": "finished", "stage": "decode"})], None, 0.1)
        jobs.abandon(database, "w1")
    assert claim(database, settings).attempts == settings.tries * 3 + 1


def test_passing_troubles_are_tried_again_but_not_for_ever(database, settings):
    id = submit(database)
    trouble = UnderstudyError("disk-full", "The disk is full.", "Wait.")
    for attempt in range(settings.tries):
        job = claim(database, settings)
        last = attempt == settings.tries - 1
        assert jobs.fail(database, job, settings, trouble, 60) == ("over" if last else "again")
        assert row(database, id).state == ("failed" if last else "queued")
        make_due(database, id)
    assert row(database, id).error["code"] == "disk-full"


def test_a_retry_waits(database, settings):
    submit(database)
    jobs.fail(database, claim(database, settings), settings, UnderstudyError("disk-full", "a", "b"), 60)
    assert claims.claim(database, "w1", settings) is None


def test_cancelling(database, settings):
    waiting, running = submit(database), submit(database)
    assert claim(database, settings).id == waiting
    waiting, running = running, waiting
    job = Claimed(running, "", 0, "cover", "", {}, None, None, row(database, running).token, 1, 1)
    for id in (waiting, running):
        with database.write() as connection:
            found = connection.execute(select(table).where(table.c.id == id)).one()
            jobs.cancel(connection, database.now(connection), found)
    assert row(database, waiting).state == "cancelled"
    assert row(database, running).state == "running"
    assert jobs.renew(database, job, settings) == "cancelled"
    assert jobs.confirm_cancelled(database, job, settings)
    assert row(database, running).state == "cancelled"


def test_a_cancelled_job_whose_worker_dies_is_cancelled(database, settings):
    id = submit(database)
    claim(database, settings)
    with database.write() as connection:
        found = connection.execute(select(table).where(table.c.id == id)).one()
        jobs.cancel(connection, database.now(connection), found)
    jobs.abandon(database, "w1")
    assert claims.claim(database, "w2", settings) is None
    assert row(database, id).state == "cancelled"


def test_interactive_before_batch_and_owners_in_turn(database, settings):
    batch = [submit(database, "ada", 1) for _ in range(2)]
    ada = [submit(database, "ada") for _ in range(3)]
    bea = [submit(database, "bea") for _ in range(2)]
    order = []
    for _ in range(7):
        job = claim(database, settings)
        order.append(job.id)
        jobs.finish(database, job, settings, {}, 0, [])
    assert order == [ada[0], bea[0], ada[1], bea[1], ada[2], *batch]


def test_who_has_fewest_jobs_running_comes_first(database, settings):
    ada = [submit(database, "ada") for _ in range(3)]
    first, second = claim(database, settings), claim(database, settings)
    assert [first.id, second.id] == ada[:2]
    bea = [submit(database, "bea") for _ in range(2)]
    assert [claim(database, settings).id for _ in range(3)] == [bea[0], bea[1], ada[2]]


@pytest.mark.slow
def test_many_workers_at_once_take_each_job_once(database, settings):
    ids = {submit(database, f"owner {number % 3}") for number in range(30)}
    taken: Counter[str] = Counter()

    def work(worker: int) -> list[str]:
        found = []
        while job := claims.claim(database, f"w{worker}", settings):
            assert jobs.finish(database, job, settings, {}, 0, [])
            found.append(job.id)
        return found

    with ThreadPoolExecutor(6) as pool:
        for found in pool.map(work, range(6)):
            taken.update(found)
    assert taken == Counter(ids)


def test_a_stopped_worker_puts_its_job_back_unharmed(database, settings):
    id = submit(database)
    for _ in range(settings.tries * 2):
        jobs.release(database, claim(database, settings))
    assert (row(database, id).state, row(database, id).strikes) == ("queued", 0)


def test_the_end_is_told_once(database, settings):
    submit(database, webhook="https://example.org/hook")
    job = claim(database, settings)
    jobs.finish(database, job, settings, {}, 0, [])
    jobs.finish(database, job, settings, {}, 0, [])
    with database.read() as connection:
        found = connection.execute(select(deliveries)).all()
    assert [(delivery.job, delivery.state) for delivery in found] == [(job.id, "waiting")]
    assert '"type":"cover.done"' in found[0].body
