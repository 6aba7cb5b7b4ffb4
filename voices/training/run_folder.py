"""`RunFolder`: the files of a training run, of which a kill or a full disk never leaves one half written.

    run.json               what is trained on what, and what was fixed when it began (`Run`)
    state-<step>.pt        networks, optimisers and position: what the run goes on from; at most two
    kept/step-<step>.safetensors   checkpoints for singing (float16)
    samples/step-<step>/   sounds of the evaluation, for the report
    losses.jsonl           a line per so many steps
    evaluations.jsonl      a line per evaluation
    chosen.json            the checkpoint that was chosen, and why

A file appears under its name by a rename, after its bytes are on the disk. Lines are appended; a half-written last line
is dropped when the run goes on, as is everything newer than the state that it goes on from.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from understudy.disk import explained
from understudy.errors import UnderstudyError
from understudy.voices.training.settings import TrainingSettings

MOST_STATES = 2
RUN, CHOSEN, LOSSES, EVALUATIONS = "run.json", "chosen.json", "losses.jsonl", "evaluations.jsonl"
STOP = ".stop"  # a request to the processes of the run


class Run(BaseModel):
    """`run.json`: what a run was begun with. It is never changed.

    `voice`: the voice's name when it began; `recordings_hash`: the hash by which it is found after a renaming.
    `evaluate_every`: steps between evaluations. `batch_size`: clips per step of each process. `base`: the files of the
    generator and the discriminators that it began with. `threads`: of torch on a CPU; the last bits depend on their
    number. `seconds_per_step`: as measured when it began.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    voice: str
    recordings_hash: str
    settings: TrainingSettings
    evaluate_every: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    base: tuple[str, str] | None = None
    threads: int | None = Field(None, ge=1)
    seconds_per_step: float | None = Field(None, gt=0)


class RunFolder:
    def __init__(self, path: Path) -> None:
        self.path = path

    # -- what was begun

    def begin(self, run: Run) -> None:
        """Make the folder and write ``run.json``."""
        with self._disk(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        self.write_json(RUN, run.model_dump(mode="json"))

    def run(self) -> Run | None:
        """What the run was begun with; None if it has not begun. Raises ``training-unreadable``."""
        path = self.path / RUN
        try:
            return Run.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise self._unreadable(path) from error

    # -- states

    def states(self) -> list[int]:
        """Steps of the states on disk, newest first."""
        return _numbers(self.path.glob("state-*.pt"))

    def save_state(self, step: int, state: Any, keep: Callable[[int], bool] = lambda step: False) -> None:
        """Write `state` (nested dicts of tensors and plain values) as that of `step`, then remove older ones.

        Two stay: this one, and the newest before it, of those that `keep` says yes to where there are any. Raises
        ``disk-full`` or ``output-not-writable``; the states before are then intact.
        """
        import torch

        with self.placing(self._state(step)) as part, part.open("wb") as file:
            torch.save(state, file)  # given a path, torch would turn an OSError into a RuntimeError
        older = [other for other in self.states() if other != step]
        spared = [other for other in older if keep(other)] if not keep(step) else []
        stay = {step, *(spared or older)[: MOST_STATES - 1]}
        for other in older:
            if other not in stay:
                self._state(other).unlink(missing_ok=True)

    def load_state(self, most: int | None = None) -> tuple[int, Any] | None:
        """The newest state that can be read, with its step; at most step `most`. Its tensors are on the CPU.

        A state that is cut off or damaged is passed over. None where there is none; raises ``training-unreadable``
        where there are some and none can be read.
        """
        import pickle

        import torch

        found = [step for step in self.states() if most is None or step <= most]
        for step in found:
            try:
                with self._state(step).open("rb") as file:
                    return step, torch.load(file, map_location="cpu", weights_only=True)
            except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
                if "allocate memory" in str(error):
                    raise
        if found:
            raise self._unreadable(self._state(found[0]))
        return None

    def rewind(self, step: int) -> None:
        """Remove everything that is newer than `step`: states, checkpoints, samples, lines, and what was chosen."""
        for other in self.states():
            if other > step:
                self._state(other).unlink(missing_ok=True)
        for other in self.kept():
            if other > step:
                self.drop(other)
        for name in (LOSSES, EVALUATIONS):
            path = self.path / name
            if path.exists():
                lines = [line for line in self.lines(name) if line["step"] <= step]
                with self.placing(path) as part:
                    part.write_bytes(b"".join(_line(line) for line in lines))
        chosen = self.chosen()
        if chosen is not None and chosen["step"] > step:
            (self.path / CHOSEN).unlink(missing_ok=True)
        for left in self.path.rglob(".*.part"):
            left.unlink(missing_ok=True)

    def _state(self, step: int) -> Path:
        return self.path / f"state-{step}.pt"

    # -- checkpoints

    def kept(self) -> list[int]:
        """Steps of the checkpoints on disk, newest first."""
        return _numbers((self.path / "kept").glob("step-*.safetensors"))

    def checkpoint(self, step: int) -> Path:
        return self.path / "kept" / f"step-{step}.safetensors"

    def samples(self, step: int) -> Path:
        """The folder of that checkpoint's sounds."""
        return self.path / "samples" / f"step-{step}"

    def drop(self, step: int) -> None:
        """Remove a checkpoint and its sounds."""
        self.checkpoint(step).unlink(missing_ok=True)
        shutil.rmtree(self.samples(step), ignore_errors=True)

    # -- lines and small files

    def append(self, name: str, entry: Mapping[str, Any]) -> None:
        """Add `entry`, which has its ``step``, as a line to `LOSSES` or `EVALUATIONS`."""
        path = self.path / name
        with self._disk(path), path.open("ab") as file:
            size = file.tell()
            try:
                file.write(_line(entry))
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The lines of `LOSSES` or `EVALUATIONS`; those that can't be read are left out."""
        found = []
        try:
            text = (self.path / name).read_bytes()
        except FileNotFoundError:
            return []
        for line in text.splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and isinstance(entry.get("step"), int):
                found.append(entry)
        return found

    def chosen(self) -> dict[str, Any] | None:
        """What `CHOSEN` holds."""
        try:
            found = json.loads((self.path / CHOSEN).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return found if isinstance(found, dict) and isinstance(found.get("step"), int) else None

    def write_json(self, name: str, data: Mapping[str, Any]) -> None:
        with self.placing(self.path / name) as part:
            part.write_text(json.dumps(data, indent=1) + "\n", "utf-8")

    @contextmanager
    def placing(self, path: Path) -> Iterator[Path]:
        """The name of a file to write, which takes the place of `path` at the end, whole or not at all."""
        part = path.with_name(f".{path.name}.part")
        with self._disk(path):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                yield part
                _to_disk(part)
                part.replace(path)
                _to_disk(path.parent)
            except BaseException:
                part.unlink(missing_ok=True)
                raise

    def _unreadable(self, path: Path) -> UnderstudyError:
        return UnderstudyError(
            "training-unreadable",
            f"{path} can't be read, so this training can't go on.",
            f"Train anew with --restart; copy what you need from {self.path / 'kept'} first.",
        )

    @contextmanager
    def _disk(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise explained(path, error) from error
        except RuntimeError as error:  # torch.save closes its archive after a failed write, which fails as well
            if not isinstance(error.__context__, OSError):
                raise
            raise explained(path, error.__context__) from error


@contextmanager
def held(lock: Path, voice: str) -> Iterator[None]:
    """Holds `lock`, so that one voice is trained once at a time. Raises ``training-running``."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    file = FileLock(lock)
    try:
        file.acquire(timeout=0)
    except Timeout:
        raise UnderstudyError(
            "training-running",
            f"The voice {voice!r} is being trained already, by another command or job.",
            "Wait until it ends, or cancel it: nothing is lost, and the same command goes on.",
        ) from None
    try:
        yield
    finally:
        file.release()


def runs_size(trainings: Path) -> int:
    """Bytes of the files of all runs below the folder `trainings`."""
    return sum(path.lstat().st_size for path in trainings.rglob("*") if path.is_file())


def remove_runs(trainings: Path, recordings_hash: str | None = None) -> int:
    """Delete the runs below the folder `trainings`, None: of all voices, except those that are being trained; returns
    the bytes freed."""
    before = runs_size(trainings)
    for path in trainings.glob(f"*/{RUN}"):
        with suppress(UnderstudyError):  # it is being trained, or can't be read
            run = RunFolder(path.parent).run()
            if run is not None and recordings_hash in (None, run.recordings_hash):
                with held(trainings / f"{run.recordings_hash[:32]}.lock", run.voice):
                    shutil.rmtree(path.parent, ignore_errors=True)
    return before - runs_size(trainings)


def _numbers(paths: Iterator[Path]) -> list[int]:
    names = [path.stem.rpartition("-")[2] for path in paths]
    return sorted((int(name) for name in names if name.isdigit()), reverse=True)


def _line(entry: Mapping[str, Any]) -> bytes:
    return (json.dumps(entry) + "\n").encode()


def _to_disk(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk now."""
    if path.is_dir() and os.name == "nt":
        return  # a folder can't be opened there
    handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
