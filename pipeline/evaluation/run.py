"""Running an evaluation: every separator on every song; each result is written to a journal at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from threading import Event, Lock
from typing import Any, Literal

from understudy.audio.stored import AudioFile
from understudy.errors import Cancelled, UnderstudyError
from understudy.pipeline.evaluation.dataset import Dataset, Part, Song
from understudy.pipeline.evaluation.score import VERSION, Figures, score
from understudy.pipeline.executor import Executor, StageEvent
from understudy.pipeline.graph import External, Graph, Node, Source, Stage
from understudy.pipeline.journal import Journal
from understudy.pipeline.nodes import DECODE, STEMS, file_external
from understudy.pipeline.separating import check_models, separating
from understudy.pipeline.separation.settings import SeparationSettings
from understudy.pipeline.separation.stems import INSTRUMENTS

SCORE = Stage("score", VERSION, score)
JOURNAL = "evaluation.jsonl"

_ContentHash = Callable[[Path], str]
_FATAL = ("disk-full", "output-not-writable", "cache-not-writable")  # errors that every further song would have, too


@dataclass(frozen=True)
class Candidate:
    """A separator to evaluate, with its settings; `name` is its name in the tables."""

    name: str
    settings: SeparationSettings


@dataclass(frozen=True)
class Row:
    """The result of one song with one candidate.

    `identity`: hash of the song, its truth, the separator, its settings and the version of the figures. `truth`: hash
    of the song and its truth alone. `stems`: figures by stem. `seconds`: of wall time that the separation took, also
    when it came from the cache; `rtf`: the same per second of song; `peak_mib`: largest memory of this process
    meanwhile, None where the separation came from the cache or others ran at the same time. `code` and `reason` say why
    it failed."""

    identity: str
    truth: str
    candidate: str
    song: str
    subset: str
    detail: int
    state: Literal["done", "failed"]
    duration: float | None = None
    rate: int | None = None
    stems: Mapping[str, Figures] = field(default_factory=dict)
    seconds: float | None = None
    rtf: float | None = None
    peak_mib: float | None = None
    device: str = ""
    notices: tuple[str, ...] = ()
    code: str = ""
    reason: str = ""


Listener = Callable[[str, Song, StageEvent | Row], None]
"""Is called with the candidate's name, the song and each event of its stages, and at its end with its row."""


@dataclass(frozen=True)
class Outcome:
    """`rows`: of the candidates and songs of this run. `others`: of earlier runs on the same songs, with other
    candidates or settings. `kept`: how many of `rows` are from earlier runs."""

    rows: tuple[Row, ...]
    others: tuple[Row, ...]
    kept: int


def evaluate(
    dataset: Dataset,
    candidates: Sequence[Candidate],
    detail: int,
    folder: Path,
    executor: Executor,
    listener: Listener,
    cancelled: Event,
    at_once: int = 1,
    between: Callable[[], object] = lambda: None,
) -> Outcome:
    """Separate every song with every candidate and compare with the truth; rows go into the journal in `folder`.

    A song that is in the journal is not separated again, unless it failed. A song that fails becomes a row, and the
    others go on. `between` is called after every row. Raises `UnderstudyError` for a candidate that can't run at all,
    before anything runs, for a full disk, and `Cancelled`.
    """
    for candidate in candidates:
        check_models(candidate.settings)
    journal = Journal(folder / JOURNAL, Row)
    before = journal.read()
    content_hash = cache(lambda path: file_external(path).content_hash)  # each file is read once
    lock = Lock()
    stop = Event()
    rows: list[Row] = []
    kept = 0

    def end(candidate: Candidate, song: Song) -> tuple[Row, bool]:
        def report(event: StageEvent) -> None:
            if cancelled.is_set():
                stop.set()
            listener(candidate.name, song, event)

        row = _row(candidate, song, detail, content_hash, before, executor, report, stop, at_once == 1)
        known = before.get(row.identity) is row
        if not known:
            with lock:
                journal.add(row)
        return row, known

    items = [(candidate, song) for candidate in candidates for song in dataset.songs]
    waiting = iter(items)
    running: dict[Future[tuple[Row, bool]], tuple[Candidate, Song]] = {}
    with ThreadPoolExecutor(at_once, "evaluate") as pool:
        try:
            while True:
                while len(running) < at_once and (item := next(waiting, None)) is not None:
                    running[pool.submit(end, *item)] = item
                if not running:
                    break
                done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                if cancelled.is_set():
                    raise Cancelled
                for future in done:
                    candidate, song = running.pop(future)
                    row, known = future.result()
                    rows.append(row)
                    kept += known
                    listener(candidate.name, song, row)
                    if not known:
                        between()
        finally:
            stop.set()
            wait(running)
    places = {(candidate.name, song.name): number for number, (candidate, song) in enumerate(items)}
    rows.sort(key=lambda row: places[row.candidate, row.song])
    truths = {row.truth for row in rows if row.truth}
    names = {row.candidate for row in rows}
    others = {
        (row.candidate, row.song): row
        for row in before.values()
        if row.truth in truths and row.candidate not in names and row.detail == detail and row.state == "done"
    }
    return Outcome(tuple(rows), tuple(others.values()), kept)


def _row(
    candidate: Candidate,
    song: Song,
    detail: int,
    content_hash: _ContentHash,
    before: Mapping[str, Row],
    executor: Executor,
    report: Callable[[StageEvent], None],
    stop: Event,
    alone: bool,
) -> Row:
    """One song with one candidate. A failure is a row, too, unless every other song would fail in the same way."""
    row = Row("", "", candidate.name, song.name, song.subset, detail, "failed")
    try:
        truth = _truth_hash(song, content_hash)
        decoded, stems, scoring = _nodes(candidate, song, detail, content_hash, truth)
        graph = Graph.of(scoring)
        keys = graph.keys()
        identity = keys[scoring]
        known = before.get(identity)
        if known is not None and known.state == "done" and known.candidate == candidate.name:
            return known
        row = replace(row, identity=identity, truth=truth)
        measured = alone and _forget_peak()
        result = executor.run(graph, stems, report, stop)
        peak = _peak_mib() if measured else None
        ran = any(not run.cached for node, run in result.runs.items() if node is not decoded)
        scored = executor.run(graph, [decoded, scoring], report, stop)
        mixture = scored[decoded]
        separating_nodes = [node for node in graph.upstream(stems).nodes if node is not decoded]
        made = [executor.store.load(keys[node]) for node in separating_nodes if executor.store.has(keys[node])]
        seconds = sum(artifact.seconds for artifact in made)
        return replace(
            row,
            state="done",
            duration=mixture.duration,
            rate=mixture.rate,
            stems=dict(scored[scoring]),
            seconds=seconds,
            rtf=seconds / mixture.duration,
            peak_mib=peak if ran else None,
            device=" and ".join(sorted({artifact.device for artifact in made})),
            notices=tuple(dict.fromkeys(text for stage in scored.stages for text in stage.warnings)),
        )
    except Cancelled:
        raise
    except UnderstudyError as error:
        if error.code in _FATAL:
            raise
        return replace(row, identity=row.identity or _stand_in(row), code=error.code, reason=str(error))
    except Exception as error:  # a fault with one song, whatever it is, must not stop the others
        reason = f"Something unexpected went wrong: {type(error).__name__}: {error}"
        return replace(row, identity=row.identity or _stand_in(row), code="internal-error", reason=reason)


def _stand_in(row: Row) -> str:
    """The identity of a song that can't be read."""
    return hashlib.sha256(f"{row.candidate}\n{row.song}\n{row.detail}".encode()).hexdigest()[:40]


def _nodes(
    candidate: Candidate, song: Song, detail: int, content_hash: _ContentHash, truth: str
) -> tuple[Node[AudioFile], list[Node[Any]], Node[Mapping[str, Figures]]]:
    """The node that reads the song, those that give the stems, and the one that scores them."""
    mixture = song.mixture
    track = {} if mixture.track is None else {"track": mixture.track}
    original = External(mixture.path, content_hash(mixture.path))
    decoded = Node("decode", DECODE, {}, {"start": 0.0, "duration": None, **track}, {"path": original})
    parts = separating(decoded, candidate.settings)
    wanted = STEMS if detail <= 2 else (*STEMS, *INSTRUMENTS)
    given = {name: parts.stems[name] for name in wanted if name in parts.stems}
    inputs: dict[str, Source] = {"song": decoded, "found": given}
    scoring = Node("score", SCORE, inputs, {"detail": detail}, {"truth": External(song, truth)})
    return decoded, list(dict.fromkeys(stem.node for stem in given.values())), scoring


def _truth_hash(song: Song, content_hash: _ContentHash) -> str:
    """Hash of the mixture and its true stems."""
    parts: list[tuple[str, Part]] = [("mixture", song.mixture), *sorted(song.truth.items())]
    text = "\n".join(f"{name} {content_hash(part.path)} {part.track}" for name, part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def _forget_peak() -> bool:
    """Whether the largest memory of this process so far could be forgotten, which only Linux can (man 5 proc)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _peak_mib() -> float | None:
    """The largest resident memory of this process since `_forget_peak`."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    return None
