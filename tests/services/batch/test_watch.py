"""When a watched file is covered."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Event

from understudy.services.batch.chart import Chart, Row, read_chart
from understudy.services.batch.watch import watch


def test_a_file_is_covered_once_it_stays_as_it_is(tmp_path: Path) -> None:
    cancelled, looks, made = Event(), 0, []

    def write(name: str, size: int) -> None:
        (tmp_path / name).write_bytes(b"x" * size)
        os.utime(tmp_path / name, ns=(looks, looks))

    def read() -> Chart:
        nonlocal looks
        looks += 1
        if looks <= 3:
            write("growing.wav", looks)  # complete at the third look, seen unchanged at the fourth
        if looks == 6:
            write("growing.wav", 9)  # another file under the same name
        if looks == 9:
            cancelled.set()
        return read_chart([str(tmp_path)], ["nova"])

    def make(rows: tuple[Row, ...]) -> None:
        made.append((looks, [row.source for row in rows]))

    write("there.wav", 1)
    watch(read, make, cancelled, pause=0.0)
    assert made == [(2, ["there.wav"]), (4, ["growing.wav"]), (7, ["growing.wav"])]


def test_an_empty_folder_is_waited_for(tmp_path: Path) -> None:
    cancelled = Event()

    def read() -> Chart:
        cancelled.set()
        return read_chart([str(tmp_path)], ["nova"])

    watch(read, lambda rows: None, cancelled, pause=0.0)
