"""`RayExecutor`: stages run on the machines of a Ray cluster, artifacts are in a store that all of them see.

Each stage is a Ray task with the CPUs, memory and share of a GPU that it needs. Ray keeps the processes of finished
tasks, and so the models that they have loaded. This program decides what is made and when; it must run on a machine of
the cluster. What dies with a machine or a process is made again elsewhere: the stage in hand, nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from copy import copy
from dataclasses import dataclass
from functools import partial
from threading import Event, Thread
from typing import Any, Literal, TypeVar
from uuid import uuid4

from understudy.errors import Cancelled, UnderstudyError
from understudy.packages import require_package
from understudy.pipeline.executor import Listener, Ready, Result, reporting, run_graph
from understudy.pipeline.graph import Graph, Node, Stage
from understudy.pipeline.making import Report, make
from understudy.pipeline.ray_claims import RENEWAL, Claims
from understudy.pipeline.shared_store import SharedStore
from understudy.pipeline.store import Record

T = TypeVar("T")
log = logging.getLogger("understudy.ray")

NAMESPACE = "understudy"
GIB = 1 << 30
NETWORK_CPUS = 4  # threads of a network without a GPU
CRASHES = 3  # processes that a stage may end before it is given up
MOVES = 20  # machines that a stage may lose before it is given up
LOOK = 0.2  # seconds between looks for cancellation
SETTLED = 5.0  # seconds that a stage waits for its resources before it is asked whether the cluster still has them
PLACES = 50_000  # artifacts of which is known where they were made
ELSEWHERE = ("disk-full", "store-not-shared", "cluster-version")
"""Codes of errors that are a machine's own: the stage is run again on another one."""
AVOIDED = 60.0  # seconds for which a machine with such an error gets no stages

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Needs:
    """What Ray sets aside for a stage; `memory` in bytes, `gpus` may be a part of one."""

    cpus: float
    gpus: float
    memory: int


def needs(stage: Stage[Any], machines: Sequence[dict[str, float]], device: Device, share: float, double: int) -> Needs:
    """What `stage` needs, in such a way that one of the `machines` (resources as Ray names them) has it. Without a GPU
    in the cluster a network runs on CPUs. `double`: how often the memory was too small.

    Raises `UnderstudyError` ``device-unknown`` where a GPU is asked for and none is there, ``cluster-empty``.
    """
    gpus = share if stage.uses_gpu and device != "cpu" else 0.0
    fitting = [machine for machine in machines if machine.get("GPU", 0.0) >= gpus and machine.get("CPU", 0.0) > 0]
    if gpus and not fitting and device == "cuda":
        raise UnderstudyError(
            "device-unknown",
            f"No machine of the cluster has {'a GPU' if share == 1 else f'{share:g} of a GPU'} to give.",
            "Add a machine with a GPU (ray start --num-gpus=1), or use --device auto.",
        )
    if gpus and not fitting:
        return needs(stage, machines, "cpu", share, double)
    if not fitting:
        raise UnderstudyError(
            "cluster-empty",
            "No machine of the cluster has a CPU to give.",
            "Add a machine with 'ray start --address=HEAD:6379'; 'ray status' shows what there is.",
        )
    cpus = NETWORK_CPUS if stage.uses_gpu and not gpus else 1
    memory = (4 if stage.big else 2 if stage.uses_gpu else 1) * GIB << double
    # a machine that is too small for that gives all that it has
    best = max(fitting, key=lambda machine: (machine.get("memory", 0.0), machine["CPU"]))
    return Needs(min(cpus, best["CPU"]), gpus, min(memory, int(best.get("memory", 0.0) * 0.95)))


class RayExecutor:
    """Runs graphs on the cluster at `address` (``HOST:PORT`` of its head; None: the one that this machine belongs to).

    `device`: ``auto`` or None for GPUs where the cluster has some, ``cpu``, or ``cuda`` for an error where it has none.
    `share`: the part of a GPU that a stage gets, so that several stages use one. Several threads may call `run`.

    Raises `UnderstudyError`: ``package-missing``, ``cluster-unreachable``, ``cluster-version``, ``device-unknown``.
    """

    def __init__(
        self, store: SharedStore, address: str | None = None, device: str | None = None, share: float = 1.0
    ) -> None:
        self.store = store
        self._ray = connect(address)
        from understudy.pipeline import ray_stage  # after the check that Ray is installed

        self._stage = ray_stage
        # made once: Ray sends and keeps each such task anew, on every machine
        self._task = self._ray.remote(max_retries=0, num_returns="streaming")(ray_stage.run)
        self._wanted, self._share = _kind(device), share
        self._me = uuid4().hex
        self._held: set[str] = set()
        self._places: OrderedDict[str, str] = OrderedDict()
        self._listed: tuple[float, list[dict[str, Any]]] = (-1e9, [])
        self._faults: dict[str, tuple[float, UnderstudyError]] = {}  # by machine: until when it is avoided, and why
        self._claims = self._actor()
        self._threads = ThreadPoolExecutor(32, "ray-store")
        self._loop = asyncio.new_event_loop()
        Thread(target=self._loop.run_forever, name="ray-executor", daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._renew(), self._loop)

    @property
    def device(self) -> str:
        """What networks run on now, for estimates of time."""
        has_gpu = any(machine.get("GPU", 0.0) >= self._share for machine in self._machines().values())
        return "cuda:0" if self._wanted != "cpu" and has_gpu else "cpu"

    def on(self, store: SharedStore) -> RayExecutor:
        """The same with another store, such as another owner's."""
        other = copy(self)
        other.store = store
        return other

    def run(self, graph: Graph, targets: Sequence[Node[Any]], listener: Listener, cancelled: Event) -> Result:
        def submit(ready: Ready, stop: Event) -> Future[tuple[Record, bool]]:
            work = self._made(ready, reporting(ready.node, listener), stop)
            return asyncio.run_coroutine_threadsafe(work, self._loop)

        return run_graph(graph, targets, self.store, submit, listener, cancelled)

    async def _made(self, ready: Ready, report: Report, stop: Event) -> tuple[Record, bool]:
        node, key = ready.node, ready.key
        if node.stage.private:
            given = partial(ready.arguments, self.store)
            return await self._aside(
                make,
                self.store,
                key,
                ready.voices,
                node.name,
                node.stage,
                given,
                "cpu",
                os.cpu_count() or 1,
                report,
                stop,
            )

        def delayed(why: str) -> None:
            report("delayed", 0.0, 0.0, "cpu", why)

        with self.store.telling(delayed):
            return await self._placed(ready, report, delayed, stop)

    async def _placed(
        self, ready: Ready, report: Report, delayed: Callable[[str], None], stop: Event
    ) -> tuple[Record, bool]:
        """Made on whatever machine can do it."""
        node, key = ready.node, ready.key
        async with self._claimed(f"{self.store.address.url} {self.store.address.owner} {key}", key, stop) as there:
            crashes: list[str] = []
            small: set[str] = set()  # machines whose memory didn't suffice
            moves = double = 0
            while True:
                if there or await self._until(stop, self._aside(self.store.has, key)):
                    record = await self._aside(self.store.record, key)
                    report("cached", 1.0, 0.0, record.device)
                    return record, True
                try:
                    return await self._run(ready, small, double, report, stop)
                except _Moved:
                    continue
                except _Lost as loss:
                    log.warning("stage lost", extra={"stage": node.name, "why": loss.why})
                    delayed(f"It is run again: {loss.why}")
                    moves += not loss.crashed
                    double += loss.small is not None
                    small |= {loss.small} if loss.small else set()
                    if loss.crashed:
                        crashes.append(loss.why)
                if len(crashes) >= CRASHES or moves >= MOVES:
                    raise _given_up(node.name, crashes, all_memory=double >= CRASHES)
                await self._until(stop, asyncio.sleep(0.5))

    async def _run(
        self, ready: Ready, small: Set[str], double: int, report: Report, stop: Event
    ) -> tuple[Record, bool]:
        """One try on some machine, if possible none of the `small` ones."""
        stream, stage = None, ready.node.stage
        try:
            machines = self._usable(stage, small)
            need = needs(stage, list(machines.values()), self._wanted, self._share, double)
            stream = await self._aside(self._begin, ready, need, machines)
            started, looked = False, time.monotonic()
            following = asyncio.ensure_future(_following(stream))
            while True:
                await asyncio.wait({following}, timeout=LOOK)
                if not following.done():
                    if stop.is_set():
                        raise Cancelled
                    if not started and time.monotonic() - looked > SETTLED:
                        looked = time.monotonic()
                        now = self._usable(stage, small)
                        gpus = needs(stage, list(now.values()), self._wanted, self._share, 0).gpus
                        if gpus != need.gpus or not machines.keys() & now.keys():
                            raise _Moved
                    continue
                told = following.result()
                if isinstance(told, self._stage.Ended):
                    stream = None
                    if isinstance(told.error, UnderstudyError) and told.error.code in ELSEWHERE:
                        self._faults[told.machine] = (time.monotonic() + AVOIDED, told.error)
                        raise _Lost(told.error.message)
                    if told.error is not None:
                        raise told.error
                    self._places[ready.key] = told.machine
                    while len(self._places) > PLACES:
                        self._places.popitem(last=False)
                    assert told.record is not None
                    return told.record, told.cached
                started = True
                report(*told)
                following = asyncio.ensure_future(_following(stream))
        except (UnderstudyError, _Moved):
            raise
        except self._ray.exceptions.RayError as error:
            stream = None
            raise self._explained(ready.node.name, error) from error
        finally:
            if stream is not None:
                await self._cancel(stream, following)

    def _begin(self, ready: Ready, need: Needs, machines: Mapping[str, Any]) -> Any:
        """Hand the stage to Ray for one of the `machines`, preferably one that has its inputs."""
        order = self._stage.Order.of(ready, self.store, max(1, int(need.cpus)))
        options: dict[str, Any] = {"num_cpus": need.cpus, "num_gpus": need.gpus, "memory": need.memory}
        made_on = (self._places.get(ready.keys[node], "") for node in ready.nodes)
        places = Counter(place for place in made_on if place in machines)
        if others := self._machines().keys() - machines.keys():
            options["label_selector"] = {"ray.io/node-id": f"!in({','.join(sorted(others))})"}
        elif places:
            options["scheduling_strategy"] = self._near(places.most_common(1)[0][0])
        return self._task.options(name=f"{ready.node.name} {ready.key[:8]}", **options).remote(
            self._ray.cloudpickle.dumps(order)
        )

    async def _cancel(self, stream: Any, following: asyncio.Future[Any]) -> None:
        """End a stage that is no longer wanted. Its process ends it or itself within `ray_stage.GRACE`; Ray ends a
        process that does neither."""
        self._ray.cancel(stream)
        end = time.monotonic() + self._stage.GRACE + 0.5
        while time.monotonic() < end:
            try:
                told = await asyncio.wait_for(following, end - time.monotonic())
            except TimeoutError:
                break
            except Exception:
                return
            if isinstance(told, self._stage.Ended):
                return
            following = asyncio.ensure_future(_following(stream))
        self._ray.cancel(stream, force=True)

    def _explained(self, stage: str, error: Exception) -> Exception:
        """What an error of Ray's means for the stage: it is lost and can be run again, or it can't be run at all."""
        found = self._ray.exceptions
        why = str(error).strip().splitlines()[0]
        if isinstance(error, found.TaskCancelledError):
            return Cancelled()
        if isinstance(error, found.OutOfMemoryError):
            machine = re.search(r"\bID: ([0-9a-f]{20,})", str(error))
            return _Lost("it took too much memory.", crashed=True, small=machine[1] if machine else "")
        if isinstance(error, found.WorkerCrashedError):
            return _Lost("its process died.", crashed=True)
        if isinstance(error, found.RayTaskError | found.RaySystemError | found.RuntimeEnvSetupError):
            return UnderstudyError(
                "cluster-version",
                f"A machine of the cluster can't run the stage {stage!r}: {str(error).strip().splitlines()[-1]}",
                "Install the same version of Understudy, with the same packages, on all machines of the cluster.",
            )
        return _Lost(why)

    def _machines(self) -> dict[str, dict[str, float]]:
        """The resources of each machine that is alive, by its id; at most two seconds old."""
        if time.monotonic() - self._listed[0] > 2.0:
            self._listed = (time.monotonic(), self._ray.nodes())
        return {node["NodeID"]: node["Resources"] for node in self._listed[1] if node["Alive"]}

    def _usable(self, stage: Stage[Any], small: Set[str]) -> dict[str, dict[str, float]]:
        """The machines that get the stage; the `small` ones only if no other has what it needs. Raises the error of a
        machine where each that has it has one, and what `needs` raises."""
        machines, now = self._machines(), time.monotonic()
        faults = {id: error for id, (until, error) in self._faults.items() if until > now and id in machines}
        usable = {id: machine for id, machine in machines.items() if id not in faults}
        large = {id: machine for id, machine in usable.items() if id not in small}

        def gpus(of: dict[str, dict[str, float]]) -> float:
            return needs(stage, list(of.values()), self._wanted, self._share, 0).gpus

        gpus(machines)
        try:
            wanted = gpus(usable)
        except UnderstudyError:
            raise next(iter(faults.values())) from None
        with suppress(UnderstudyError):
            if gpus(large) == wanted:
                return large
        return usable

    def _actor(self) -> Any:
        """The cluster's claims, started where nobody did before: beside Ray's own tables, as they end with these."""
        head = next((id for id, machine in self._machines().items() if "node:__internal_head__" in machine), None)
        options: dict[str, Any] = {"name": "claims", "namespace": NAMESPACE, "lifetime": "detached"}
        if head is not None:
            options["scheduling_strategy"] = self._near(head)
        return (
            self._ray.remote(Claims)
            .options(**options, get_if_exists=True, num_cpus=0, max_restarts=-1, max_task_retries=-1)
            .remote()
        )

    def _near(self, machine: str) -> Any:
        """That machine, or another one where it is gone or busy."""
        return self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            machine, soft=True, _spill_on_unavailable=True
        )

    @asynccontextmanager
    async def _claimed(self, claim: str, key: str, stop: Event) -> AsyncIterator[bool]:
        """A block in which nobody else in the cluster makes `key`; gives whether somebody else has made it."""
        there = False
        while not there and not await self._claims.claim.remote(claim, self._me):
            await self._until(stop, asyncio.sleep(0.3))
            there = await self._until(stop, self._aside(self.store.has, key))
        if there:
            yield True
            return
        self._held.add(claim)
        try:
            yield False
        finally:
            self._held.discard(claim)
            self._claims.release.remote(claim, self._me)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEWAL)
            if self._held:
                self._claims.renew.remote(list(self._held), self._me)

    async def _aside(self, function: Callable[..., T], *arguments: Any) -> T:
        """What blocks, in another thread."""
        return await self._loop.run_in_executor(self._threads, partial(function, *arguments))

    async def _until(self, stop: Event, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`; raises `Cancelled` as soon as `stop` is set."""
        task = asyncio.ensure_future(work)
        while not task.done():
            if stop.is_set():
                task.cancel()
                raise Cancelled
            await asyncio.wait({task}, timeout=LOOK)
        return task.result()


class _Moved(Exception):
    """The cluster no longer has what the stage waits for."""


class _Lost(Exception):
    """A stage ended without a result. `crashed`: by its own process, which the stage may be guilty of. `small`: the
    machine whose memory didn't suffice, empty if it isn't known; None if that isn't the reason."""

    def __init__(self, why: str, crashed: bool = False, small: str | None = None) -> None:
        super().__init__(why)
        self.why, self.crashed, self.small = why, crashed, small


def _kind(device: str | None) -> Device:
    match (device or "auto").partition(":")[0]:
        case "auto" | "cpu" | "cuda" as kind:
            return kind
    raise UnderstudyError(
        "device-unknown", f"There is no device {device!r} on a cluster.", "Use --device auto, cpu or cuda."
    )


async def _following(stream: Any) -> Any:
    """What the stage tells next."""
    return await (await anext(stream))


def _given_up(stage: str, crashes: Sequence[str], all_memory: bool) -> UnderstudyError:
    if all_memory:
        return UnderstudyError(
            "out-of-memory",
            f"The stage {stage!r} took too much memory {len(crashes)} times, with more set aside each time.",
            "Use machines with more memory, or cover the song in parts with --start and --duration.",
        )
    if crashes:
        return UnderstudyError(
            "stage-poisonous",
            f"The stage {stage!r} ended {len(crashes)} processes one after the other: {' '.join(crashes)}",
            "Its input or a library on those machines does that; 'ray logs' has what the processes wrote.",
        )
    return UnderstudyError(
        "cluster-unstable",
        f"The stage {stage!r} lost {MOVES} machines one after the other.",
        "See with 'ray status' why they go, then run the same command again: finished stages are not repeated.",
    )


def connect(address: str | None) -> Any:
    """Ray, connected to the cluster. Raises what `RayExecutor` raises."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    ray = require_package("ray")
    require_package("ray.util.scheduling_strategies")
    if ray.is_initialized():
        return ray
    address = address or os.environ.get("RAY_ADDRESS") or "auto"
    if address.startswith("ray://"):
        raise UnderstudyError(
            "cluster-unreachable",
            f"{address} is an address for Ray's client, which Understudy doesn't use.",
            "Join the cluster with 'ray start --address=HEAD:6379 --num-cpus=0' and leave out --address.",
        )
    _check_reachable(address)
    try:
        ray.init(address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:
        what = str(error).strip().splitlines()[0]
        if "ersion mismatch" in str(error):
            raise UnderstudyError(
                "cluster-version",
                f"The cluster at {address} runs other versions than this program: {' '.join(str(error).split())}",
                "Install the same version of Ray and of Python on all machines, best from one container image.",
            ) from error
        if isinstance(error, ConnectionError) and address != "auto":
            raise UnderstudyError(
                "cluster-unreachable",
                f"There is a cluster at {address}, but this program isn't let in ({what}).",
                "Join it with 'ray start --address=HEAD:6379 --num-cpus=0'. If it has a token, this program needs it, "
                "too: RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or ~/.ray/auth_token.",
            ) from error
        raise _unreachable(address, what) from error
    # Ray prints errors of its own to stdout, which belongs to the result of a command
    ray._private.worker.print_to_stdstream = lambda data, ignore_prefix: log.info("%s", "\n".join(data["lines"]))
    return ray


def _check_reachable(address: str) -> None:
    """Raise ``cluster-unreachable`` where nobody listens: Ray itself would wait for a minute and end the process."""
    host, colon, port = address.rpartition(":")
    if not colon:
        return  # "auto" or "local"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise _unreachable(address, str(error)) from error


def _unreachable(address: str, why: str) -> UnderstudyError:
    where = "on this machine" if address == "auto" else f"at {address}"
    return UnderstudyError(
        "cluster-unreachable",
        f"There is no Ray cluster {where} ({why}).",
        "Start one with 'ray start --head', join one with 'ray start --address=HEAD:6379', or name it with --address.",
    )
