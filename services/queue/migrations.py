"""Versions of the tables. A version is the number of the last file in `versions/` that was applied.

An empty database gets the tables as they are now. Older tables are changed by Alembic, one file after the other, in one
transaction: it makes all changes or none.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, select

from understudy.services.queue import tables

FOLDER = Path(__file__).with_name("versions")
BEFORE = "0000"
"""The version of tables that were made before there were migrations."""


def newest() -> str:
    """The version that this code works with."""
    return max(path.name.partition("_")[0] for path in FOLDER.glob("[0-9]*.py"))


def version(connection: Connection) -> str | None:
    """The version of the tables; None if there are none."""
    names = inspect(connection).get_table_names()
    if tables.version.name in names:
        return connection.scalar(select(tables.version.c.version_num))
    return BEFORE if tables.owners.name in names else None


def create(connection: Connection) -> None:
    """Make the tables in an empty database."""
    tables.metadata.create_all(connection)
    connection.execute(tables.version.insert().values(version_num=newest()))
    connection.execute(tables.schema.insert().values(version=tables.REFUSED))


def upgrade(connection: Connection) -> None:
    """Bring older tables to the `newest` version."""
    # imported here: it takes half a second, and is needed once per release
    from alembic.migration import MigrationContext
    from alembic.operations import Operations
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(FOLDER, version_locations=[str(FOLDER)])
    context = MigrationContext.configure(connection)
    missing = list(script.iterate_revisions("head", context.get_current_revision() or "base"))
    for change in reversed(missing):
        with Operations.context(context):
            change.module.upgrade()
        context.stamp(script, change.revision)
