"""``understudy keys rotate``, ``owners`` and ``audit``, from the operator's side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import run_here, without_settings
from understudy.services.queue.database import Database
from understudy.services.queue.owners import find_owner, key_id
from understudy.services.queue.settings import ServerSettings


@pytest.fixture
def answer(tmp_path: Path):
    """What a command answers as JSON; what it says where it has to fail."""

    def ask(*arguments: str, fails: bool = False) -> Any:
        done = run_here(tmp_path, without_settings(), *arguments, "--data", str(tmp_path / "data"), "--json")
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stderr if fails else json.loads(done.stdout)

    return ask


def test_a_rotated_key_ends_and_an_owner_goes(answer, tmp_path: Path):
    first = answer("keys", "create", "--owner", "ada", "--scopes", "read,make")["key"]
    answer("keys", "create", "--owner", "bea")
    second = answer("keys", "rotate", first, "--overlap", "0")["key"]
    listed = {one["id"]: one for one in answer("keys", "list")["keys"]}
    assert listed[key_id(second)]["scopes"] == listed[key_id(first)]["scopes"] == ["read", "make"]
    assert (listed[key_id(first)]["expires"] is None, listed[key_id(second)]["expires"]) == (False, None)
    database = Database(ServerSettings(data=tmp_path / "data").database_url)
    with database.read() as connection:
        assert find_owner(database, connection, first) is None
        found = find_owner(database, connection, second)
    assert found is not None
    assert (found.name, found.scopes) == ("ada", {"read", "make"})

    told = answer("audit", "--owner", "ada")["entries"]
    assert [(one["action"], one["key"]) for one in told] == [("create_key", "operator"), ("rotate_key", "operator")]
    assert len(answer("audit")["entries"]) == 3
    assert [one["action"] for one in answer("audit", "--limit", "1")["entries"]] == ["rotate_key"]

    assert [one["name"] for one in answer("owners", "list")["owners"]] == ["ada", "bea"]
    assert "no owner 'nobody'" in answer("owners", "delete", "nobody", fails=True)
    answer("owners", "delete", "ada")
    assert [one["name"] for one in answer("owners", "list")["owners"]] == ["bea"]
    with database.read() as connection:
        assert find_owner(database, connection, second) is None
    database.close()
    kept = answer("audit")["entries"]
    assert [one["action"] for one in kept][-2:] == ["delete_owner", "deleted"]
    assert "ada" not in {one["owner"] for one in kept}
    assert "no key 'nothing'" in answer("keys", "rotate", "nothing", fails=True)
    assert "3660 days" in answer("keys", "rotate", second, "--overlap", "-1", fails=True)
