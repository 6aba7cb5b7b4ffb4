"""Executors run a graph. `LocalExecutor` does it in this process, `understudy.pipeline.ray_executor` on a Ray cluster;
what both need, when a node's turn comes and what its failure means, is in `run_graph`.

The local executor has a lane per kind of work: one stage at a time on the GPU, `cpu_lanes` at a time on the CPU, and
beside these one for stages that need much memory.
`run` may be called from several threads at once: a batch's songs share the lanes, so that one song's separation
overlaps with another's remix.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any, Protocol, TypeVar, overload

from understudy.errors import Cancelled, UnderstudyError
from understudy.pipeline.graph import Graph, Node, Output, Source, label, nodes_in, resolve
from understudy.pipeline.making import Report, State, make
from understudy.pipeline.store import Record, Store

T = TypeVar("T")


@dataclass(frozen=True)
class StageEvent:
    """What a listener gets during a run: that a node of that `kind` and `subject` got so far. `fraction` is 0..1;
    `seconds` is the wall time so far (0 when cached). `why`: a sentence that says what a ``delayed`` stage of a cluster
    waits for, or why it is run again."""

    kind: str
    state: State
    fraction: float
    seconds: float
    device: str
    subject: str = ""
    why: str = ""

    @property
    def node(self) -> str:
        """The node's name."""
        return label(self.kind, self.subject)


Listener = Callable[[StageEvent], None]


@dataclass(frozen=True)
class StageRun:
    """How one node came by its artifact in this run. `kind` is what its node has as `Node.kind`."""

    name: str
    kind: str
    seconds: float
    cached: bool
    device: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """What the targets are: ``result[node]``, ``result[node["field"]]``. `runs`: how every node of the targets' graph
    that was made or looked up came about, in order of work."""

    values: Mapping[Node[Any], Any]
    runs: Mapping[Node[Any], StageRun]

    @overload
    def __getitem__(self, handle: Node[T]) -> T: ...
    @overload
    def __getitem__(self, handle: Output) -> Any: ...
    def __getitem__(self, handle: Node[Any] | Output) -> Any:
        return resolve(handle, self.values.__getitem__)

    @property
    def stages(self) -> tuple[StageRun, ...]:
        return tuple(self.runs.values())


class Executor(Protocol):
    """`store`: where the artifacts are. `device`: what networks run on, as in `Context`."""

    @property
    def store(self) -> Store: ...
    @property
    def device(self) -> str: ...

    def run(self, graph: Graph, targets: Sequence[Node[Any]], listener: Listener, cancelled: Event) -> Result:
        """Make `targets` and what they need. Raises the first error of a stage, or `Cancelled`."""
        ...


@dataclass(frozen=True)
class Ready:
    """A node whose turn it is: all that it needs is stored. `key`: of its artifact. `voices`: the identities of those
    that it comes from. `inputs`: argument -> nodes or
    parts of what they make, whose artifacts are stored under `keys`. `given`: all other arguments, as they are."""

    node: Node[Any]
    key: str
    voices: tuple[str, ...]
    inputs: Mapping[str, Source]
    given: Mapping[str, Any]
    keys: Mapping[Node[Any], str]

    @property
    def nodes(self) -> set[Node[Any]]:
        """Those from which it takes values."""
        return set(nodes_in(tuple(self.inputs.values())))

    def arguments(self, store: Store) -> dict[str, Any]:
        """All arguments, with the values of the inputs."""

        def value(node: Node[Any]) -> Any:
            return store.load(self.keys[node]).value

        return {**{name: resolve(source, value) for name, source in self.inputs.items()}, **self.given}


Submit = Callable[[Ready, Event], "Future[tuple[Record, bool]]"]
"""Begins to make a node, whose stage ends early when the event is set. The future gives what `make` returns."""


def run_graph(
    graph: Graph, targets: Sequence[Node[Any]], store: Store, submit: Submit, listener: Listener, cancelled: Event
) -> Result:
    """`Executor.run` for any executor: which nodes are to be made and when each is ready, what happens when one fails,
    and the result. How a node is made is up to `submit`, which also reports its events."""
    made: set[Node[Any]] = set()
    while True:
        try:
            return _attempt(graph, targets, store, submit, listener, cancelled, made)
        except _OptionalFailed as failure:
            # the rest is planned again: what needed the failed node gets another key, everything else is cached
            rest = graph.without(failure.node, failure.error.message)
            if rest is None:
                raise failure.error from failure
            graph = rest


def _attempt(
    graph: Graph,
    targets: Sequence[Node[Any]],
    store: Store,
    submit: Submit,
    listener: Listener,
    cancelled: Event,
    made: set[Node[Any]],
) -> Result:
    """The nodes whose artifacts it made are added to `made`."""
    graph = graph.upstream(targets)
    keys, voices = graph.keys(), graph.voices()
    waiting = dict.fromkeys(graph.pending(targets, store.has))
    records: dict[Node[Any], Record] = {}
    stop = _Either(cancelled)  # what the stages of this run look at: the caller's wish, or the first failure
    running: dict[Future[tuple[Record, bool]], Node[Any]] = {}

    def record(node: Node[Any]) -> Record:
        if node not in records:
            records[node] = store.record(keys[node])
        return records[node]

    def ready(node: Node[Any]) -> Ready:
        given = graph.settings(node) | {name: external.value for name, external in node.externals.items()}
        if node.warnings_from:
            sources = graph.warnings_from(node)
            given["warnings"] = [(other.name, text) for other in sources for text in record(other).warnings]
        return Ready(node, keys[node], voices[node], graph.inputs(node), given, keys)

    # A node that is neither waiting nor stored lies behind a stored one: nothing needs it, and no event names it.
    for node in graph.nodes:
        if node not in waiting and store.has(keys[node]):
            listener(StageEvent(node.kind, "cached", 1.0, 0.0, record(node).device, node.subject))
    # A node is submitted as soon as everything that it needs is stored. This thread alone touches the three tables.
    try:
        while waiting or running:
            unmade = {*waiting, *running.values()}
            for node in [node for node in waiting if not graph.needs(node) & unmade]:
                del waiting[node]
                running[submit(ready(node), stop)] = node
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                node = running.pop(future)
                try:
                    records[node], was_cached = future.result()
                except UnderstudyError as error:
                    if node.optional and not isinstance(error, Cancelled):
                        raise _OptionalFailed(node, error) from error
                    raise
                if not was_cached:
                    made.add(node)
    finally:
        # a failure stops the neighbours too; what they finish all the same counts as made in this run
        stop.set()
        wait(running)
        finished = {node: future.result() for future, node in running.items() if not future.exception()}
        made |= {node for node, (_, was_cached) in finished.items() if not was_cached}
    runs = {
        node: StageRun(
            node.name,
            node.kind,
            records[node].seconds if node in made else 0.0,
            node not in made,
            records[node].device,
            records[node].warnings,
        )
        for node in graph.nodes
        if node in records
    }
    return Result({node: store.load(keys[node]).value for node in targets}, runs)


class LocalExecutor:
    """Runs stages in this process, in lanes that all its runs share."""

    def __init__(self, store: Store, device: str = "cpu", workers: int | None = None, cpu_lanes: int = 2) -> None:
        self.store = store
        self.device = device
        self.workers = workers or os.cpu_count() or 1
        self._cpu = ThreadPoolExecutor(cpu_lanes, "cpu-lane")
        self._gpu = ThreadPoolExecutor(1, "gpu-lane")
        self._big = ThreadPoolExecutor(1, "big-lane")

    def run(self, graph: Graph, targets: Sequence[Node[Any]], listener: Listener, cancelled: Event) -> Result:
        def submit(ready: Ready, stop: Event) -> Future[tuple[Record, bool]]:
            node = ready.node
            device = self.device if node.stage.uses_gpu else "cpu"
            lane = self._gpu if device != "cpu" else self._big if node.stage.big else self._cpu
            report = reporting(node, listener)
            given = partial(ready.arguments, self.store)
            return lane.submit(
                make,
                self.store,
                ready.key,
                ready.voices,
                node.name,
                node.stage,
                given,
                device,
                self.workers,
                report,
                stop,
            )

        return run_graph(graph, targets, self.store, submit, listener, cancelled)


def reporting(node: Node[Any], listener: Listener) -> Report:
    """Gives `listener` what happens to `node`."""

    def report(state: State, fraction: float, seconds: float, device: str, why: str = "") -> None:
        listener(StageEvent(node.kind, state, fraction, seconds, device, node.subject, why))

    return report


class _OptionalFailed(Exception):
    def __init__(self, node: Node[Any], error: UnderstudyError) -> None:
        super().__init__(node.name)
        self.node, self.error = node, error


class _Either(Event):
    """Set when it was set itself or when `other` is: one run's failure must not cancel its neighbours."""

    def __init__(self, other: Event) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        return super().is_set() or self._other.is_set()
