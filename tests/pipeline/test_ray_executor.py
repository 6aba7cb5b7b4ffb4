"""Stages on a real Ray cluster of several nodes on this machine."""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.command import until
from understudy.audio import Audio
from understudy.audio.stored import AudioFile, write_blocks
from understudy.context import Context
from understudy.errors import Cancelled, UnderstudyError
from understudy.pipeline.executor import StageEvent
from understudy.pipeline.graph import External, Graph, Node, Stage
from understudy.pipeline.ray_claims import LEASE, Claims
from understudy.pipeline.shared_store import SharedStore, StoreAddress

pytest.importorskip("ray")
pytestmark = pytest.mark.slow

from tests.support.ray_cluster import Nodes, nodes  # noqa: E402
from understudy.pipeline.ray_executor import RayExecutor, connect, needs  # noqa: E402


def note(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(f"{text}\n")


def sound(context: Context, song: Path, log: str) -> AudioFile:
    note(Path(log), f"sound {os.environ['UNDERSTUDY_CACHE']} {os.getpid()}")
    context.warn(f"{song.name} is short")
    context.progress(0.5)
    samples = np.frombuffer(song.read_bytes(), np.uint8)[None] / np.float32(256)
    return write_blocks(context.folder / "sound.npy", 8000, 1, [Audio.of(samples, 8000)])


def level(context: Context, sound: AudioFile, warnings: list[tuple[str, str]], log: str) -> dict[str, Any]:
    note(Path(log), f"level {os.environ['UNDERSTUDY_CACHE']} {os.getpid()}")
    return {"level": float(sound.read().samples.mean()), "told": warnings, "device": context.device}


def endless(context: Context, log: str, polite: bool) -> None:
    while True:
        note(Path(log), "still there")
        time.sleep(0.05)
        if polite:
            context.progress(0.5)


def deadly(context: Context, log: str, times: int) -> str:
    """Ends its process the first so many times."""
    note(Path(log), f"deadly {os.getpid()}")
    if len(Path(log).read_text().splitlines()) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def wrong(context: Context, song: Path) -> None:
    raise UnderstudyError("song-wrong", f"{song} is wrong.", "Take another.")


def patient(context: Context, log: str, number: int) -> int:
    """Takes a second."""
    for part in range(20):
        context.progress(part / 20)
        time.sleep(0.05)
    note(Path(log), f"patient {number}")
    return number


SOUND, LEVEL = Stage("sound", 1, sound), Stage("level", 1, level, uses_gpu=True)


def ignore(event: StageEvent) -> None:
    """Nobody is listening."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with nodes(tmp_path_factory.mktemp("cluster")) as made:
        connect(made.address)
        yield made


@pytest.fixture(scope="module")
def doomed(cluster: Nodes) -> Any:
    """A second machine, which the last test that uses it kills."""
    return cluster.add(cpus=2)


@pytest.fixture
def executor(cluster: Nodes, tmp_path: Path) -> RayExecutor:
    store = SharedStore(StoreAddress(str(tmp_path / "shared")), tmp_path / "driver")
    return RayExecutor(store, cluster.address)


def measured(tmp_path: Path, log: Path) -> tuple[Node[Any], Node[Any]]:
    song = tmp_path / "song.raw"
    song.write_bytes(bytes(range(256)))
    first = Node("sound", SOUND, {}, {"log": str(log)}, {"song": External(song, "abc")})
    return first, Node("level", LEVEL, {"sound": first}, {"log": str(log)}, warnings_from=(first,))


def run(executor: RayExecutor, node: Node[Any], cancelled: threading.Event | None = None, listener=ignore) -> Any:
    return executor.run(Graph.of(node), [node], listener, cancelled or threading.Event())


def test_values_warnings_and_events_come_back_as_from_this_process(executor: RayExecutor, tmp_path: Path):
    first, second = measured(tmp_path, tmp_path / "log")
    events: list[StageEvent] = []
    result = run(executor, second, listener=events.append)
    expected = {"level": np.float32(127.5 / 256), "told": (("sound", "song.raw is short"),), "device": "cpu"}
    assert result[second] == expected
    assert {stage.name: stage.cached for stage in result.stages} == {"sound": False, "level": False}
    states = [(event.kind, event.state) for event in events if event.state != "progress"]
    assert states == [(kind, state) for kind in ("sound", "level") for state in ("started", "finished")]
    where = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert where[0][1] == where[1][1], "both ran on the machine that has the sound"
    assert where[0][1:] != [os.environ.get("UNDERSTUDY_CACHE"), str(os.getpid())]

    assert (
        not (executor.store.root / "artifacts").is_dir()
        or not executor.store.folder(Graph.of(first).keys()[first]).exists()
    ), "no sound came here that nobody asked for"
    again = run(executor, second)
    assert all(stage.cached for stage in again.stages)
    assert again[second] == expected


def test_an_error_names_the_file_as_its_owner_does(executor: RayExecutor, tmp_path: Path):
    song = tmp_path / "song.raw"
    song.write_bytes(b"wrong")
    node = Node("wrong", Stage("wrong", 1, wrong), {}, {}, {"song": External(song, "w")})
    with pytest.raises(UnderstudyError) as raised:
        run(executor, node)
    assert (raised.value.code, raised.value.message) == ("song-wrong", f"{song} is wrong.")


@pytest.mark.parametrize("polite", [True, False])
def test_cancelling_ends_a_stage_on_its_machine(executor: RayExecutor, tmp_path: Path, polite: bool):
    log, cancelled = tmp_path / "log", threading.Event()
    node = Node("endless", Stage("endless", 1, endless), settings={"log": str(log), "polite": polite})

    def cancel() -> None:
        until(log.is_file)
        cancelled.set()

    threading.Thread(target=cancel).start()
    with pytest.raises(Cancelled):
        run(executor, node, cancelled)
    until(lambda: _quiet(log))


def _quiet(log: Path) -> bool:
    size = log.stat().st_size
    time.sleep(0.5)
    return log.stat().st_size == size


def test_a_stage_whose_process_dies_runs_again_and_a_poisonous_one_is_named(
    executor: RayExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("understudy.pipeline.ray_executor.CRASHES", 2)
    log = tmp_path / "log"
    once = Node("once", Stage("deadly", 1, deadly), settings={"log": str(log), "times": 1})
    assert run(executor, once)[once] == "alive"
    always = Node("always", Stage("deadly", 1, deadly), settings={"log": str(tmp_path / "always"), "times": 99})
    with pytest.raises(UnderstudyError, match="'always' ended 2 processes") as raised:
        run(executor, always)
    assert raised.value.code == "stage-poisonous"
    assert len((tmp_path / "always").read_text().splitlines()) == 2


def full(context: Context, log: str, most: int) -> str:
    """Finds the disk full on the first machines, at most so many."""
    here, there = os.environ["UNDERSTUDY_CACHE"], Path(log)
    known = there.read_text().split() if there.exists() else []
    if here not in known and len(known) < most:
        note(there, here)
    if len(known) < most or here in known:
        raise OSError(errno.ENOSPC, "No space left on device")
    return here


@pytest.mark.usefixtures("doomed")
def test_a_machine_with_a_full_disk_is_avoided_and_said(executor: RayExecutor, tmp_path: Path):
    node = Node("full", Stage("full", 1, full), settings={"log": str(tmp_path / "log"), "most": 1})
    events: list[StageEvent] = []
    where = run(executor, node, listener=events.append)[node]
    assert where not in (tmp_path / "log").read_text()
    (why,) = [event.why for event in events if event.state == "delayed"]
    assert why.startswith(f"It is run again: On the machine {socket.gethostname()}: The disk is full"), why
    second = Node("all", Stage("full", 1, full), settings={"log": str(tmp_path / "all"), "most": 99})
    with pytest.raises(UnderstudyError, match=r"On the machine .* disk is full") as raised:
        run(executor, second)
    assert raised.value.code == "disk-full"


def test_a_killed_machine_costs_the_stages_in_hand_and_nothing_is_made_twice(
    cluster: Nodes, doomed: Any, executor: RayExecutor, tmp_path: Path
):
    log = tmp_path / "log"
    stage = Stage("patient", 1, patient)
    parts = [Node("patient", stage, settings={"log": str(log), "number": n}, subject=str(n)) for n in range(8)]
    whole = Node("whole", Stage("whole", 1, _sum), {"parts": tuple(parts)})
    ended: Counter[str] = Counter()

    def listen(event: StageEvent) -> None:
        ended[event.node] += event.state in ("finished", "cached")

    def kill() -> None:
        until(lambda: ended.total())
        cluster.kill(doomed)

    killing = threading.Thread(target=kill)
    killing.start()
    assert run(executor, whole, listener=listen)[whole] == 28
    killing.join()
    assert set(ended.values()) == {1}
    begun = Counter(log.read_text().split()[1::2])
    assert set(begun) == {str(n) for n in range(8)}
    assert begun.total() <= 8 + 2, "no more than what that machine had in hand"


def _sum(context: Context, parts: tuple[int, ...]) -> int:
    return sum(parts)


def test_where_there_is_no_gpu_a_network_runs_on_cpus_or_says_so():
    network = Stage("network", 1, _sum, uses_gpu=True)
    plain, gpu = {"CPU": 8.0, "memory": 16e9}, {"CPU": 2.0, "GPU": 1.0, "memory": 1e9}
    assert needs(network, [plain], "auto", 1.0, 0).gpus == 0
    assert needs(network, [plain, gpu], "auto", 0.5, 0).gpus == 0.5
    assert needs(network, [plain, gpu], "auto", 1.0, 0).memory <= 1e9, "no more than that machine has"
    with pytest.raises(UnderstudyError, match="has a GPU to give") as raised:
        needs(network, [plain], "cuda", 1.0, 0)
    assert raised.value.code == "device-unknown"
    with pytest.raises(UnderstudyError) as raised:
        needs(network, [], "auto", 1.0, 0)
    assert raised.value.code == "cluster-empty"


def test_a_machine_that_alone_has_a_gpu_is_not_given_up_for_one_without():
    executor = object.__new__(RayExecutor)  # the choice alone needs no cluster
    machines = {"gpu": {"CPU": 2.0, "GPU": 1.0, "memory": 1e9}, "plain": {"CPU": 8.0, "memory": 16e9}}
    executor._listed = (float("inf"), [{"NodeID": id, "Resources": of, "Alive": True} for id, of in machines.items()])
    executor._wanted, executor._share, executor._faults = "cuda", 1.0, {}
    network, plain = Stage("network", 1, _sum, uses_gpu=True), Stage("plain", 1, _sum)
    assert executor._usable(network, {"gpu"}).keys() == {"gpu", "plain"}, "no other has a GPU"
    assert executor._usable(plain, {"gpu"}).keys() == {"plain"}
    executor._faults["gpu"] = (float("inf"), UnderstudyError("disk-full", "The disk is full.", "Make room."))
    assert executor._usable(plain, set()).keys() == {"plain"}
    with pytest.raises(UnderstudyError, match="The disk is full"):
        executor._usable(network, set())


def test_no_cluster_is_said_at_once(monkeypatch: pytest.MonkeyPatch, cluster: Nodes):
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    for address in ("127.0.0.1:9", "nonsense:port", "ray://127.0.0.1:10001"):
        with pytest.raises(UnderstudyError) as raised:
            connect(address)
        assert raised.value.code == "cluster-unreachable"


def test_a_claim_is_held_by_one_and_ends_with_its_holder():
    now = [0.0]
    claims = Claims(lambda: now[0])
    assert claims.claim("key", "a")
    assert not claims.claim("key", "b")
    claims.release("key", "b")
    assert not claims.claim("key", "b"), "only its holder releases it"
    now[0] = LEASE - 1
    claims.renew(["key"], "a")
    now[0] = LEASE + 1
    assert not claims.claim("key", "b")
    now[0] = 3 * LEASE
    assert claims.claim("key", "b"), "its holder is dead"
