"""A database that isn't up yet."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import postgres
from tests.support.command import HANGS, until
from understudy.errors import UnderstudyError
from understudy.services.queue.database import Database, open_when_up


@pytest.mark.slow
@pytest.mark.skipif(postgres.programs() is None, reason="PostgreSQL isn't installed")
def test_servers_and_workers_wait_for_a_database_that_isnt_up_yet(caplog: pytest.LogCaptureFixture):
    with postgres.server() as folder, ThreadPoolExecutor(1) as pool:
        postgres.control(folder, "stop")
        with pytest.raises(UnderstudyError, match="can't be reached"):
            Database(postgres.url(folder))
        opened = pool.submit(open_when_up, postgres.url(folder))
        until(lambda: "waiting for the database: " in caplog.text)
        postgres.control(folder, "start")
        opened.result(HANGS).close()


def test_a_file_that_cant_be_opened_is_not_waited_for(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UnderstudyError, match="can't be reached"):
        open_when_up(f"sqlite:///{tmp_path / 'folder'}")
