import json
import os
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
from filelock import FileLock

from understudy.audio import Audio
from understudy.audio.pitch import PitchTrack
from understudy.audio.stored import write_blocks
from understudy.errors import Cancelled, UnderstudyError
from understudy.pipeline.store import Artifact, Store
from understudy.voices.transpose import Transposition

KEY = "ab" * 20


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def make(store: Store, key: str, value: object) -> Artifact:
    with store.making(key, Event()):
        return store.seal(key, Artifact("stage", "cpu", 1.5, ("a warning",), (), value))


def test_every_kind_of_value_comes_back(store: Store):
    sound = Audio.of(np.random.default_rng(0).normal(size=(2, 1000)), 8000)
    track = PitchTrack(np.array([0, 220.5, 440], np.float32), 0.01)
    chosen = Transposition(12, 1, "because", ("too high",))
    with store.making(KEY, Event()) as folder:
        value = {
            "sound": write_blocks(folder / "sound.npy", 8000, 2, [sound]),
            "pitch": track,
            "chosen": chosen,
            "curve": np.arange(3.0),
            "file": folder / "sound.npy",
            "$": {"$": 1},
            "figures": [1, 2.5, None, True, "text", {"deep": float("-inf")}],
        }
        made = store.seal(KEY, Artifact("stage", "cpu", 1.5, ("a warning",), (), value)).value
    for found in (made, store.load(KEY).value):
        assert np.array_equal(found["sound"].read().samples, sound.samples)
        assert np.array_equal(found["pitch"].f0, track.f0)
        assert found["pitch"].hop == track.hop
        assert found["chosen"] == chosen
        assert np.array_equal(found["curve"], np.arange(3.0))
        assert found["file"].read_bytes()
        assert found["$"] == {"$": 1}
        assert found["figures"] == (1, 2.5, None, True, "text", {"deep": float("-inf")})
    assert store.load(KEY).warnings == ("a warning",)


def test_nothing_stays_of_work_that_fails(store: Store):
    with pytest.raises(RuntimeError), store.making(KEY, Event()) as folder:
        (folder / "half.npy").write_bytes(b"half")
        raise RuntimeError
    assert not store.has(KEY)
    assert list((store.root / "making").iterdir()) == []


def test_leftovers_of_the_dead_are_removed_and_those_of_the_living_are_not(store: Store):
    for key in ("dead", "living"):
        folder = store.root / "making" / key
        folder.mkdir()
        (folder / "big.npy").write_bytes(b"0" * 100)
    with FileLock(store.root / "locks" / "living.lock"):
        Store(store.root)
        assert [folder.name for folder in (store.root / "making").iterdir()] == ["living"]


def test_two_makers_of_one_key_make_it_once(store: Store):
    made = []

    def work() -> None:
        with store.making(KEY, Event()):
            if not store.has(KEY):
                made.append(store.seal(KEY, Artifact("stage", "cpu", 0.0, (), (), 1)))

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_waiting_for_another_maker_can_be_cancelled(store: Store):
    cancelled = Event()
    cancelled.set()
    with FileLock(store.root / "locks" / f"{KEY}.lock"), pytest.raises(Cancelled), store.making(KEY, cancelled):
        pass


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"stage": 1}', "\x00"])
def test_a_damaged_artifact_is_named(store: Store, damage: str):
    make(store, KEY, 1)
    (store.folder(KEY) / "artifact.json").write_text(damage)
    with pytest.raises(UnderstudyError) as raised:
        store.load(KEY)
    assert raised.value.code == "artifact-unreadable"
    assert KEY in raised.value.message


def test_pruning_removes_the_longest_unused_first(store: Store):
    keys = [f"{number:02d}" * 20 for number in range(4)]
    for number, key in enumerate(keys):
        make(store, key, "x" * 1000)

        os.utime(store.folder(key) / "artifact.json", (number, number))
    store.load(keys[0])  # a use: now it is the youngest
    each = store.size() // 4
    store.prune(2 * each)
    assert [key for key in keys if store.has(key)] == [keys[0], keys[3]]
    store.prune(0, spare=3600)
    assert [key for key in keys if store.has(key)] == [keys[0]], "what is in use stays"
    store.prune(0)
    assert not any(map(store.has, keys))


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UnderstudyError) as raised:
        Store(blocked / "cache")
    assert raised.value.code == "cache-not-writable"


def test_artifacts_are_plain_files(store: Store):
    make(store, KEY, {"a": 1})
    record = json.loads((store.folder(KEY) / "artifact.json").read_text())
    assert record == {
        "stage": "stage",
        "value": {"a": 1},
        "device": "cpu",
        "seconds": 1.5,
        "warnings": ["a warning"],
        "voices": [],
    }


def test_a_voices_artifacts_can_be_removed_and_no_others(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for key, voices in (("a" * 40, ("nova",)), ("b" * 40, ("ada", "nova")), ("c" * 40, ("ada",)), ("d" * 40, ())):
        with store.making(key, Event()):
            store.seal(key, Artifact("convert", "cpu", 0.1, (), voices, 1.0))
    assert store.remove_voices({"nova"}) == 2
    assert [store.has(letter * 40) for letter in "abcd"] == [False, False, True, True]
