"""Lists of jobs, narrowed to what is searched, on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from understudy.services.api.jobs import Search, listed
from understudy.services.api.problems import ApiError
from understudy.services.queue import jobs as queue
from understudy.services.queue.database import Database
from understudy.services.queue.owners import Owner, ensure_owner
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.tables import jobs

ALL = ("cover", "separation")


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def test_jobs_are_found_by_all_that_is_asked(tmp_path: Any, database_url: str):
    database = Database(ServerSettings(data=tmp_path, database=database_url).database_url)
    ada, bea = (Owner(ensure_owner(database, name), name, frozenset(), {}) for name in ("ada", "bea"))
    with database.write() as connection:
        for number in range(8):
            request = {"inputs": {"vocals": f"song_{number % 2}"}, "singers": {"nova": "voice_1"} if number > 3 else {}}
            queue.submit(
                connection,
                float(number),
                ada.id if number < 7 else bea.id,
                "separation" if number == 2 else "cover",
                name=f"Straße {number}% of_it",
                request=request,
                metadata={"order": str(number), "shop": "north:1"} if number else None,
            )
        connection.execute(jobs.update().where(jobs.c.created.in_((3.0, 6.0))).values(state="failed"))
    app: Any = SimpleNamespace(database=database)

    def found(kinds: tuple[str, ...] = ALL, state: str | None = None, owner: Owner = ada, **search: Any) -> list[int]:
        numbers: list[int] = []
        cursor = None
        while True:  # each page begins where the one before ended
            page = listed(app, owner, kinds, state, Search(**search), cursor, 2, lambda row: int(row.created))
            numbers += page.items
            cursor = page.next
            if cursor is None:
                return numbers

    assert found() == [6, 5, 4, 3, 2, 1, 0]
    assert found(("separation",)) == [2]
    assert found(state="failed") == [6, 3]
    assert found(song="song_1") == [5, 3, 1]
    assert found(voice="voice_1") == [6, 5, 4]
    assert found(metadata=["shop:north:1"]) == [6, 5, 4, 3, 2, 1]
    assert found(metadata=["shop:north:1", "order:4"]) == [4]
    assert found(state="failed", metadata=["shop:north:1"], song="song_0") == [6]
    assert found(text="STRASSE") == [6, 5, 4, 3, 2, 1, 0]
    assert found(text="5% OF_") == [5]
    assert found(text="5%_of") == []
    assert found(since=moment(2), until=moment(5), metadata=["shop:north:1"]) == [4, 3, 2]
    assert found(owner=bea, metadata=["shop:north:1"]) == [7]
    assert found(owner=bea, song="song_0") == []
    with pytest.raises(ApiError, match="no voice"):
        found(voice="nova")
    with database.write() as connection:
        connection.execute(jobs.delete().where(jobs.c.created == 5.0))
    assert found(voice="voice_1") == [6, 4]
    database.close()
