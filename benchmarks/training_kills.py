"""Kills a training by SIGKILL at random moments, again and again, and compares what it ends with: model, index, scores
and losses must have the same bytes as those of an undisturbed one, and no voice may ever be half published.

    python -m benchmarks.training_kills --kills 30

A tiny network on a synthetic voice. Each run is killed `--per-run` times, at a random moment of a phase: preparation,
training, evaluation, index, comparison (the instant voice sings), publication, report.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

PHASES = ("preparation", "training", "evaluation", "index", "comparison", "publication", "report")
SETTINGS = {
    "size": "tiny", "embedder": "cepstral", "most_steps": 6, "evaluate_every": 3, "batch_size": 2,
    "learning_rate": 1e-3, "save_minutes": 0.01,
}  # fmt: skip


@dataclass(frozen=True)
class Undisturbed:
    """`files`: hash of each file that a run ends with; `seconds`: each phase's duration."""

    files: dict[str, str]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Moment:
    """`delay` seconds after `phase` began."""

    phase: str
    delay: float

    @staticmethod
    def of(whole: Undisturbed, phase: str, part: float) -> Moment:
        return Moment(phase, part * whole.seconds[phase])


@dataclass(frozen=True)
class Attempt:
    """A run that was killed. `killed`: for each moment whether it came before the process's end. `same`: whether it
    ended with the bytes of the undisturbed run. `whole_meanwhile`: whether the voice was whole after each kill: without
    a model, or with all of it. `steps`: the newest state after each kill."""

    killed: tuple[bool, ...]
    same: bool
    whole_meanwhile: bool
    steps: tuple[int, ...]
    different: tuple[str, ...]


def run_undisturbed(start: Path, root: Path) -> Undisturbed:
    """Train the voice of the library ``start/voices`` in a copy at `root`."""
    shutil.copytree(start, root)
    code, lines = process(root, None)
    if code != 0:
        raise RuntimeError(f"the undisturbed run failed: {lines[-3:]}")
    times = [(line.split()[1], float(line.split()[2])) for line in lines if line.startswith("phase ")]
    seconds: dict[str, float] = {}
    for (phase, began), (_, ended) in pairwise(times):
        # of the phases that come again the first, but training as a whole
        seconds[phase] = (
            seconds.get(phase, 0.0) + ended - began if phase == "training" else seconds.get(phase, ended - began)
        )
    return Undisturbed(results(root), seconds)


def attempt(start: Path, root: Path, moments: Sequence[Moment], whole: Undisturbed) -> Attempt:
    """Train as `run_undisturbed`, in a process for each of `moments` that is killed then, and a last one."""
    shutil.copytree(start, root)
    killed, fine, steps = [], True, []
    for moment in moments:
        code, lines = process(root, moment)
        if code not in (0, -signal.SIGKILL):
            raise RuntimeError(f"a process failed by itself: {lines[-3:]}")
        killed.append(code == -signal.SIGKILL)
        fine &= whole_voice(root, whole)
        steps.append(
            max((int(path.stem.split("-")[1]) for path in root.glob("cache/training/*/state-*.pt")), default=0)
        )
    code, lines = process(root, None)
    if code != 0:
        raise RuntimeError(f"the run did not go on: {lines[-3:]}")
    found = results(root)
    different = tuple(name for name in {**found, **whole.files} if found.get(name) != whole.files.get(name))
    return Attempt(tuple(killed), not different, fine, tuple(steps), different)


def results(root: Path) -> dict[str, str]:
    """The hash of each file that must be the same: the voice's model and index, the run's lines, choice, checkpoints
    and sounds. Run and report tell the measured seconds of a step as well, which never are."""
    found = {}
    for path in sorted(root.glob("voices/nova/model/*")) + sorted(root.glob("cache/training/*/**/*")):
        name = str(path.relative_to(root))
        if (
            path.is_file()
            and path.suffix != ".pt"
            and not path.name.startswith(".")
            and path.name not in ("run.json", "report.html")
        ):
            data = path.read_bytes().replace(str(root).encode(), b"ROOT")
            found[name] = hashlib.sha256(data).hexdigest()
    return found


def whole_voice(root: Path, whole: Undisturbed) -> bool:
    """Whether the voice in the library is as it was, or has the final model, all files as in the manifest."""
    from understudy.voices import library

    voice = library.load(root / "voices", "nova")
    library.verify(voice, voice.stored_files)
    model = voice.manifest.model
    return model is None or f"voices/nova/model/{model.file}" in whole.files


def process(root: Path, moment: Moment | None) -> tuple[int, list[str]]:
    """A training in a process of its own, killed at `moment`: its exit code, and what it printed."""
    when = [moment.phase, str(moment.delay)] if moment else []
    command = [sys.executable, "-m", "benchmarks.training_kills", "--train", str(root), *when]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    return done.returncode, [*done.stdout.splitlines(), *done.stderr.splitlines()]


def train(root: Path, phase: str = "", delay: float = 0.0) -> None:
    """Train in this process, and kill it `delay` seconds after `phase` began."""
    import understudy as us
    from understudy import training_comparison, training_report
    from understudy.voices import library
    from understudy.voices.rvc import index_building
    from understudy.voices.rvc.training import work

    last = ""

    def enter(name: str) -> None:
        nonlocal last
        if name == last:
            return
        last = name
        sys.stdout.write(f"phase {name} {time.monotonic()}\n")
        sys.stdout.flush()
        if name == phase:
            timer = threading.Timer(delay, lambda: os.kill(os.getpid(), signal.SIGKILL))
            timer.daemon = True
            timer.start()

    def entering(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*given: Any, **named: Any) -> Any:
            enter(name)
            return function(*given, **named)

        return wrapped

    work.RvcWork.step = entering("training", work.RvcWork.step)  # type: ignore[method-assign]
    work.RvcWork.evaluate = entering("evaluation", work.RvcWork.evaluate)  # type: ignore[method-assign]
    index_building.build_index = entering("index", index_building.build_index)
    training_comparison.evaluate_instant = entering("comparison", training_comparison.evaluate_instant)
    library.publish_model = entering("publication", library.publish_model)
    training_report.write_report = entering("report", training_report.write_report)
    voices = us.VoiceLibrary(root / "voices")
    enter("preparation")
    voices.train("nova", settings=SETTINGS, cache=root / "cache", device="cpu")
    enter("end")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--per-run", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        root, *when = options.train
        train(Path(root), *(when and [when[0], float(when[1])]))
        return
    from tests.support.training_voices import sung_voice

    random_ = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder, "start")
        sung_voice(start / "voices")
        whole = run_undisturbed(start, Path(folder, "whole"))
        print("phases of an undisturbed run, seconds:", json.dumps({k: round(v, 2) for k, v in whole.seconds.items()}))
        kills, bad, number = 0, 0, 0
        while kills < options.kills:
            phases = [PHASES[(number * options.per_run + turn) % len(PHASES)] for turn in range(options.per_run)]
            moments = [Moment.of(whole, phase, random_.random()) for phase in phases]
            root = Path(folder, f"run-{number}")
            found = attempt(start, root, moments, whole)
            shutil.rmtree(root)
            print(f"run {number}: same bytes {found.same}, voice whole after each kill {found.whole_meanwhile}")
            for moment, killed, step in zip(moments, found.killed, found.steps, strict=True):
                how = f"killed, newest state {step}" if killed else "had ended"
                print(f"    {moment.phase:12} {moment.delay:6.2f} s   {how}", flush=True)
            if found.different:
                print("    different:", ", ".join(found.different))
            kills, number = kills + sum(found.killed), number + 1
            bad += not (found.same and found.whole_meanwhile)
        print(f"{kills} kills in {number} runs; {bad} runs differ")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
