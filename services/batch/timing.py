"""How long a batch will take, from the stages that ran on this machine before.

Stages of several covers run at once, so that their seconds sum to more than the batch takes. What is kept of a stage is
therefore its share of the batch's wall time; the shares of a batch sum to how long it took.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Lock

from pydantic import TypeAdapter, ValidationError

from understudy.pipeline.executor import StageEvent

_KEPT = 300  # covers
_NEAREST = 5  # measurements of which the median counts


@dataclass(frozen=True)
class Work:
    """A stage that is to be run: the `key` of what it makes, its name (with the device and, where there are several,
    its model), and the seconds of sound that it works on."""

    key: str
    stage: str
    length: float


@dataclass(frozen=True)
class StageShares:
    """The stages that one cover of `length` seconds ran, each with its share of the wall time in seconds, while up to
    `jobs` covers were made at once."""

    jobs: int
    length: float
    shares: Mapping[str, float]


_LINES = TypeAdapter(StageShares)


class StageTimes:
    """The file at `path` of what covers took, and what it says about others. Safe to use from several threads."""

    def __init__(self, path: Path, jobs: int = 1) -> None:
        self._path = path
        self._jobs = jobs
        self._lock = Lock()
        self.begin()

    def begin(self) -> None:
        """A run of covers begins now."""
        self._begun = time.monotonic()
        self._seconds: dict[tuple[str, str], float] = {}

    def hear(self, cover: str, event: StageEvent) -> None:
        """An event of a stage of `cover`, any text that tells the covers of this run apart."""
        with self._lock:
            if event.state not in ("cached", "delayed"):
                self._seconds[cover, event.node] = event.seconds

    def add(self, cover: str, length: float, stages: Mapping[str, str]) -> None:
        """Keep what the finished `cover` of `length` seconds took; `stages`: by node, the names of `Work`."""
        with self._lock:
            share = (time.monotonic() - self._begun) / max(sum(self._seconds.values()), 1e-9)
            taken: dict[str, float] = {}
            for (one, node), seconds in self._seconds.items():
                if one == cover and node in stages:
                    taken[stages[node]] = taken.get(stages[node], 0.0) + share * seconds
            if taken:
                with suppress(OSError):  # a full disk stops the batch elsewhere, not here
                    self._append(StageShares(self._jobs, length, taken))

    def _append(self, entry: StageShares) -> None:
        lines = self._path.read_bytes().splitlines() if self._path.is_file() else []
        lines = [*lines[1 - _KEPT :], _LINES.dump_json(entry)]
        part = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        part.write_bytes(b"\n".join(lines) + b"\n")
        part.replace(self._path)

    def _read(self) -> list[StageShares]:
        found = []
        for line in self._path.read_bytes().splitlines() if self._path.is_file() else ():
            try:
                found.append(_LINES.validate_json(line))
            except ValidationError:
                continue
        return found

    def estimate(self, works: Iterable[Work]) -> tuple[float, tuple[str, ...]]:
        """`estimate` by what covers took before."""
        return estimate(works, self._read(), self._jobs)


def estimate(works: Iterable[Work], measured: Sequence[StageShares], jobs: int = 1) -> tuple[float, tuple[str, ...]]:
    """(about how many seconds of wall time all `works` take together, those stages of which nothing is known).

    What several covers need is made once. Of each stage those of `measured`, the latest last, count whose covers were
    about as long, and only those with as many covers at once as `jobs` where there are any.
    """
    seconds, unknown = 0.0, {}
    for work in {work.key: work for work in works}.values():
        found = [one for one in measured if work.stage in one.shares]
        if not found:
            unknown[work.stage] = True
            continue
        found = [one for one in found if one.jobs == jobs] or found
        seconds += _expected(work, found)
    return seconds, tuple(unknown)


def _expected(work: Work, measured: Sequence[StageShares]) -> float:
    recent = list(reversed(measured))  # of equally long covers the latest
    nearest = sorted(recent, key=lambda one: abs(math.log(max(one.length, 0.1) / max(work.length, 0.1))))[:_NEAREST]
    return median(one.shares[work.stage] * work.length / max(one.length, 0.1) for one in nearest)
