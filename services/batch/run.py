"""Running a batch: several covers at once, each song separated once for all its voices, here or on a server."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock
from typing import Any

from understudy.errors import Cancelled, UnderstudyError
from understudy.pipeline.executor import StageEvent
from understudy.services.batch.journal import Journal, Outcome
from understudy.services.batch.plan import Item

Listener = Callable[[Item, StageEvent | Outcome], None]
"""Hears of every stage of every item, and of each item's end."""

Maker = Callable[[Item, Callable[[StageEvent], None], Event], Mapping[str, Any]]
"""(item, who hears of its stages, what stops it) -> what ``understudy cover --json`` prints."""

_FATAL = ("disk-full", "output-not-writable", "cache-not-writable")  # what every further cover would fail of, too


def run_batch(
    items: Sequence[Item],
    outcomes: dict[str, Outcome],
    make: Maker,
    journal: Journal,
    listener: Listener,
    cancelled: Event,
    at_once: int,
    between: Callable[[], object],
) -> None:
    """Make all `items`, `at_once` at a time, and go on after failures; `outcomes` gets what became of each, by
    identity.

    Of a song that several items share only the first runs until it has ended: then its stems are there, and the others
    follow. `between` is called after every cover. Raises `Cancelled`, and what makes going on senseless (a full disk);
    what was made until then is in the journal.
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

        outcome = _make(item, make, notify, stop)
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


def _make(item: Item, make: Maker, notify: Callable[[StageEvent], None], stop: Event) -> Outcome:
    """Make one cover; a failure is an outcome, too, unless it would be everybody's."""
    begun = time.monotonic()
    outcome = Outcome(item.identity, "failed", item.song.name, item.singer, duration=item.duration)
    try:
        made = make(item, notify, stop)
    except Cancelled:
        raise
    except UnderstudyError as error:
        if error.code in _FATAL:
            raise
        return replace(outcome, code=error.code, reason=f"{error.message} {error.hint}")
    except Exception as error:  # one cover's fault, whatever it is, must not cost the others
        reason = f"Something unexpected went wrong: {type(error).__name__}: {error}"
        return replace(outcome, code="internal-error", reason=reason)
    return replace(
        outcome,
        state="done",
        cover=made["cover"],
        report=made["report"],
        seconds=time.monotonic() - begun,
        duration=made["duration"],
        song_loudness=made["loudness"]["song"],
        loudness=made["loudness"]["cover"],
        true_peak=made["loudness"]["true_peak"],
        transpose=made["transpose"],
        similarity=_similarity(Path(made["report"]).with_suffix(".json")),
        verdict=made["verdict"]["verdict"],
        warnings=tuple(warning["warning"] for warning in made["warnings"]),
    )


def _similarity(figures: Path) -> float | None:
    """From a cover's report: how near the new vocal is to the voice's recordings."""
    found = json.loads(figures.read_text("utf-8"))["voice_likeness"]["to_voice"]
    return None if found is None else float(found)


def remaining(
    items: Sequence[Item], before: Mapping[str, Outcome], only_failed: bool
) -> tuple[list[Item], dict[str, Outcome]]:
    """(what is still to be made, the outcomes of what was made before and is still there).

    With `only_failed` just those that were tried and failed are left.
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
