import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from tests.support.command import HANGS, without_settings
from understudy.context import Context
from understudy.errors import Cancelled, UnderstudyError
from understudy.pipeline.executor import LocalExecutor, StageEvent
from understudy.pipeline.graph import External, Graph, Node, Stage
from understudy.pipeline.store import Store


def one(context: Context) -> int:
    context.warn("one was here")
    return 1


def add(context: Context, a: int, b: int) -> int:
    return a + b


def repeat(context: Context, warnings: list[tuple[str, str]]) -> list[str]:
    return [f"{node}: {sentence}" for node, sentence in warnings]


def fail(context: Context, error: Exception) -> None:
    raise error


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


def wants_gpu(context: Context) -> str:
    if context.device != "cpu":
        raise OutOfMemoryError
    return context.device


LEFT = Node("left", Stage("one", 1, one))
RIGHT = Node("right", Stage("one", 2, one))
SUM = Node("sum", Stage("add", 1, add), {"a": LEFT, "b": RIGHT})
REPEATED = Node("repeated", Stage("repeat", 1, repeat), warnings_from=(LEFT, SUM))
DIAMOND = Graph.of(SUM, REPEATED)


def ignore(event: StageEvent) -> None:
    """Nobody is listening."""


@pytest.fixture
def executor(tmp_path: Path) -> LocalExecutor:
    return LocalExecutor(Store(tmp_path))


def test_a_graph_is_run_once(executor: LocalExecutor):
    first = executor.run(DIAMOND, [SUM], ignore, threading.Event())
    again = executor.run(DIAMOND, [SUM], ignore, threading.Event())
    assert first[SUM] == again[SUM] == 2
    assert {stage.name: stage.cached for stage in first.stages} == {"left": False, "right": False, "sum": False}
    assert all(stage.cached for stage in again.stages)


def test_parts_of_a_value_are_results_too(executor: LocalExecutor):
    node = Node("stems", Stage("stems", 1, lambda context: {"vocals": 1, "bass": 2}))
    result = executor.run(Graph.of(node), [node], ignore, threading.Event())
    assert result[node["bass"]] == 2


def test_warnings_are_kept_with_the_artifact_and_heard(executor: LocalExecutor):
    executor.run(DIAMOND, [LEFT], ignore, threading.Event())
    result = executor.run(DIAMOND, [REPEATED], ignore, threading.Event())
    assert result[REPEATED] == ("left: one was here",)


def test_events_tell_the_whole_story(executor: LocalExecutor):
    events: list[StageEvent] = []
    executor.run(DIAMOND, [LEFT], events.append, threading.Event())
    executor.run(DIAMOND, [LEFT], events.append, threading.Event())
    assert [event.state for event in events if event.state != "progress"] == ["started", "finished", "cached"]


def test_a_stage_that_fails_fails_the_run_and_its_neighbours_stay(executor: LocalExecutor):
    error = UnderstudyError("code", "what", "do")
    good = Node("good", Stage("one", 1, one))
    bad = Node("bad", Stage("bad", 1, lambda context, good: fail(context, error)), {"good": good})
    graph = Graph.of(bad)
    with pytest.raises(UnderstudyError, match="what"):
        executor.run(graph, [bad], ignore, threading.Event())
    assert executor.store.has(graph.keys()[good])
    assert not executor.store.has(graph.keys()[bad])


def test_a_full_disk_is_said_plainly(executor: LocalExecutor):
    bad = Node("bad", Stage("bad", 1, lambda context: fail(context, OSError(28, "No space"))))
    with pytest.raises(UnderstudyError) as raised:
        executor.run(Graph.of(bad), [bad], ignore, threading.Event())
    assert raised.value.code == "disk-full"


def test_cancelling_stops_a_stage_and_leaves_nothing(executor: LocalExecutor):
    cancelled = threading.Event()

    def endless(context: Context) -> None:
        cancelled.set()
        while True:
            context.progress(0.5)
            time.sleep(0.01)

    node = Node("endless", Stage("endless", 1, endless))
    with pytest.raises(Cancelled):
        executor.run(Graph.of(node), [node], ignore, cancelled)
    assert list((executor.store.root / "making").iterdir()) == []


def test_out_of_gpu_memory_goes_on_on_the_cpu_and_says_so(tmp_path: Path):
    executor = LocalExecutor(Store(tmp_path), device="cuda:0")
    net = Node("net", Stage("net", 1, wants_gpu, uses_gpu=True))
    (stage,) = executor.run(Graph.of(net), [net], ignore, threading.Event()).stages
    assert stage.device == "cpu"
    assert "GPU ran out of memory" in stage.warnings[0]


def test_runs_share_the_lanes(tmp_path: Path):
    """Two songs at once: while the first is in one lane the second is in the other."""
    executor = LocalExecutor(Store(tmp_path), cpu_lanes=2)
    meeting = threading.Barrier(2, timeout=HANGS)

    def meet(context: Context, song: int) -> int:
        meeting.wait()
        return song

    def run(song: int) -> None:
        node = Node("meet", Stage("meet", 1, meet), settings={"song": song})
        results.append(executor.run(Graph.of(node), [node], ignore, threading.Event())[node])

    results: list[int] = []
    threads = [threading.Thread(target=run, args=(song,)) for song in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [1, 2]


TICKS = 6 * 20
STEPS = textwrap.dedent(
    """
    import sys, threading
    from pathlib import Path
    from understudy.pipeline.executor import LocalExecutor
    from understudy.pipeline.graph import Graph, Node, Stage
    from understudy.pipeline.store import Store

    def step(context, number, before=""):
        out = context.folder / "text"
        with out.open("w") as file:
            for _ in range(20):
                print("tick", flush=True)
                sys.stdin.readline()  # the test says how far it may go
                context.progress(0.5)
                file.write(f"{number},")
                file.flush()
        with (Path(sys.argv[2])).open("a") as log:
            log.write(f"{number}\\n")
        return (out.read_text() if not before else before + out.read_text())

    nodes = [Node("n0", Stage("step", 1, step), {}, {"number": 0})]
    for number in range(1, 6):
        nodes.append(Node(f"n{number}", Stage("step", 1, step), {"before": nodes[-1]}, {"number": number}))
    executor = LocalExecutor(Store(Path(sys.argv[1])))
    result = executor.run(Graph.of(nodes[-1]), nodes[-1:], lambda e: None, threading.Event())
    print(result[nodes[-1]])
    """
)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_killed_at_any_moment_it_resumes_and_repeats_nothing(tmp_path: Path):
    def start(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", STEPS, str(tmp_path / name), str(tmp_path / f"{name}.log")]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=without_settings())

    undisturbed = start("calm").communicate("\n" * TICKS)[0].split()[-1]
    # within a step, as it ends and is stored, and a few times in the same step; each run goes on where the last ended
    for ticks in (1, 20, 7, 19, 21, 39, 3, 20, 30):
        with start("killed") as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n" * ticks)
            process.stdin.flush()
            for _ in range(ticks):
                assert process.stdout.readline() == "tick\n"
            process.kill()
    ended, _ = start("killed").communicate("\n" * TICKS)
    assert ended.count("tick") < TICKS, "it began at the beginning again"
    assert ended.split()[-1] == undisturbed
    # a kill between the log's line and the rename may make a step twice, never after its artifact was there
    lines = (tmp_path / "killed.log").read_text().split()
    assert lines == sorted(lines)
    assert list((tmp_path / "killed" / "making").iterdir()) == []


def summed(context: Context, parts: dict[str, int], left_out: tuple[str, ...] = ()) -> tuple[int, tuple[str, ...]]:
    return sum(parts.values()), left_out


def an_ensemble(error: Exception) -> Node[tuple[int, tuple[str, ...]]]:
    a = Node("a", Stage("one", 1, one), optional=True)
    b = Node("b", Stage("fail", 1, fail), {}, {}, {"error": External(error, repr(error))}, optional=True)
    return Node("all", Stage("summed", 1, summed), {"parts": {"a": a, "b": b}})


def test_an_optional_node_may_fail(tmp_path: Path):
    executor = LocalExecutor(Store(tmp_path))
    both = an_ensemble(UnderstudyError("broken", "B is broken.", "Mend it."))
    result = executor.run(Graph.of(both), [both], lambda event: None, threading.Event())
    assert result[both] == (1, ("B is broken.",))
    assert {stage.name for stage in result.stages if not stage.cached} == {"a", "all"}
    again = executor.run(Graph.of(both), [both], lambda event: None, threading.Event())
    assert all(stage.cached for stage in again.stages)


@pytest.mark.parametrize("error", [Cancelled(), ValueError("a bug")])
def test_an_optional_node_may_not_be_cancelled_or_have_a_bug(tmp_path: Path, error: Exception):
    both = an_ensemble(error)
    with pytest.raises(type(error)):
        LocalExecutor(Store(tmp_path)).run(Graph.of(both), [both], lambda event: None, threading.Event())


def test_stages_that_need_much_memory_run_one_at_a_time(tmp_path: Path):
    running, most, guard = 0, 0, threading.Lock()

    def big(context: Context) -> int:
        nonlocal running, most
        with guard:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with guard:
            running -= 1
        return 1

    nodes = [Node(f"big{number}", Stage("big", number, big, big=True)) for number in range(4)]
    LocalExecutor(Store(tmp_path), cpu_lanes=4).run(Graph.of(*nodes), nodes, lambda event: None, threading.Event())
    assert most == 1
