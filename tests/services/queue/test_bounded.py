"""Work in a process of its own: what hostile files do stays there."""

from __future__ import annotations

import os
import signal
import time
from threading import Event, Timer

import pytest

from understudy.errors import Cancelled, UnderstudyError
from understudy.services.queue import bounded

MIB = 1 << 20


def double(progress, value: int) -> int:
    progress(0.5)
    return 2 * value


def refuse(progress) -> None:
    raise UnderstudyError("not-audio", "No sound.", "Give sound.")


def stumble(progress) -> None:
    raise KeyError("surprise")


def crash(progress) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(progress) -> None:
    time.sleep(60)


def swell(progress) -> int:
    return len(bytearray(800 * MIB))


def call(function, *arguments, **more):
    return bounded.call(function, *arguments, **{"seconds": 20, "memory": 400 * MIB, **more})


def test_answers_errors_and_progress():
    told: list[float] = []
    assert call(double, 21, progress=told.append) == 42
    assert told == [0.5]
    with pytest.raises(UnderstudyError, match="No sound") as caught:
        call(refuse)
    assert caught.value.code == "not-audio"


@pytest.mark.parametrize(
    ("function", "why"), [(stumble, "KeyError"), (crash, "broke"), (swell, "memory"), (hang, "2 s")]
)
def test_what_passes_the_bounds_costs_one_error(function, why: str):
    begun = time.monotonic()
    with pytest.raises(UnderstudyError, match=why) as caught:
        call(function, seconds=2)
    assert caught.value.code == "file-too-costly"
    assert time.monotonic() - begun < 15


def test_it_can_be_cancelled():
    cancelled = Event()
    Timer(0.3, cancelled.set).start()
    with pytest.raises(Cancelled):
        call(hang, cancelled=cancelled)


def test_readers_that_stay_are_replaced_after_a_failure():
    readers = bounded.Readers(1, 400 * MIB, most_calls=3)
    try:
        assert [readers.call(double, n, seconds=20) for n in range(7)] == [0, 2, 4, 6, 8, 10, 12]
        for function in (crash, stumble, swell):
            with pytest.raises(UnderstudyError) as caught:
                readers.call(function, seconds=20)
            assert caught.value.code == "file-too-costly"
            assert readers.call(double, 4, seconds=20) == 8
        with pytest.raises(UnderstudyError, match="more than 1 s"):
            readers.call(hang, seconds=1)
        assert readers.call(double, 5, seconds=20) == 10
    finally:
        readers.close()
