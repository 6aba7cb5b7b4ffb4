"""A database as the release before there were migrations made it, with some rows."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import create_engine

FOLDER = Path(__file__).with_name("version_1")


def make(url: str) -> None:
    """Make its tables and rows in the empty database at `url`."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for file in (f"{engine.dialect.name}.sql", "rows.sql"):
            for statement in (FOLDER / file).read_text("utf-8").split(";\n"):
                connection.exec_driver_sql(statement)
    engine.dispose()
