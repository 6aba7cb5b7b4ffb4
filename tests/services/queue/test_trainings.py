"""Trainings in the queue: workers of their own, pausing, counted minutes, few events, and what stays on disk."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
from sqlalchemy import select

from understudy.errors import UnderstudyError
from understudy.services.queue import claims, housekeeping, jobs, owners
from understudy.services.queue.database import Database
from understudy.services.queue.jobs import Claimed, Note
from understudy.services.queue.progress import Progress
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.storage import Storage
from understudy.services.queue.tables import events, voices
from understudy.services.queue.tables import jobs as table
from understudy.services.serving import training_devices
from understudy.voices.training.events import TrainingEvent


def submit(database: Database, kind: Any = "training", **more: object) -> str:
    id = owners.ensure_owner(database, "ada")
    values: dict[str, Any] = {"name": "nova", "request": {}, "priority": 0, **more}
    with database.write() as connection:
        return jobs.submit(connection, database.now(connection), id, kind, **values)


def claim(database: Database, settings: ServerSettings) -> Claimed:
    found = claims.claim(database, "w1", settings, training=True)
    assert found is not None
    return found


def row(database: Database, id: str):
    with database.read() as connection:
        return connection.execute(select(table).where(table.c.id == id)).one()


def pause(database: Database, id: str) -> None:
    with database.write() as connection:
        jobs.pause(connection, database.now(connection), id)


def resume(database: Database, id: str) -> None:
    with database.write() as connection:
        jobs.resume(connection, database.now(connection), id)


def told(database: Database, id: str) -> list[tuple[str, Any]]:
    query = select(events).where(events.c.job == id).order_by(events.c.number)
    with database.read() as connection:
        return [(event.type, event.data.get("state") or event.data.get("kind")) for event in connection.execute(query)]


def test_covers_and_trainings_have_workers_of_their_own(database, settings):
    training = submit(database)
    assert claims.waits(database, settings, training=True)
    assert claims.claim(database, "w", settings) is None
    cover = submit(database, "cover")
    assert claim(database, settings).id == training
    assert not claims.waits(database, settings, training=True)
    assert claims.claim(database, "w", settings, training=True) is None
    found = claims.claim(database, "w", settings)
    assert found is not None
    assert found.id == cover


def test_a_queued_training_pauses_at_once_and_goes_on_when_resumed(database, settings):
    id = submit(database)
    pause(database, id)
    assert row(database, id).state == "paused"
    assert claims.claim(database, "w", settings, training=True) is None
    resume(database, id)
    resume(database, id)
    assert claim(database, settings).id == id
    assert [state for _, state in told(database, id)] == ["queued", "paused", "queued", "running"]


def test_a_running_one_pauses_when_its_worker_has_seen_it(database, settings):
    id = submit(database)
    job = claim(database, settings)
    assert jobs.renew(database, job, settings) == "held"
    pause(database, id)
    assert (row(database, id).state, jobs.renew(database, job, settings)) == ("running", "paused")
    jobs.confirm_paused(database, job)
    assert (row(database, id).state, row(database, id).token) == ("paused", None)
    assert jobs.renew(database, job, settings) == "lost"


def test_a_pause_can_be_taken_back_before_it_was_seen(database, settings):
    id = submit(database)
    job = claim(database, settings)
    pause(database, id)
    resume(database, id)
    assert jobs.renew(database, job, settings) == "held"


@pytest.mark.parametrize("end", ["killed", "stopped", "failed"])
def test_a_pause_holds_whatever_happens_to_the_worker(database, settings, end):
    id = submit(database)
    job = claim(database, settings)
    pause(database, id)
    if end == "killed":
        assert jobs.abandon(database, "w1") == 1
        assert claims.claim(database, "w2", settings, training=True) is None
    elif end == "stopped":
        jobs.release(database, job)
    else:
        assert jobs.fail(database, job, settings, UnderstudyError("disk-full", "x", "y"), 5.0) == "again"
    assert row(database, id).state == "paused"
    resume(database, id)
    assert claim(database, settings).attempts == 2


def test_a_paused_one_can_be_cancelled(database, settings):
    id = submit(database)
    pause(database, id)
    with database.write() as connection:
        jobs.cancel(connection, database.now(connection), row(database, id))
    assert row(database, id).state == "cancelled"


def test_a_cancelled_one_that_has_something_is_claimed_again_to_keep_it(database, settings):
    kept, empty = submit(database), submit(database)
    for id, result in ((kept, {"best": 5}), (empty, None)):
        job = claim(database, settings)
        jobs.record(database, job, [Note("progress", {"state": "progress"})], "train", 0.1, result=result)
        with database.write() as connection:
            jobs.cancel(connection, database.now(connection), row(database, id))
    jobs.abandon(database, "w1")
    again = claim(database, settings)
    assert (again.id, again.result) == (kept, {"best": 5})
    assert claims.claim(database, "w2", settings, training=True) is None
    assert row(database, empty).state == "cancelled"
    assert jobs.renew(database, again, settings) == "cancelled"
    assert jobs.confirm_cancelled(database, again, settings, result={"best": 7}, bytes=3)
    assert (row(database, kept).state, row(database, kept).result) == ("cancelled", {"best": 7})


def test_one_whose_voice_was_deleted_is_over_at_once(database, settings):
    id = submit(database)
    job = claim(database, settings)
    with database.write() as connection:
        jobs.cancel(connection, database.now(connection), row(database, id), at_once=True)
    assert (row(database, id).state, jobs.renew(database, job, settings)) == ("cancelled", "lost")


def test_minutes_are_counted_and_bounded(database, settings):
    settings = settings.model_copy(update={"training_minutes_a_day": 10.0})
    id = submit(database)
    job = claim(database, settings)
    assert jobs.count_training(database, job, 6.0, settings)
    assert not jobs.count_training(database, job, 6.0, settings)
    with database.read() as connection:
        used = owners.usage(connection, job.owner, database.now(connection))
    assert (used["training_minutes_a_day"], used["trainings_queued"], used["minutes_a_day"]) == (12.0, 1.0, 0.0)
    jobs.put_off(database, job, 3600.0, UnderstudyError("minutes-used-up", "x", "y"))
    assert row(database, id).state == "queued"
    assert claims.claim(database, "w2", settings, training=True) is None


def test_of_its_steps_only_the_latest_event_stays(database, settings):
    id = submit(database)
    job = claim(database, settings)
    progress = Progress("training")
    for step in range(1, 6):
        progress.train(TrainingEvent("steps", step, 10, {"mel": float("nan"), "kl": 1 / 3}, None, None, 9.0))
        if step == 3:
            progress.train(TrainingEvent("evaluation", 3, 10, {}, {"similarity": 0.7}, 3))
        notes, stage, fraction = progress.take()
        jobs.record(database, job, notes, stage, fraction, **progress.so_far())
    assert told(database, id) == [
        ("state", "queued"),
        ("state", "running"),
        ("training", "evaluation"),
        ("progress", "progress"),
    ]
    found = row(database, id)
    assert (found.stage, found.strikes) == ("train", 0)
    assert found.result == {
        "step": 5,
        "of": 10,
        "losses": {"kl": 0.333333},
        "evaluation": {"similarity": 0.7},
        "best": 3,
        "seconds_left": 9.0,
    }


def test_a_state_on_disk_counts_as_getting_on(database, settings):
    id = submit(database)
    for _ in range(settings.tries + 2):
        job = claim(database, settings)
        progress = Progress("training", {}, job.result)
        progress.train(TrainingEvent("saved", 1, 10))
        progress.train(TrainingEvent("steps", 2, 10))
        notes, stage, fraction = progress.take()
        jobs.record(database, job, notes, stage, fraction, **progress.so_far())
        jobs.abandon(database, "w1")
    assert row(database, id).state == "running"


def test_what_goes_on_doesn_t_fall_back(database, settings):
    progress = Progress("training", {}, {"step": 50, "of": 100})
    progress.train(TrainingEvent("preparing", 0, 10))
    assert progress.take()[2] == pytest.approx(0.52)


def test_one_training_per_gpu(settings, monkeypatch):
    monkeypatch.setattr("understudy.services.serving.gpus", lambda: 2)
    assert training_devices(settings) == ["cuda:0", "cuda:1"]
    for more, devices in (
        ({"trainings": 3}, ["cuda:0", "cuda:1", "cuda:0"]),
        ({"trainings": 0}, []),
        ({"device": "cuda:1"}, ["cuda:1"]),
        ({"device": "cpu", "trainings": 2}, ["cpu", "cpu"]),
    ):
        assert training_devices(settings.model_copy(update=more)) == devices
    monkeypatch.setattr("understudy.services.serving.gpus", lambda: 0)
    assert training_devices(settings) == ["cpu"]


def test_folders_of_trainings_stay_as_long_as_something_may_go_on_from_them(database, settings):
    settings = settings.model_copy(update={"training_bytes": 150_000})
    storage = Storage("", {}, settings.data)
    id = owners.ensure_owner(database, "ada")
    folders = {}
    with database.write() as connection:
        for age, name in enumerate(("running", "fresh", "large", "old", "gone")):
            if name != "gone":
                about = {"id": name, "name": name, "folded": name, "state": "ready", "consent": "self", "path": name}
                connection.execute(voices.insert().values(owner=id, bytes=1, findings=[], created=0.0, **about))
            folders[name] = settings.data / "trainings" / f"{id}-0" / name
            run = folders[name] / "training" / "run"
            run.mkdir(parents=True)
            (run / "state.pt").write_bytes(bytes(50_000 if name != "large" else 140_000))
            at = time.time() - (age if name != "old" else settings.keep_trainings + 9)
            for path in (folders[name], folders[name] / "training", run):
                os.utime(path, (at, at))
    submit(database, voice="running")
    housekeeping.sweep_machine(database, storage, settings)
    assert [name for name, folder in folders.items() if folder.exists()] == ["running", "fresh"]
