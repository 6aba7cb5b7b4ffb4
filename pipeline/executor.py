"""Executors run a graph. `LocalExecutor` does it in this process; a distributed one has the same single method.

The local executor has a lane per kind of work: one stage at a time on the GPU, `cpu_lanes` at a time on the CPU, and
beside these one for stages that need much memory.
`run` may be called from several threads at once: a batch's songs share the lanes, so that one song's separation
overlaps with another's remix.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from threading import Event
from typing import Any, Literal, Protocol, TypeVar, overload

from understudy.context import Context
from understudy.disk import explained, is_full
from understudy.errors import Cancelled, UnderstudyError
from understudy.memory import return_freed_memory
from understudy.pipeline.graph import Graph, Node, Output, label, resolve
from understudy.pipeline.store import Artifact, Store

T = TypeVar("T")


@dataclass(frozen=True)
class StageEvent:
    """What a listener gets during a run: that a node of that `kind` and `subject` got so far. `fraction` is 0..1;
    `seconds` is the wall time so far (0 when cached)."""

    kind: str
    state: Literal["cached", "started", "progress", "finished"]
    fraction: float
    seconds: float
    device: str
    subject: str = ""

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
    def run(self, graph: Graph, targets: Sequence[Node[Any]], listener: Listener, cancelled: Event) -> Result:
        """Make `targets` and what they need. Raises the first error of a stage, or `Cancelled`."""
        ...


class LocalExecutor:
    def __init__(self, store: Store, device: str = "cpu", workers: int | None = None, cpu_lanes: int = 2) -> None:
        self.store = store
        self.device = device
        self.workers = workers or os.cpu_count() or 1
        self._cpu = ThreadPoolExecutor(cpu_lanes, "cpu-lane")
        self._gpu = ThreadPoolExecutor(1, "gpu-lane")
        self._big = ThreadPoolExecutor(1, "big-lane")

    def run(self, graph: Graph, targets: Sequence[Node[Any]], listener: Listener, cancelled: Event) -> Result:
        made: set[Node[Any]] = set()
        while True:
            try:
                return self._run(graph, targets, listener, cancelled, made)
            except _OptionalFailed as failure:
                # the rest is planned again: what needed the failed node gets another key, everything else is cached
                rest = graph.without(failure.node, failure.error.message)
                if rest is None:
                    raise failure.error from failure
                graph = rest

    def _run(
        self,
        graph: Graph,
        targets: Sequence[Node[Any]],
        listener: Listener,
        cancelled: Event,
        made: set[Node[Any]],
    ) -> Result:
        """One attempt; the nodes whose artifacts it made are added to `made`."""
        graph = graph.upstream(targets)
        keys, voices = graph.keys(), graph.voices()
        waiting = dict.fromkeys(graph.pending(targets, self.store.has))
        artifacts: dict[Node[Any], Artifact] = {}
        stop = _Either(cancelled)  # what the stages of this run look at: the caller's wish, or the first failure
        running: dict[Future[tuple[Artifact, bool]], Node[Any]] = {}

        def artifact(node: Node[Any]) -> Artifact:
            if node not in artifacts:
                artifacts[node] = self.store.load(keys[node])
            return artifacts[node]

        def value(node: Node[Any]) -> Any:
            return artifact(node).value

        def arguments(node: Node[Any]) -> dict[str, Any]:
            given = {name: resolve(source, value) for name, source in graph.inputs(node).items()}
            given |= graph.settings(node)
            given |= {name: external.value for name, external in node.externals.items()}
            if node.warnings_from:
                sources = graph.warnings_from(node)
                given["warnings"] = [(other.name, text) for other in sources for text in artifact(other).warnings]
            return given

        # A node that is neither waiting nor stored lies behind a stored one: nothing needs it, and no event names it.
        for node in graph.nodes:
            if node not in waiting and self.store.has(keys[node]):
                listener(StageEvent(node.kind, "cached", 1.0, 0.0, artifact(node).device, node.subject))
        # A node is submitted as soon as everything that it needs is stored; lanes queue what they can't run yet. This
        # thread alone touches the three tables; lanes get finished arguments and give back an artifact.
        try:
            while waiting or running:
                unmade = {*waiting, *running.values()}
                for node in [node for node in waiting if not graph.needs(node) & unmade]:
                    del waiting[node]
                    lane = self._lane(node)
                    what = (node, keys[node], voices[node], arguments(node))
                    running[lane.submit(self._make, *what, listener, stop)] = node
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    node = running.pop(future)
                    try:
                        artifacts[node], was_cached = future.result()
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
                artifacts[node].seconds if node in made else 0.0,
                node not in made,
                artifacts[node].device,
                artifacts[node].warnings,
            )
            for node in graph.nodes
            if node in artifacts
        }
        return Result({node: value(node) for node in targets}, runs)

    def _lane(self, node: Node[Any]) -> ThreadPoolExecutor:
        if self._device(node) != "cpu":
            return self._gpu
        return self._big if node.stage.big else self._cpu

    def _device(self, node: Node[Any]) -> str:
        return self.device if node.stage.uses_gpu else "cpu"

    def _make(
        self,
        node: Node[Any],
        key: str,
        voices: tuple[str, ...],
        arguments: Mapping[str, Any],
        listener: Listener,
        cancelled: Event,
    ) -> tuple[Artifact, bool]:
        """Run one node into the store; also says whether another run had made it meanwhile."""
        with self.store.making(key, cancelled) as folder:
            if self.store.has(key):  # another run, or another node that does the same, was first
                found = self.store.load(key)
                listener(StageEvent(node.kind, "cached", 1.0, 0.0, found.device, node.subject))
                return found, True
            if cancelled.is_set():  # it waited in its lane until then
                raise Cancelled
            device = self._device(node)
            begun = time.monotonic()

            def report(state: Literal["started", "progress", "finished"], fraction: float) -> None:
                seconds = time.monotonic() - begun
                listener(StageEvent(node.kind, state, fraction, seconds, device, node.subject))

            def progress(fraction: float) -> None:
                report("progress", fraction)

            context = Context(folder, device, self.workers, progress, cancelled)
            report("started", 0.0)
            context.progress(0.0)
            try:
                try:
                    value = node.stage(context, arguments)
                except RuntimeError as error:
                    if device == "cpu" or type(error).__name__ != "OutOfMemoryError":
                        raise
                    device = "cpu"
                    context.warn(f"{node.name}: the GPU ran out of memory, so this stage ran on the CPU.")
                    value = node.stage(replace(context, device=device), arguments)
                seconds = time.monotonic() - begun
                sealed = self.store.seal(
                    key, Artifact(node.stage.name, value, device, seconds, tuple(context.warnings), voices)
                )
            except OSError as error:
                if not is_full(error):
                    raise
                raise explained(self.store.root, error) from error
            except MemoryError as error:
                raise UnderstudyError(
                    "out-of-memory",
                    f"The stage {node.name!r} ran out of memory.",
                    "Close other programs, or cover the song in parts with --start and --duration.",
                ) from error
            return_freed_memory()
            report("finished", 1.0)
            return sealed, False


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
