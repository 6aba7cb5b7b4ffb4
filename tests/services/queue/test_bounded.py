"""Work in a process of its own: what hostile files do stays there."""

from __future__ import annotations

import os
import signal
import time
from threading import Event, Timer

import pytest

from tests.support.command import HANGS
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
    time.sleep(10 * HANGS)  # longer than any test lasts: who comes back has not waited for it


def swell(progress) -> int:
    return len(bytearray(800 * MIB))


def call(function, *arguments, **more):
    return bounded.call(function, *arguments, **{"seconds": HANGS, "memory": 400 * MIB, **more})


def test_answers_errors_and_progress():
    told: list[float] = []
    assert call(double, 21, progress=told.append) == 42
    assert told == [0.5]
    with pytest.raises(UnderstudyError, match="No sound") as caught:
        call(refuse)
    assert caught.value.code == "not-audio"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "seconds", "why"),
    [(stumble, HANGS, "KeyError"), (crash, HANGS, "broke"), (swell, HANGS, "memory"), (hang, 1.0, "1 s")],
)
def test_what_passes_the_bounds_costs_one_error(function, seconds: float, why: str):
    with pytest.raises(UnderstudyError, match=why) as caught:
        call(function, seconds=seconds)
    assert caught.value.code == "file-too-costly"


def test_it_can_be_cancelled():
    cancelled = Event()
    Timer(0.3, cancelled.set).start()
    with pytest.raises(Cancelled):
        call(hang, cancelled=cancelled)


@pytest.mark.slow
def test_readers_that_stay_are_replaced_after_a_failure():
    readers = bounded.Readers(1, 400 * MIB, most_calls=3)
    try:
        assert [readers.call(double, n, seconds=HANGS) for n in range(7)] == [0, 2, 4, 6, 8, 10, 12]
        for function in (crash, stumble, swell):
            with pytest.raises(UnderstudyError) as caught:
                readers.call(function, seconds=HANGS)
            assert caught.value.code == "file-too-costly"
            assert readers.call(double, 4, seconds=HANGS) == 8
        with pytest.raises(UnderstudyError, match="more than 1 s"):
            readers.call(hang, seconds=1)
        assert readers.call(double, 5, seconds=HANGS) == 10
    finally:
        readers.close()
