"""Running a batch: several covers at once, here or on a server; each song is separated once for all its voices."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Lock
from typing import Any, Literal

from understudy.errors import Cancelled, UnderstudyError
from understudy.jobs import CoverJob, Runner, make_cover
from understudy.pipeline.cast import Cast
from understudy.pipeline.executor import Executor, StageEvent
from understudy.pipeline.graph import Graph, label
from understudy.pipeline.journal import Journal
from understudy.services.batch.chart import Singers
from understudy.services.batch.plan import FoundVoice, Item, Maker
from understudy.services.batch.timing import StageTimes, Work


@dataclass(frozen=True)
class Outcome:
    """How one cover ended. Loudness in LUFS, `true_peak` in dBTP, `transpose` in semitones, `bpm` and `song_key` of the
    song, `similarity` of the new vocal to the voice (cosine, -1..1), `seconds` of wall time in this batch; None where
    there is none. `verdict` and `grade` (0 to 100) of the report. `reason`: of the verdict, or of the failure, whose
    `code` there is, too. The table has these columns, in this order."""

    identity: str
    song: str
    voice: str
    state: Literal["done", "failed"]
    cover: str = ""
    report: str = ""
    video: str = ""
    duration: float | None = None
    seconds: float = 0.0
    loudness: float | None = None
    song_loudness: float | None = None
    true_peak: float | None = None
    transpose: int | None = None
    bpm: float | None = None
    song_key: str | None = None
    similarity: float | None = None
    verdict: str = ""
    grade: float | None = None
    warnings: tuple[str, ...] = ()
    code: str = ""
    reason: str = ""


Listener = Callable[[Item, StageEvent | Outcome], None]
"""Gets the events of all items' stages, and the outcome of each item."""

Notify = Callable[[StageEvent], None]

_FATAL = ("disk-full", "output-not-writable", "cache-not-writable")
"""Errors that every further cover would meet, too."""


@dataclass(frozen=True)
class LocalMaker:
    """Makes covers with this program; they share the lanes of `executor`. `cast`: looks voices up in the library."""

    executor: Executor
    cast: Callable[[Singers], Cast]
    overwrite: bool
    times: StageTimes

    def find(self, singers: Singers) -> FoundVoice:
        cast = self.cast(singers)
        return FoundVoice(cast.name, cast.content_hash)

    def check(self, item: Item) -> Sequence[Work]:
        graph = self._job(item).graph.graph
        keys = graph.keys()
        stages = self._stages(graph)
        pending = graph.pending(graph.nodes, self.executor.store.has)
        return [Work(keys[node], stages[node.name], item.length) for node in pending]

    def make(self, item: Item, notify: Notify, stop: Event) -> Mapping[str, Any]:
        job = self._job(item)

        def listen(event: StageEvent) -> None:
            self.times.hear(item.identity, event)
            notify(event)

        result = make_cover(job, Runner(self.executor, listen, stop))
        self.times.add(item.identity, result.duration, self._stages(job.graph.graph))
        return result.to_dict()

    def _job(self, item: Item) -> CoverJob:
        return CoverJob(
            item.song, self.cast(item.row.singers), item.settings, output=item.output, overwrite=self.overwrite
        )

    def _stages(self, graph: Graph) -> dict[str, str]:
        """What `Work` calls each node of a graph."""
        device = self.executor.device
        return {
            node.name: f"{label(node.stage.name, node.subject)} on {device if node.stage.uses_gpu else 'cpu'}"
            for node in graph.nodes
        }


def run_batch(
    items: Sequence[Item],
    outcomes: dict[str, Outcome],
    maker: Maker,
    journal: Journal[Outcome],
    listener: Listener,
    cancelled: Event,
    at_once: int,
    between: Callable[[], object],
) -> None:
    """Make all `items`, `at_once` at a time, and go on after failures. `outcomes` gets the outcome of each by identity.

    Items that share a song don't run at once at first, since all of them would separate it: the first one runs alone;
    when it has ended, its stems are in the cache and the others follow. `between` is called after every cover. Raises
    `Cancelled`, and errors that every further cover would meet (a full disk); finished covers are in the journal.
    """
    ready: deque[Item] = deque()
    behind: dict[Path, list[Item]] = {}
    for item in items:
        if item.song in behind:
            behind[item.song].append(item)
        else:
            behind[item.song] = []
            ready.append(item)
    running: dict[Future[Outcome], Item] = {}
    stop = Event()
    lock = Lock()

    def end(item: Item) -> Outcome:
        def notify(event: StageEvent) -> None:
            if cancelled.is_set():
                stop.set()
            listener(item, event)

        outcome = _make(item, maker, notify, stop)
        with lock:
            journal.add(outcome)
        return outcome

    with ThreadPoolExecutor(at_once, "cover") as pool:
        try:
            while ready or running:
                while ready and len(running) < at_once and not cancelled.is_set():
                    item = ready.popleft()
                    running[pool.submit(end, item)] = item
                if cancelled.is_set():
                    raise Cancelled
                done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in done:
                    item = running.pop(future)
                    outcome = future.result()
                    outcomes[item.identity] = outcome
                    listener(item, outcome)
                    ready.extendleft(reversed(behind.pop(item.song, [])))
                    between()
        finally:
            stop.set()
            wait(running)
            between()


def _make(item: Item, maker: Maker, notify: Notify, stop: Event) -> Outcome:
    """Make one cover. A failure is an outcome, too, unless every further cover would meet it."""
    begun = time.monotonic()
    outcome = Outcome(item.identity, item.song.name, item.voice_name, "failed", duration=item.duration)
    try:
        made = maker.make(item, notify, stop)
        return replace(
            outcome,
            state="done",
            cover=made["cover"],
            report=made["report"],
            video=made.get("video", ""),
            seconds=time.monotonic() - begun,
            duration=made["duration"],
            song_loudness=made["loudness"]["song"],
            loudness=made["loudness"]["cover"],
            true_peak=made["loudness"]["true_peak"],
            transpose=made["transpose"],
            bpm=made.get("bpm"),  # an older server has none
            song_key=made.get("song_key"),
            similarity=made.get("similarity"),
            verdict=made["verdict"]["verdict"],
            grade=made["verdict"].get("grade"),
            reason=made["verdict"]["reason"],
            warnings=tuple(warning["warning"] for warning in made["warnings"]),
        )
    except Cancelled:
        raise
    except UnderstudyError as error:
        if error.code in _FATAL:
            raise
        return replace(outcome, code=error.code, reason=f"{error.message} {error.hint}")
    except Exception as error:  # whatever goes wrong with one cover, the others go on
        reason = f"Something unexpected went wrong: {type(error).__name__}: {error}"
        return replace(outcome, code="internal-error", reason=reason)


def remaining(
    items: Sequence[Item], before: Mapping[str, Outcome], only_failed: bool
) -> tuple[list[Item], dict[str, Outcome]]:
    """(items still to be made, outcomes of those that were made before and whose files still exist).

    With `only_failed` only those that were tried and failed are left.
    """
    done = {
        item.identity: outcome
        for item in items
        if (outcome := before.get(item.identity)) and outcome.state == "done" and Path(outcome.cover).is_file()
    }
    left = [item for item in items if item.identity not in done]
    if only_failed:
        left = [item for item in left if item.identity in before]
    return left, done
