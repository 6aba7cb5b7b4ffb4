"""An empty database of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, text

from tests.support import postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    if postgres.programs() is None:
        pytest.skip("PostgreSQL isn't installed")
    with postgres.server() as socket:
        yield socket


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The setting `database`: empty for SQLite."""
    return "" if request.param == "sqlite" else new_database(request.getfixturevalue("postgres_server"))


def new_database(socket: str) -> str:
    """The URL of an empty database of the PostgreSQL server whose socket is in that folder."""
    name = f"t{uuid4().hex[:12]}"
    engine = create_engine(postgres.url(socket), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return postgres.url(socket, name)
