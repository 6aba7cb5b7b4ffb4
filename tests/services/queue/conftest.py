"""A database of each kind, and settings for short leases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from understudy.services.queue.database import Database
from understudy.services.queue.settings import ServerSettings


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> ServerSettings:
    """Server settings with an empty database."""
    return ServerSettings(data=tmp_path / "data", database=database_url, lease=3600, tries=3, workers=0, batch_share=0)


@pytest.fixture
def database(settings: ServerSettings) -> Iterator[Database]:
    made = Database(settings.database_url)
    yield made
    made.close()
