"""Upgrades of databases that earlier releases made, on SQLite and on PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, func, inspect, select, text

from tests.support import old_database
from understudy.errors import UnderstudyError
from understudy.services.queue import claims, jobs, migrations, tables
from understudy.services.queue.database import Database
from understudy.services.queue.settings import ServerSettings


@pytest.fixture
def old(settings: ServerSettings) -> str:
    """The URL of a database of the release before there were migrations."""
    settings.data.mkdir(parents=True)
    old_database.make(settings.database_url)
    return settings.database_url


def counts(url: str) -> dict[str, int]:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = {
            name: connection.scalar(text(f"SELECT count(*) FROM {name}")) for name in inspect(engine).get_table_names()
        }
    engine.dispose()
    return found


def differences(database: Database) -> list:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return compare_metadata(context, tables.metadata)


def test_an_older_database_is_refused_until_it_is_upgraded(old: str):
    before = counts(old)
    with pytest.raises(UnderstudyError) as refused:
        Database(old)
    assert refused.value.code == "database-version"
    assert "understudy database upgrade" in refused.value.hint
    assert counts(old) == before
    Database(old, upgrade=True).close()
    Database(old).close()
    after = counts(old)
    assert {name: after[name] for name in before} == before


def test_an_upgraded_database_has_the_tables_of_a_new_one(old: str):
    database = Database(old, upgrade=True)
    assert differences(database) == []
    with database.read() as connection:
        assert migrations.version(connection) == migrations.newest()
        assert connection.scalar(select(tables.schema.c.version)) == 2  # earlier releases refuse it
    database.close()


def test_work_goes_on_after_an_upgrade(old: str, settings: ServerSettings):
    database = Database(old, upgrade=True)
    taken = []
    while job := claims.claim(database, "w1", settings):
        taken.append(job.id)
        jobs.finish(database, job, settings, {"files": {}}, 0, [])
    assert sorted(taken) == ["cover_batch", "cover_lost", "cover_next", "separation_bea"]
    training = claims.claim(database, "w2", settings, training=True)
    assert training is not None
    assert training.id == "training_next"
    with database.write() as connection:
        jobs.resume(connection, database.now(connection), "training_paused")
    resumed = claims.claim(database, "w3", settings, training=True)
    assert resumed is not None
    assert (resumed.id, resumed.result) == ("training_paused", {"step": 10})
    database.close()


def test_a_failing_change_leaves_everything_as_it_was(old: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    folder = tmp_path / "versions"
    folder.mkdir()
    for file in migrations.FOLDER.glob("[0-9]*.py"):
        (folder / file.name).write_text(file.read_text("utf-8"), "utf-8")
    broken = (
        'from alembic import op\nrevision, down_revision = "9999", "{}"\n\n\ndef upgrade():\n    op.execute("{}")\n'
    )
    (folder / "9999_broken.py").write_text(broken.format(migrations.newest(), "UPDATE nothing SET x = 1"), "utf-8")
    before = counts(old)
    monkeypatch.setattr(migrations, "FOLDER", folder)
    with pytest.raises(Exception, match="nothing"):
        Database(old, upgrade=True)
    assert counts(old) == before
    monkeypatch.undo()
    Database(old, upgrade=True).close()


def test_a_newer_database_is_refused(database: Database):
    with database.write() as connection:
        connection.execute(tables.version.update().values(version_num="9999"))
    for upgrade in (False, True):
        with pytest.raises(UnderstudyError) as refused:
            Database(database.url, upgrade)
        assert refused.value.code == "database-version"
        assert "newer" in refused.value.hint


def test_upgrades_and_new_databases_at_once(old: str, settings: ServerSettings):
    with ThreadPoolExecutor(4) as pool:
        for database in pool.map(lambda _: Database(old, upgrade=True), range(4)):
            with database.read() as connection:
                assert connection.scalar(select(func.count()).select_from(tables.version)) == 1
            database.close()


def test_the_files_are_numbered_in_their_order():
    numbers = [path.name.partition("_")[0] for path in sorted(migrations.FOLDER.glob("[0-9]*.py"))]
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]
