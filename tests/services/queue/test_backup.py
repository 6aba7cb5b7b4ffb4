"""A backup as docs/api.md describes it, restored."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from sqlalchemy import make_url, select

from tests.services.queue.test_jobs import claim, submit
from tests.support import postgres
from understudy.services.queue import claims, jobs
from understudy.services.queue.database import Database
from understudy.services.queue.tables import events, metadata


def back_up_and_restore(url: str, folder: Path) -> str:
    """The URL of a database that was restored from a backup of the one at `url`, while that is in use."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.execute(f"VACUUM INTO '{folder / 'backup.sqlite3'}'")
        return f"sqlite:///{folder / 'backup.sqlite3'}"
    about, programs = make_url(url), postgres.programs()
    environment = {**os.environ, "PGHOST": str(about.query["host"]), "PGUSER": "postgres"}
    name = f"{about.database}_restored"
    for command in (
        ("pg_dump", "--format=custom", f"--file={folder / 'backup.dump'}", str(about.database)),
        ("createdb", name),
        ("pg_restore", "--exit-on-error", f"--dbname={name}", str(folder / "backup.dump")),
    ):
        subprocess.run([f"{programs}/{command[0]}", *command[1:]], env=environment, check=True)
    return postgres.url(str(about.query["host"]), name)


def test_a_backup_that_was_made_during_work_restores_all_of_it(database, settings, tmp_path):
    running, queued = submit(database, "ada"), submit(database, "bea")
    assert claim(database, settings, "w1").id == running
    restored = Database(back_up_and_restore(database.url, tmp_path))
    for table in metadata.sorted_tables:
        with database.read() as before, restored.read() as after:
            assert [*before.execute(select(table))] == [*after.execute(select(table))]
    assert claim(restored, settings, "w2").id == queued
    assert claims.claim(restored, "w2", settings) is None
    jobs.abandon(restored, "w1")  # its lease, which the backup holds, ends
    again = claim(restored, settings, "w2")
    assert (again.id, again.attempts) == (running, 2)
    assert jobs.finish(restored, again, settings, {}, 0, [])
    with restored.read() as connection:
        assert len(connection.execute(select(events).where(events.c.job == running)).all()) == 4
    restored.close()
