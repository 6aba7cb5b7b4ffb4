"""Executors run a graph. `LocalExecutor` does it in this process; a distributed one has the same single method.

The local executor has a lane per kind of work: one stage at a time on the GPU, `cpu_lanes` at a time on the CPU, and
beside these one whose stages need much memory.
`run` may be called from several threads at once: a batch's songs share the lanes, so that one song's separation
overlaps with another's remix.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Event
from typing import Any, Literal, Protocol

from understudy.context import Context
from understudy.disk import explained, is_full
from understudy.errors import Cancelled, UnderstudyError
from understudy.pipeline.graph import Graph, Node
from understudy.pipeline.store import Artifact, Store


@dataclass(frozen=True)
class StageEvent:
    """What a listener hears of a run. `fraction` is 0..1; `seconds` is the wall time so far (0 when cached)."""

    node: str
    state: Literal["cached", "started", "progress", "finished"]
    fraction: float
    seconds: float
    device: str


Listener = Callable[[StageEvent], None]


@dataclass(frozen=True)
class StageRun:
    """How one node came by its artifact in this run."""

    name: str
    seconds: float
    cached: bool
    device: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """`values`: what the targets are. `stages`: every node of the targets' graph that was made or looked up."""

    values: dict[str, Any]
    stages: tuple[StageRun, ...]


class Executor(Protocol):
    def run(self, graph: Graph, targets: Sequence[str], listener: Listener, cancelled: Event) -> Result:
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

    def run(self, graph: Graph, targets: Sequence[str], listener: Listener, cancelled: Event) -> Result:
        made: set[str] = set()
        while True:
            try:
                return self._run(graph, targets, listener, cancelled, made)
            except _OptionalFailed as failure:
                rest = graph.without(failure.node, failure.error.message)
                if rest is None:
                    raise failure.error from failure
                graph = rest

    def _run(
        self, graph: Graph, targets: Sequence[str], listener: Listener, cancelled: Event, made: set[str]
    ) -> Result:
        """One attempt; the names of the nodes whose artifacts it made are added to `made`."""
        graph = graph.upstream(targets)
        keys = graph.keys()
        pending = graph.pending(targets, self.store.has)
        waiting = {node.name: node for node in pending}
        artifacts: dict[str, Artifact] = {}
        stop = _Either(cancelled)
        running: dict[Future[tuple[Artifact, bool]], Node] = {}

        def artifact(name: str) -> Artifact:
            if name not in artifacts:
                artifacts[name] = self.store.load(keys[name])
            return artifacts[name]

        for node in graph.nodes:
            if node.name not in waiting and self.store.has(keys[node.name]):
                listener(StageEvent(node.name, "cached", 1.0, 0.0, artifact(node.name).device))
        try:
            while waiting or running:
                for node in [node for node in waiting.values() if not node.needs & _unmade(waiting, running)]:
                    del waiting[node.name]
                    lane = self._lane(node)
                    arguments = {name: _part(artifact, source) for name, source in node.inputs.items()}
                    if node.hears:
                        arguments["warnings"] = [
                            (name, sentence) for name in node.hears for sentence in artifact(name).warnings
                        ]
                    running[lane.submit(self._make, node, keys[node.name], arguments, listener, stop)] = node
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    node = running.pop(future)
                    try:
                        artifacts[node.name], was_cached = future.result()
                    except UnderstudyError as error:
                        if node.optional and not isinstance(error, Cancelled):
                            raise _OptionalFailed(node.name, error) from error
                        raise
                    if not was_cached:
                        made.add(node.name)
        finally:
            stop.set()
            wait(running)
            finished = {node.name: future.result() for future, node in running.items() if not future.exception()}
            made |= {name for name, (_, was_cached) in finished.items() if not was_cached}
        stages = tuple(
            StageRun(
                node.name,
                artifacts[node.name].seconds if node.name in made else 0.0,
                node.name not in made,
                artifacts[node.name].device,
                artifacts[node.name].warnings,
            )
            for node in graph.nodes
            if node.name in artifacts
        )
        return Result({name: artifact(name).value for name in targets}, stages)

    def _lane(self, node: Node) -> ThreadPoolExecutor:
        if self._device(node) != "cpu":
            return self._gpu
        return self._big if node.stage.big else self._cpu

    def _device(self, node: Node) -> str:
        return self.device if node.stage.uses_gpu else "cpu"

    def _make(
        self, node: Node, key: str, arguments: dict[str, Any], listener: Listener, cancelled: Event
    ) -> tuple[Artifact, bool]:
        """Run one node into the store; also says whether somebody else had made it meanwhile."""
        with self.store.making(key, cancelled) as folder:
            if self.store.has(key):
                found = self.store.load(key)
                listener(StageEvent(node.name, "cached", 1.0, 0.0, found.device))
                return found, True
            device = self._device(node)
            begun = time.monotonic()

            def say(state: Literal["started", "progress", "finished"], fraction: float) -> None:
                listener(StageEvent(node.name, state, fraction, time.monotonic() - begun, device))

            def progress(fraction: float) -> None:
                say("progress", fraction)

            context = Context(folder, device, self.workers, progress, cancelled)
            say("started", 0.0)
            context.progress(0.0)
            call = {
                **arguments,
                **node.settings,
                **{name: external.value for name, external in node.externals.items()},
            }
            try:
                try:
                    value = node.stage.run(context, **call)
                except RuntimeError as error:
                    if device == "cpu" or type(error).__name__ != "OutOfMemoryError":
                        raise
                    device = "cpu"
                    context.warn(f"{node.name}: the GPU ran out of memory, so this stage ran on the CPU.")
                    value = node.stage.run(Context(folder, device, *_rest(context)), **call)
                seconds = time.monotonic() - begun
                sealed = self.store.seal(
                    key, Artifact(node.stage.name, value, device, seconds, tuple(context.warnings))
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
            say("finished", 1.0)
            return sealed, False


class _OptionalFailed(Exception):
    """The optional node of that name failed."""

    def __init__(self, node: str, error: UnderstudyError) -> None:
        super().__init__(node)
        self.node, self.error = node, error


class _Either(Event):
    """Set when it was set itself or when `other` is: one run's failure must not cancel its neighbours."""

    def __init__(self, other: Event) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        return super().is_set() or self._other.is_set()


def _unmade(waiting: dict[str, Node], running: dict[Future[tuple[Artifact, bool]], Node]) -> set[str]:
    return {*waiting, *(node.name for node in running.values())}


def _part(artifact: Callable[[str], Artifact], source: str) -> Any:
    name, _, part = source.partition(".")
    value = artifact(name).value
    return value[part] if part else value


def _rest(context: Context) -> tuple[int, Callable[[float], None], Event, list[str]]:
    return context.workers, context.on_progress, context.cancelled, context.warnings
