"""Kept loaded: once per key, whoever asks, and let go when memory is short."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import HANGS
from understudy.models import warm
from understudy.models.memory import available_memory, group_memory, machine_memory
from understudy.models.warm import KEEP_FREE, forget, release

MODULE = sys.modules["understudy.models.warm"]  # the package's attribute of that name is the function


class Thing:
    pass


@pytest.fixture(autouse=True)
def left(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int | None]]:
    """What `available_memory` says: the last of these."""
    said: list[int | None] = [1 << 40]
    monkeypatch.setattr(MODULE, "available_memory", lambda: said[-1] if len(said) == 1 else said.pop(0))
    forget()
    yield said
    forget()


def test_it_is_loaded_once():
    first = warm("a", Thing)
    assert warm("a", Thing) is first
    assert warm("b", Thing) is not first


def test_many_threads_load_once_and_different_keys_do_not_wait():
    loads: list[str] = []
    begun, go = threading.Event(), threading.Event()

    def slow() -> Thing:
        loads.append("a")
        begun.set()
        assert go.wait(HANGS)
        return Thing()

    got: list[Thing] = []
    threads = [threading.Thread(target=lambda: got.append(warm("a", slow))) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert begun.wait(HANGS)
    warm("b", Thing)  # while a is still loading
    go.set()
    for thread in threads:
        thread.join()
    assert loads == ["a"]
    assert len(got) == 8
    assert len(set(map(id, got))) == 1


def test_a_failure_reaches_the_caller_and_the_next_call_tries_again():
    def fails() -> Thing:
        raise OSError("no such file")

    with pytest.raises(OSError, match="no such file"):
        warm("a", fails)
    assert isinstance(warm("a", Thing), Thing)


@pytest.mark.slow
def test_the_least_recently_used_goes_first(left: list[int | None]):
    kept = {name: weakref.ref(warm(name, Thing)) for name in "abc"}
    warm("a", Thing)
    left[:] = [KEEP_FREE - 1, KEEP_FREE]  # short once: one goes
    warm("a", Thing)
    assert [name for name in "abc" if kept[name]() is None] == ["b"]


@pytest.mark.slow
def test_under_pressure_all_but_the_one_in_hand_go(left: list[int | None]):
    kept = {name: weakref.ref(warm(name, Thing)) for name in "abc"}
    left[:] = [0]
    last = warm("d", Thing)
    assert all(reference() is None for reference in kept.values())
    assert warm("d", Thing) is last


@pytest.mark.slow
def test_what_is_in_use_stays_alive(left: list[int | None]):
    used = warm("a", Thing)
    left[:] = [0]
    warm("b", Thing)
    assert isinstance(used, Thing)
    assert warm("a", Thing) is not used


def test_unknown_memory_frees_nothing(left: list[int | None]):
    first = warm("a", Thing)
    left[:] = [None]
    warm("b", Thing)
    assert warm("a", Thing) is first


@pytest.mark.slow
def test_release_says_whether_there_was_anything():
    warm("a", Thing)
    assert release()
    assert not release()


def test_memory_of_this_machine_is_plausible():
    found = available_memory()
    assert found is None or 0 <= found < 1 << 50


def test_linux_says_how_much_is_available(tmp_path: Path):
    (tmp_path / "meminfo").write_text("MemTotal: 2000 kB\nMemAvailable:    1234 kB\n")
    assert machine_memory(tmp_path / "meminfo") == 1234 * 1024


@pytest.mark.parametrize(("limit", "expected"), [("5000", 5000 - 3000 + 700 + 50), ("max", None), ("1000", 0)])
def test_a_containers_limit_counts(tmp_path: Path, limit: str, expected: int | None):
    group = tmp_path / "sys" / "app" / "job"
    group.mkdir(parents=True)
    (tmp_path / "cgroup").write_text("0::/app/job\n")
    (group.parent / "memory.max").write_text(limit + "\n")
    (group.parent / "memory.current").write_text("3000\n")
    (group.parent / "memory.stat").write_text("anon 2250\ninactive_file 700\nactive_file 50\n")
    if limit == "1000":
        (group.parent / "memory.stat").write_text("anon 3000\n")
    assert group_memory(tmp_path / "sys", tmp_path / "cgroup") == expected
