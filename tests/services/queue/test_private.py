"""The files of a server: nobody but its user reads them, and no password is in the list of processes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import own_mask, run_here, without_settings
from understudy.errors import UnderstudyError
from understudy.services.queue.private import keep_private
from understudy.services.queue.settings import ServerSettings, load
from understudy.services.queue.storage import Storage

pytestmark = pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")


@pytest.fixture(autouse=True)
def mask() -> Iterator[None]:
    with own_mask():
        yield


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folder_database_and_songs_are_private(tmp_path: Path):
    data, elsewhere = tmp_path / "data", tmp_path / "songs"
    data.mkdir(mode=0o755)  # as earlier releases made it
    done = run_here(tmp_path, without_settings(), "keys", "create", "--owner", "ada", "--data", str(data))
    assert done.returncode == 0, done.stderr
    assert mode(data) == 0o700
    assert {mode(path) for path in data.rglob("*") if path.is_file()} == {0o600}
    (tmp_path / "song").write_bytes(b"song")
    keep_private(data)
    for folder in ("", str(elsewhere)):
        storage = Storage(folder, {}, data)
        storage.put(tmp_path / "song", "own_1/songs/song_1")
        stored = storage.fetch("own_1/songs/song_1")
        assert (mode(stored), mode(stored.parent)) == (0o600, 0o700)
    assert mode(elsewhere) == 0o700


def test_a_folder_that_all_may_write_to_stays_as_it_is(tmp_path: Path):
    tmp_path.chmod(0o1777)
    keep_private(tmp_path)
    assert mode(tmp_path) == 0o1777


@pytest.mark.parametrize(
    "option",
    [
        ("--database", "postgresql+psycopg://ada:hunter2@db/covers"),
        ("--database", "postgresql+psycopg://ada@db/covers?password=hunter2"),
        ("--storage", "ftp://ada:hunter2@files/covers"),
    ],
)
def test_a_password_among_the_options_is_refused(tmp_path: Path, option: tuple[str, str]):
    for command in (["worker"], ["serve"]):
        done = run_here(tmp_path, without_settings(UNDERSTUDY_SERVER_DATA=str(tmp_path)), *command, *option)
        assert done.returncode == 1
        assert f"UNDERSTUDY_SERVER_{option[0][2:].upper()}_FILE" in done.stderr
        assert "hunter2" not in done.stderr + done.stdout


def test_a_setting_in_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "secret").write_text("postgresql+psycopg://ada:hunter2@db/covers\n")
    monkeypatch.setenv("UNDERSTUDY_SERVER_DATABASE_FILE", str(tmp_path / "secret"))
    assert load().database == "postgresql+psycopg://ada:hunter2@db/covers"
    monkeypatch.setenv("UNDERSTUDY_SERVER_DATABASE", "sqlite:///nearer")
    assert load().database == "sqlite:///nearer"
    assert ServerSettings().database == ""
    monkeypatch.setenv("UNDERSTUDY_SERVER_STORAGE_FILE", str(tmp_path / "none"))
    with pytest.raises(UnderstudyError) as caught:
        load()
    assert caught.value.code == "server-config-unreadable"
