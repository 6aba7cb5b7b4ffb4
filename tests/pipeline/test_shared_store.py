"""The artifacts of several machines: each `SharedStore` here stands for a machine with copies of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from pathlib import Path
from threading import Event

import fsspec  # type: ignore[import-untyped]
import pytest

from tests.support import s3
from understudy.audio import Audio
from understudy.audio.stored import write_blocks
from understudy.errors import UnderstudyError
from understudy.pipeline.shared_store import SharedStore, StoreAddress, prune_copies
from understudy.pipeline.store import Artifact

KEY = "ab" * 20


class Machines:
    """Opens the store at `url` as machines do, each with its own folder."""

    def __init__(self, folder: Path, url: str, **options: object) -> None:
        self._folder, self.url, self._options = folder, url, options

    def __call__(self, name: str, owner: str = "", identity: str = "", patience: float = 300.0) -> SharedStore:
        address, copies = StoreAddress(self.url, self._options, owner, identity), self._folder / name
        return SharedStore(address, copies / "owners" / owner if owner else copies, copies / "models", patience)


@pytest.fixture
def machine(tmp_path: Path) -> Machines:
    return Machines(tmp_path, str(tmp_path / "shared"))


def make(store: SharedStore, key: str = KEY, frames: int = 100, voices: tuple[str, ...] = ()) -> None:
    with store.making(key, Event()) as folder:
        samples = [number / frames for number in range(frames)]
        (folder / "inner").mkdir()
        value = write_blocks(folder / "inner" / "sound.npy", 8000, 1, [Audio.of(samples, 8000)])
        store.seal(key, Artifact("stage", "cpu", 1.5, ("a warning",), voices, value))


def test_what_one_machine_makes_the_others_read(machine: Machines):
    make(machine("a"))
    b = machine("b")
    assert b.has(KEY)
    assert b.record(KEY).warnings == ("a warning",)
    assert not b.folder(KEY).exists(), "its record came without its sound"
    assert b.load(KEY).value.read().samples[0, 50] == 0.5
    assert b.folder(KEY).exists()
    assert list((b.root / "making").iterdir()) == []


def test_owners_share_nothing_but_models(machine: Machines, tmp_path: Path):
    make(machine("a", "ada"))
    assert not machine("a", "bob").has(KEY)
    file = tmp_path / "weights"
    file.write_bytes(b"weights")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    machine("a", "ada").send_file(file, sha256, model=True)
    machine("a", "ada").send_file(file, sha256)
    assert machine("b", "bob").file(sha256, "net.pth", model=True).read_bytes() == b"weights"
    with pytest.raises(UnderstudyError) as raised:
        machine("b", "bob").file(sha256, "song.mp3")
    assert raised.value.code == "storage-missing"


def test_all_of_an_owner_and_all_of_a_voice_can_be_removed(machine: Machines):
    for owner in ("ada", "bob"):
        make(machine("a", owner))
    make(machine("a"), voices=("nova",))
    make(machine("a"), "cd" * 20)
    assert sorted(machine("b").owners()) == ["ada", "bob"]
    machine("b").remove_owner("ada")
    assert (machine("b", "ada").has(KEY), machine("b", "bob").has(KEY)) == (False, True)
    assert machine("a").remove_voices({"nova"}) == 1
    assert [machine("a").has(key) for key in (KEY, "cd" * 20)] == [False, True]


def test_an_artifact_counts_when_all_of_it_is_there(machine: Machines):
    make(machine("a"))
    record = Path(machine.url) / "artifacts" / KEY[:2] / KEY / "artifact.json"
    record.unlink()  # the last that is written
    assert not machine("b").has(KEY)
    assert machine("a").has(KEY), "the machine that has all of it sends it again"
    assert machine("b").has(KEY)


def test_a_file_is_fetched_once_and_only_if_it_is_the_one_that_was_sent(machine: Machines, tmp_path: Path):
    song = tmp_path / "song"
    song.write_bytes(b"la")
    sha256 = hashlib.sha256(b"la").hexdigest()
    machine("a").send_file(song, sha256)
    stored = Path(machine.url) / "files" / sha256
    b = machine("b")
    found = b.file(sha256, "one.mp3")
    stored.write_bytes(b"lo")
    assert b.file(sha256, "one.mp3") == found
    assert b.file(sha256, "two.mp3").samefile(found), "another name for it"
    with pytest.raises(UnderstudyError) as raised:
        machine("c").file(sha256, "one.mp3")
    assert raised.value.code == "storage-damaged"
    assert list((machine("c").root / "files" / sha256).iterdir()) == []


def test_a_store_that_is_away_for_a_while_is_waited_for(machine: Machines, tmp_path: Path):
    make(machine("a"))
    b, impatient, away = machine("b"), machine("c", patience=0.3), tmp_path / "away"
    shutil.move(machine.url, away)
    with pytest.raises(UnderstudyError) as raised:
        impatient.has(KEY)
    assert raised.value.code == "storage-unavailable"
    threading.Timer(0.5, lambda: shutil.move(away, machine.url)).start()
    heard: list[str] = []
    with b.telling(heard.append):
        assert b.has(KEY), "what isn't mounted isn't empty"
        assert heard == ["The store of the cluster can't be reached; it is tried again."], "once, not at each try"


def test_a_machine_that_sees_another_folder_says_so(machine: Machines, tmp_path: Path):
    identity = machine("a").address.identity
    assert machine("b", identity=identity).address.identity == identity
    shutil.rmtree(machine.url)
    for _ in range(2):  # none is made there either
        with pytest.raises(UnderstudyError) as raised:
            machine("b", identity=identity)
        assert raised.value.code == "store-not-shared"


def test_copies_stay_under_their_limit_longest_unused_first(machine: Machines, tmp_path: Path):
    maker, owned = machine("a"), machine("a", "ada")
    for number in range(3):
        make(maker, f"{number:040d}")
        os.utime(maker.folder(f"{number:040d}") / "artifact.json", (number, number))
    make(owned, KEY)  # just used
    size = maker.size() // 3
    assert prune_copies(tmp_path / "a", 2 * size + 100) == pytest.approx(2 * size, abs=100)
    assert not maker.folder(f"{0:040d}").exists()
    assert maker.folder(f"{2:040d}").exists()
    prune_copies(tmp_path / "a", 0)
    assert owned.folder(KEY).exists(), "it is in use"
    assert maker.has(f"{0:040d}"), "the store keeps all"


@pytest.mark.slow
def test_an_object_store_does_the_same(tmp_path: Path):
    pytest.importorskip("s3fs")
    pytest.importorskip("moto.server")
    with s3.server() as address:
        options = {"key": "k", "secret": "s", "client_kwargs": {"endpoint_url": address}}
        fsspec.filesystem("s3", **options).mkdir("covers")
        machine = Machines(tmp_path, "s3://covers/understudy", **options)
        make(machine("a", "ada"))
        assert not machine("b").has(KEY)
        b = machine("b", "ada", identity=machine("a").address.identity)
        assert b.record(KEY).device == "cpu"
        assert b.load(KEY).value.read().samples[0, 50] == 0.5
        song = tmp_path / "song"
        song.write_bytes(b"la")
        sha256 = hashlib.sha256(b"la").hexdigest()
        machine("a", "ada").send_file(song, sha256)
        assert b.file(sha256, "song.mp3").read_bytes() == b"la"
