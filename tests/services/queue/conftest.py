"""A database of each kind, and settings for short leases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, text

from tests.support import postgres
from understudy.services.queue.database import Database
from understudy.services.queue.settings import ServerSettings


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    if postgres.programs() is None:
        pytest.skip("PostgreSQL isn't installed")
    with postgres.server() as socket:
        yield socket


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> ServerSettings:
    """Server settings with an empty database."""
    url = ""
    if request.param == "postgresql":
        socket = request.getfixturevalue("postgres_server")
        name = f"t{uuid4().hex[:12]}"
        engine = create_engine(postgres.url(socket), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        url = postgres.url(socket, name)
    return ServerSettings(data=tmp_path / "data", database=url, lease=3600, tries=3, workers=0)


@pytest.fixture
def database(settings: ServerSettings) -> Iterator[Database]:
    made = Database(settings.database_url)
    yield made
    made.close()
