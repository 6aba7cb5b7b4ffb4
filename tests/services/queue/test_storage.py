"""The storage in a local folder and on an S3 server."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.support import s3
from understudy.errors import UnderstudyError
from understudy.services.queue.storage import Storage


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    if not all(importlib.util.find_spec(name) for name in ("moto", "s3fs", "flask")):
        pytest.skip("moto or s3fs isn't installed")
    with s3.server() as address:
        yield address


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return Storage("", {}, tmp_path)
    options = {"key": "k", "secret": "s", "endpoint_url": request.getfixturevalue("s3_server")}
    return Storage(f"s3://bucket-{uuid4().hex[:8]}/deep", options, tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 40)
    return path


def test_what_is_put_can_be_read(storage: Storage, file: Path):
    data = file.read_bytes()
    assert storage.put(file, "ada/songs/one") == len(data)
    assert storage.size("ada/songs/one") == len(data)
    assert b"".join(storage.read("ada/songs/one", 0, len(data))) == data
    assert b"".join(storage.read("ada/songs/one", 100, 300)) == data[100:300]
    assert storage.fetch("ada/songs/one").read_bytes() == data
    assert file.exists()
    storage.put(file, "ada/songs/two", move=True)
    assert not file.exists()
    assert {name for name, _ in storage.listed()} == {"ada/songs/one", "ada/songs/two"}


def test_an_address_that_is_signed(storage: Storage, file: Path):
    storage.put(file, "ada/songs/one")
    address = storage.signed("ada/songs/one", 60, "audio/flac", 'inline; filename="a.flac"')
    if "s3" not in storage._files.protocol:
        assert address is None
        return
    assert "Signature=" in str(address)
    got = httpx.get(str(address), headers={"Range": "bytes=10-19"})
    assert (got.status_code, got.content) == (206, file.read_bytes()[10:20])
    assert (got.headers["content-type"], got.headers["content-disposition"]) == (
        "audio/flac",
        'inline; filename="a.flac"',
    )


def test_what_others_have_stored_since_a_listing_is_seen(storage: Storage, file: Path):
    storage.put(file, "ada/uploads/one")
    assert len(list(storage.listed())) == 1
    address = storage.signed_for_put("ada/uploads/two", 60, file.stat().st_size)
    if "s3" not in storage._files.protocol:
        assert address is None
        return
    httpx.put(str(address), content=file.read_bytes()).raise_for_status()
    assert storage.size("ada/uploads/two") == file.stat().st_size
    storage.remove("ada/uploads/two")
    assert [name for name, _ in storage.listed()] == ["ada/uploads/one"]


def test_what_is_not_there(storage: Storage):
    assert storage.size("ada/none") is None
    storage.remove("ada/none")
    for ask in (lambda: storage.fetch("ada/none"), lambda: list(storage.read("ada/none", 0, 5))):
        with pytest.raises(UnderstudyError) as caught:
            ask()
        assert caught.value.code == "storage-missing"


def test_folders_are_removed_whole(storage: Storage, file: Path):
    for name in ("ada/jobs/a/cover.flac", "ada/jobs/a/stems/vocals.flac", "ada/jobs/ab/cover.flac", "bea/x"):
        storage.put(file, name)
    copy = storage.fetch("ada/jobs/a/cover.flac")
    storage.remove("ada/jobs/a")
    assert {name for name, _ in storage.listed()} == {"ada/jobs/ab/cover.flac", "bea/x"}
    assert not copy.exists()
    storage.remove("ada")
    assert {name for name, _ in storage.listed()} == {"bea/x"}


def test_no_name_leads_outside(storage: Storage, file: Path):
    for name in ("../x", "/etc/passwd", "a/../../x", ""):
        with pytest.raises(ValueError, match="not a name"):
            storage.put(file, name)


@pytest.mark.slow
def test_a_store_that_is_away_says_so(tmp_path: Path):
    pytest.importorskip("s3fs")
    options = {
        "key": "k",
        "secret": "s",
        "endpoint_url": "http://127.0.0.1:9",
        "config_kwargs": {"retries": {"max_attempts": 1}},
    }
    with pytest.raises(UnderstudyError) as caught:
        Storage("s3://bucket/x", options, tmp_path)
    assert caught.value.code == "storage-unavailable"
