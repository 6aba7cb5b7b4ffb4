"""Stages on a Ray cluster of several nodes on this machine, which it starts.

    python benchmarks/cluster.py overhead     seconds and CPU seconds that the cluster adds to a stage
    python benchmarks/cluster.py kills        nodes are killed at random moments while covers are made
    python benchmarks/cluster.py scale        songs an hour and use of the GPUs by the size of the cluster

The stages of `kills` and `scale` sleep as long as those of a real cover take (docs/measurements.md, 4 minutes of song),
divided by `--speed`; GPUs are virtual. Each prints one JSON object; `kills` exits 1 when something was lost or made
twice.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

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
    name = context.folder.name  # the artifact's key
    if log:
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{name}\n")
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        context.progress(1 - left / max(seconds, 1e-9))
        time.sleep(min(0.1, left))
    return name


def cover(song: int, speed: float, log: str = "") -> Node[Any]:
    """The last node of a cover whose stages sleep."""
    made: dict[str, Node[Any]] = {}
    for name, (seconds, network, needed) in COVER.items():
        stage = Stage(f"sleep {name}", 1, sleep, uses_gpu=network)
        settings: dict[str, Setting] = {"song": song, "seconds": seconds / speed, "log": log}
        made[name] = Node(name, stage, {"before": tuple(made[one] for one in needed)}, settings)
    return Node("cover", Stage("sleep cover", 1, sleep), {"before": (made["encode"], made["report"])}, settings)


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


def kills(songs: int, count: int, speed: float, seed: int) -> dict[str, Any]:
    """Covers, several at once, while one node after the other is killed and replaced."""
    chance, killed = random.Random(seed), 0
    with cluster(gpus=2, nodes_of=2) as (started, executor, folder):
        log = str(folder / "log")
        doomed = sorted(started.cluster.worker_nodes, key=str)

        finished: Counter[tuple[int, str]] = Counter()

        def make(song: int) -> None:
            def listen(event: StageEvent) -> None:
                finished[song, event.node] += event.state == "finished"

            run(executor, cover(song, speed, log), listen)

        with ThreadPoolExecutor(4) as pool:
            making = [pool.submit(make, song) for song in range(songs)]
            # in this thread, since Ray sets signal handlers when it starts a node
            while killed < count and wait(making, timeout=chance.uniform(0.5, 8.0)).not_done:
                started.kill(doomed.pop(chance.randrange(len(doomed))))
                killed += 1
                doomed.append(started.add(2, 1))
            for song in making:
                song.result()
        begun = Counter(Path(log).read_text().split())
    stages = songs * (len(COVER) + 1)
    return {
        "songs": songs,
        "kills": killed,
        "stages": stages,
        "lost": stages - len(begun),
        "made_twice": sum(times - 1 for times in finished.values() if times > 1),
        "in_hand_run_again": sum(begun.values()) - len(begun),
    }


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
    parser.add_argument("what", choices=("overhead", "kills", "scale"))
    parser.add_argument("--stages", type=int, default=100, help="of 'overhead'")
    parser.add_argument("--songs", type=int, default=30, help="covers in all; of 'scale' for each GPU")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 2, 4, 8], help="sizes of 'scale'")
    parser.add_argument("--speed", type=float, default=10.0, help="how much faster than real stages")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    if chosen.what == "overhead":
        print(json.dumps(overhead(chosen.stages), indent=1))
    elif chosen.what == "scale":
        print(json.dumps({"sizes": scale(chosen.gpus, chosen.songs, chosen.speed)}, indent=1))
    else:
        figures = kills(chosen.songs, chosen.kills, chosen.speed, chosen.seed)
        print(json.dumps(figures, indent=1))
        sys.exit(bool(figures["lost"] or figures["made_twice"]))


if __name__ == "__main__":
    main()
