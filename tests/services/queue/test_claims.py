"""Whose job comes next, on SQLite and on PostgreSQL: shares, limits, locks of others, and clocks that jump."""

from __future__ import annotations

import random
from functools import cache

import pytest
from sqlalchemy import select

from tests.services.queue.test_jobs import claim, make_due, row, submit
from understudy.errors import UnderstudyError
from understudy.services.queue import claims, housekeeping, jobs, owners
from understudy.services.queue.database import Database
from understudy.services.queue.tables import owners as owners_table
from understudy.services.queue.tables import turns

DAY = 86400.0


def set_clock(monkeypatch: pytest.MonkeyPatch, by: float) -> None:
    """As if the clock that all share had been set by so many seconds."""
    real, clock = Database.now, claims._CLOCK + by
    monkeypatch.setattr(Database, "now", lambda self, connection: real(self, connection) + by)
    monkeypatch.setattr(claims, "_CLOCK", clock)
    claims._search.cache_clear()
    monkeypatch.setattr(claims, "_search", cache(claims._search.__wrapped__))


def test_an_owner_without_jobs_comes_back(database, settings):
    for _ in range(2):
        id = submit(database)
        assert claim(database, settings).id == id
        assert claims.claim(database, "w1", settings) is None


def test_no_owner_has_more_jobs_running_than_allowed(database, settings):
    settings = settings.model_copy(update={"jobs_running": 2})
    ada = [submit(database, "ada") for _ in range(3)]
    bea = [submit(database, "bea") for _ in range(3)]
    owners.create_key(database, "bea", "", ["make"], {"jobs_running": 1})
    taken = [claim(database, settings) for _ in range(3)]
    assert sorted(job.id for job in taken) == sorted([ada[0], bea[0], ada[1]])
    assert claims.claim(database, "w1", settings) is None
    jobs.finish(database, next(job for job in taken if job.id == bea[0]), settings, {}, 0, [])
    assert claim(database, settings).id == bea[1]


def test_batches_get_their_share(database, settings):
    random.seed(1)
    settings = settings.model_copy(update={"batch_share": 0.25})
    for _ in range(60):
        submit(database, "ada")
        submit(database, "bea", jobs.BATCH)
    taken = [claim(database, settings) for _ in range(60)]
    batch = sum(row(database, job.id).priority == jobs.BATCH for job in taken)
    assert 8 <= batch <= 22  # 15 of 60 with this seed or any other one (99 %)
    for job in taken:
        jobs.finish(database, job, settings, {}, 0, [])
    rest = [claim(database, settings) for _ in range(60)]  # when one kind is used up, the other one gets everything
    assert claims.claim(database, "w1", settings) is None
    assert len({job.id for job in [*taken, *rest]}) == 120


def test_jobs_that_pause_before_they_are_tried_again_hold_up_nobody(database, settings):
    first = submit(database, "ada")
    jobs.fail(database, claim(database, settings), settings, UnderstudyError("disk-full", "a", "b"), 60)
    later = submit(database, "bea")
    assert claim(database, settings).id == later
    second = submit(database, "ada")
    assert claim(database, settings).id == second
    assert claims.claim(database, "w1", settings) is None
    make_due(database, first)
    assert claim(database, settings).id == first


def test_a_request_that_locks_its_owner_holds_up_no_claim(database, settings):
    if database.is_sqlite:
        pytest.skip("SQLite has one lock")
    ids = {submit(database, "ada"), submit(database, "bea")}
    mine = select(owners_table.c.id).where(owners_table.c.name == "ada").with_for_update()
    other = Database(database.url)
    with other.write() as connection:
        connection.execute(mine)
        assert {claim(database, settings).id, claim(database, settings).id} == ids
    other.close()


def test_a_worker_that_lives_keeps_its_job_when_its_lease_seems_to_have_ended(database, settings, monkeypatch):
    id = submit(database)
    job = claim(database, settings)
    set_clock(monkeypatch, DAY)  # or the machine of worker and database slept
    assert claims.claim(database, "w2", settings) is None
    assert row(database, id).doubted is not None
    assert jobs.renew(database, job, settings) == "held"
    assert row(database, id).doubted is None
    set_clock(monkeypatch, claims.DOUBT + 1)
    assert claims.claim(database, "w2", settings) is None


@pytest.mark.parametrize("by", [DAY, -DAY])
def test_a_dead_workers_job_is_claimed_soon_whatever_the_clock_does(database, settings, monkeypatch, by):
    id = submit(database)
    claim(database, settings)
    set_clock(monkeypatch, by)
    assert claims.claim(database, "w2", settings) is None
    set_clock(monkeypatch, claims.DOUBT + 1)
    assert claim(database, settings, "w2").id == id


@pytest.mark.parametrize("by", [DAY, -DAY])
def test_queued_jobs_wait_for_no_clock(database, settings, monkeypatch, by):
    first, second = submit(database), submit(database)
    jobs.fail(database, claim(database, settings), settings, UnderstudyError("disk-full", "a", "b"), 60)
    set_clock(monkeypatch, by)
    assert {claim(database, settings).id, claim(database, settings).id} == {first, second}


def test_owners_served_before_the_clock_was_set_back_are_not_the_last_for_long(database, settings, monkeypatch):
    for owner in ("ada", "bea"):
        for _ in range(3):
            submit(database, owner)
    jobs.finish(database, ada := claim(database, settings), settings, {}, 0, [])
    set_clock(monkeypatch, -DAY)
    housekeeping.sweep(database, settings)
    with database.read() as connection:
        now = database.now(connection)
        assert all(served <= now for served in connection.scalars(select(turns.c.served)))
    order = [ada.owner]
    for _ in range(5):
        order.append((job := claim(database, settings)).owner)
        jobs.finish(database, job, settings, {}, 0, [])
    assert [order.count(owner) for owner in set(order)] == [3, 3]
    assert order[0] != order[1]


def test_an_index_gives_an_owners_oldest_job(database):
    values = {"now": 1.0, "slack": 2.0, "of_priority": 0, "most": 1, "lost_first": True}
    query = claims._search(False, passing=False, at_once=False).params(values)
    with database.read() as connection:
        if not database.is_sqlite:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        text = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
        plan = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
        assert "jobs_queued" in str(connection.exec_driver_sql(plan + text).all())
