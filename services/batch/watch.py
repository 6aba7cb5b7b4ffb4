"""Watching folders: what comes into them is covered as soon as it is complete."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from understudy.services.batch.chart import Chart, Row

PAUSE = 2.0
"""Seconds between two looks. A file that didn't change from one to the next is complete."""

Stamp = tuple[int, int]


@dataclass(frozen=True)
class _Seen:
    row: Row
    stamp: Stamp | None


def watch(
    read: Callable[[], Chart], make: Callable[[tuple[Row, ...]], object], cancelled: Event, pause: float = PAUSE
) -> None:
    """Until `cancelled` is set, call `make` with the rows of `read()` whose songs are new, or changed, and complete.

    A problem of the chart as a whole, such as an empty folder, is no error here: it may be gone at the next look.
    """
    made: dict[tuple[str, str], _Seen] = {}
    before: dict[Path, Stamp | None] = {}
    while not cancelled.is_set():
        rows = read().rows
        stamps = {row.song: _stamp(row.song) for row in rows if row.song}
        fresh = []
        for row in rows:
            seen = _Seen(row, stamps[row.song] if row.song else None)
            place = (row.source, f"{row.singers} {dict(row.swept)}")
            complete = row.song is None or (row.song in before and before[row.song] == seen.stamp)
            if complete and made.get(place) != seen:
                made[place] = seen
                fresh.append(row)
        before = stamps
        if fresh:
            make(tuple(fresh))
        cancelled.wait(pause)


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
