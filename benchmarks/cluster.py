"""Stages on a Ray cluster of several nodes on this machine, which it starts.

    python benchmarks/cluster.py overhead     seconds and CPU seconds that the cluster adds to a stage
    python benchmarks/cluster.py same         a batch of songs times voices, on the cluster and by the local executor
    python benchmarks/cluster.py kills        nodes and processes are killed at random moments while covers are made
    python benchmarks/cluster.py scale        songs an hour and use of the GPUs by the size of the cluster

The stages of `kills` and `scale` sleep as long as those of a real cover take (docs/measurements.md, 4 minutes of song),
divided by `--speed`; GPUs are virtual. What they return is a hash of all that went into them, which `kills` compares.
Each prints one JSON object; `kills` and `same` exit 1 when something was lost, made twice, or came out differently.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import batch  # noqa: E402
from tests.support.ray_cluster import Nodes, nodes  # noqa: E402
from understudy.context import Context  # noqa: E402
from understudy.pipeline.executor import StageEvent  # noqa: E402
from understudy.pipeline.graph import Graph, Node, Setting, Stage  # noqa: E402
from understudy.pipeline.ray_executor import RayExecutor, connect  # noqa: E402
from understudy.pipeline.shared_store import SharedStore, StoreAddress  # noqa: E402

# name -> (seconds for 4 minutes of song, whether a network, what it needs)
COVER: dict[str, tuple[float, bool, tuple[str, ...]]] = {
    "decode": (0.38, False, ()),
    "separate": (12.9, True, ("decode",)),
    "pitch": (2.37, True, ("separate",)),
    "convert": (22.33, True, ("separate", "pitch")),
    "finish": (0.72, False, ("convert", "separate")),
    "measure": (2.38, False, ("decode", "finish")),
    "remix": (3.63, False, ("measure",)),
    "encode": (0.95, False, ("remix",)),
    "assess": (7.27, False, ("finish",)),
    "report": (0.93, False, ("assess", "remix")),
}
GPU_SECONDS = sum(seconds for seconds, network, _ in COVER.values() if network)


def sleep(context: Context, song: int, seconds: float, log: str, before: tuple[str, ...]) -> str:
    if log:
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{context.folder.name} {os.getpid()}\n")  # the artifact's key
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        context.progress(1 - left / max(seconds, 1e-9))
        time.sleep(min(0.1, left))
    return hashed(song, seconds, before)


def hashed(song: int, seconds: float, before: tuple[str, ...]) -> str:
    return hashlib.sha256(repr((song, seconds, before)).encode()).hexdigest()


def cover(song: int, speed: float, log: str = "") -> Node[Any]:
    """The last node of a cover whose stages sleep."""
    made: dict[str, Node[Any]] = {}
    for name, (seconds, network, needed) in COVER.items():
        stage = Stage(f"sleep {name}", 1, sleep, uses_gpu=network)
        settings: dict[str, Setting] = {"song": song, "seconds": seconds / speed, "log": log}
        made[name] = Node(name, stage, {"before": tuple(made[one] for one in needed)}, settings)
    return Node("cover", Stage("sleep cover", 1, sleep), {"before": (made["encode"], made["report"])}, settings)


def expected(song: int, speed: float) -> str:
    """What `cover` returns, computed here."""
    made: dict[str, str] = {}
    for name, (seconds, _, needed) in COVER.items():
        made[name] = hashed(song, seconds / speed, tuple(made[one] for one in needed))
    return hashed(song, COVER["report"][0] / speed, (made["encode"], made["report"]))


def run(executor: RayExecutor, node: Node[Any], listener: Any = lambda event: None) -> Any:
    return executor.run(Graph.of(node), [node], listener, threading.Event())


@contextmanager
def cluster(gpus: int = 0, nodes_of: int = 1, cpus: int = 2) -> Iterator[tuple[Nodes, RayExecutor, Path]]:
    """A cluster whose head has only CPUs, beside `nodes_of` nodes with `gpus` virtual GPUs together."""
    with tempfile.TemporaryDirectory(prefix="understudy-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        with nodes(folder / "nodes") as started:
            for number in range(nodes_of):
                started.add(cpus, gpus // nodes_of + (number < gpus % nodes_of))
            connect(started.address)
            yield started, RayExecutor(SharedStore(StoreAddress(str(folder / "store")), folder / "here")), folder


def memory() -> int:
    """Resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def overhead(stages: int) -> dict[str, Any]:
    """Stages that do nothing, one after the other: what is left is the cluster's."""
    with cluster() as (_, executor, _):
        run(executor, _nothing(-1))  # the process is there, with its imports
        seconds, cpu = [], time.process_time()
        for number in range(stages):
            begun = time.monotonic()
            run(executor, _nothing(number))
            seconds.append(time.monotonic() - begun)
        return {
            "stages": stages,
            "median_ms": round(1000 * statistics.median(seconds), 1),
            "p95_ms": round(1000 * statistics.quantiles(seconds, n=20)[-1], 1),
            "driver_cpu_ms": round(1000 * (time.process_time() - cpu) / stages, 1),
        }


def _nothing(number: int) -> Node[Any]:
    settings: dict[str, Setting] = {"song": number, "seconds": 0.0, "log": ""}
    return Node("nothing", Stage("nothing", 1, sleep), {"before": ()}, settings)


def same(songs: int, voices: int, seconds: float, jobs: int) -> dict[str, Any]:
    """Covers of synthesised songs by voices, made by the command line on a cluster of three nodes and locally, and
    compared: the covers as Opus, which hold no signature (it contains the time), and all artifacts, by key.
    Of these, `sign` and `ingredient` differ, which contain the time of a signature."""
    with tempfile.TemporaryDirectory(prefix="understudy-") as made, nodes(Path(made) / "nodes") as started:
        folder = Path(made)
        files, names = batch.material(folder, songs, voices, seconds)
        command = ["batch", *files, *(part for name in names for part in ("--voice", name)), "--format", "opus"]
        for _ in range(2):
            started.add(2)
        on_cluster = ["--executor", "ray", "--address", started.address, "--store", str(folder / "store")]
        walls = [
            batch.understudy(folder, folder / "here", *command, "--jobs", str(jobs), "--output", "ray", *on_cluster),
            batch.understudy(folder, folder / "alone", *command, "--output", "local"),
        ]
        covers = sorted(path.name for path in (folder / "local").rglob("*.opus"))
        different = [name for name in covers if not _equal(*(_found(folder / one, name) for one in ("ray", "local")))]
        artifacts = [path.parent for path in (folder / "alone" / "artifacts").glob("*/*/artifact.json")]
        unlike: Counter[str] = Counter()
        for artifact in artifacts:
            there = folder / "store" / artifact.relative_to(folder / "alone")
            parts = [path.relative_to(artifact) for path in artifact.rglob("*") if path.is_file()]
            record = json.loads((artifact / "artifact.json").read_text())
            if not all(part.name == "artifact.json" or _equal(artifact / part, there / part) for part in parts):
                unlike[record["stage"]] += 1
        used = [sum(1 for _ in (folder / "nodes" / f"node{number}").glob("artifacts/*/*")) for number in (1, 2, 3)]
    return {
        "covers": len(covers),
        "covers_different": different,
        "artifacts": len(artifacts),
        "artifacts_different": dict(unlike),
        "artifacts_on_nodes": used,
        "seconds_ray_and_local": [round(wall) for wall in walls],
    }


def _found(folder: Path, name: str) -> Path:
    return next(folder.rglob(name), folder / name)


def _equal(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()


def kills(nodes_killed: int, processes_killed: int, pause: float, speed: float, seed: int) -> dict[str, Any]:
    """Covers, four at once, until so many nodes and processes of stages were killed, `pause` seconds apart on the
    average; each node is replaced."""
    chance = random.Random(seed)
    plan = ["node"] * nodes_killed + ["process"] * processes_killed
    chance.shuffle(plan)
    with cluster(gpus=2, nodes_of=2) as (started, executor, folder):
        log = folder / "log"
        doomed = sorted(started.cluster.worker_nodes, key=str)
        finished: Counter[tuple[int, str]] = Counter()
        songs, over = itertools.count(), threading.Event()

        def make() -> list[int]:
            """The songs made here that came out wrong."""
            wrong = []
            while not over.is_set():
                song = next(songs)

                def listen(event: StageEvent, song: int = song) -> None:
                    finished[song, event.node] += event.state == "finished"

                node = cover(song, speed, str(log))
                if run(executor, node, listen)[node] != expected(song, speed):
                    wrong.append(song)
            return wrong

        begun, killed = time.monotonic(), Counter[str]()
        with ThreadPoolExecutor(4) as pool:
            making = [pool.submit(make) for _ in range(4)]
            try:
                # in this thread, since Ray sets signal handlers when it starts a node
                while plan and not wait(making, chance.uniform(0.1, 2 * pause), FIRST_EXCEPTION).done:
                    if plan[-1] == "node":
                        started.kill(doomed.pop(chance.randrange(len(doomed))))
                        doomed.append(started.add(2, 1))
                    elif at_work := _at_work(log):
                        os.kill(chance.choice(at_work), signal.SIGKILL)
                    else:
                        continue
                    killed[plan.pop()] += 1
                    print(f"{time.monotonic() - begun:.0f} s: {dict(killed)}", file=sys.stderr, flush=True)
            finally:
                over.set()
            wrong = [song for one in making for song in one.result()]
        starts = Counter(line.split()[0] for line in log.read_text().splitlines())
    count = next(songs)
    return {
        "seconds": round(time.monotonic() - begun),
        "killed": dict(killed),
        "songs": count,
        "stages": (stages := count * (len(COVER) + 1)),
        "lost": stages - len(starts),
        "made_twice": sum(times - 1 for times in finished.values() if times > 1),
        "wrong": len(wrong),
        "in_hand_run_again": starts.total() - len(starts),
    }


def _at_work(log: Path) -> list[int]:
    """The processes of the latest stages that are still there."""
    latest = {line.split()[1] for line in log.read_text().splitlines()[-8:]} if log.exists() else set()
    return sorted(int(process) for process in latest if Path("/proc", process).exists())


def scale(sizes: list[int], songs: int, speed: float) -> list[dict[str, Any]]:
    """`songs` covers per GPU on clusters of so many GPUs, four covers in work per GPU."""
    found = []
    for gpus in sizes:
        with cluster(gpus, nodes_of=min(2, gpus), cpus=2 * gpus) as (_, executor, _):
            warming = [_warming(number) for number in range(3 * gpus)]
            with ThreadPoolExecutor(3 * gpus) as pool:  # processes are there, with their imports
                list(pool.map(lambda node: run(executor, node), warming))
            begun, cpu, count = time.monotonic(), time.process_time(), songs * gpus
            with ThreadPoolExecutor(4 * gpus) as pool:
                told = sorted(pool.map(partial(_timed, executor, speed), range(count)))
            cpu = time.process_time() - cpu
            ended = [at for at, _ in told]
            # without the beginning and the end, when there isn't work for all
            first, last = 4 * gpus, count - 4 * gpus
            rate = (last - first) / (ended[last] - ended[first])
            found.append(
                {
                    "gpus": gpus,
                    "songs": count,
                    "wall_seconds": round(ended[-1] - begun, 1),
                    "songs_an_hour": round(3600 * rate / speed, 1),
                    "gpu_use": round(rate * GPU_SECONDS / speed / gpus, 3),
                    "driver_cpu_ms_a_stage": round(1000 * cpu / count / (len(COVER) + 1), 1),
                    "driver_mb": [round(size / 1e6) for _, size in told[:: max(1, count // 5)]],
                }
            )
    return found


def _timed(executor: RayExecutor, speed: float, song: int) -> tuple[float, int]:
    """When the cover was ready, and how large this process was then."""
    run(executor, cover(song, speed))
    return time.monotonic(), memory()


def _warming(number: int) -> Node[Any]:
    stage = Stage("warming", 1, sleep, uses_gpu=number % 3 == 0)
    return Node("warming", stage, {"before": ()}, {"song": number, "seconds": 4.0, "log": ""})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("overhead", "same", "kills", "scale"))
    parser.add_argument("--stages", type=int, default=100, help="of 'overhead'")
    parser.add_argument("--songs", type=int, default=30, help="of 'same'; covers for each GPU of 'scale'")
    parser.add_argument("--voices", type=int, default=3, help="of 'same'")
    parser.add_argument("--seconds", type=float, default=10.0, help="of the songs of 'same', each a second longer")
    parser.add_argument("--nodes", type=int, default=30, help="to be killed")
    parser.add_argument("--processes", type=int, default=30, help="of stages to be killed")
    parser.add_argument("--pause", type=float, default=5.0, help="seconds between two kills, on the average")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 2, 4, 8], help="sizes of 'scale'")
    parser.add_argument("--speed", type=float, default=10.0, help="how much faster than real stages")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    if chosen.what == "overhead":
        print(json.dumps(overhead(chosen.stages), indent=1))
    elif chosen.what == "same":
        figures = same(chosen.songs, chosen.voices, chosen.seconds, 4)
        print(json.dumps(figures, indent=1))
        sys.exit(bool(figures["covers_different"] or figures["artifacts_different"].keys() - {"sign", "ingredient"}))
    elif chosen.what == "scale":
        print(json.dumps({"sizes": scale(chosen.gpus, chosen.songs, chosen.speed)}, indent=1))
    else:
        figures = kills(chosen.nodes, chosen.processes, chosen.pause, chosen.speed, chosen.seed)
        print(json.dumps(figures, indent=1))
        sys.exit(bool(figures["lost"] or figures["made_twice"] or figures["wrong"]))


if __name__ == "__main__":
    main()
