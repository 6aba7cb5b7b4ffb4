"""A training in several processes of this machine, one for each GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

from understudy.errors import Cancelled, UnderstudyError
from understudy.voices.training.events import Notify, TrainingEvent
from understudy.voices.training.loop import Outcome
from understudy.voices.training.run_folder import STOP, RunFolder
from understudy.wording import counted


def train_on_several(gpus: int, folder: RunFolder, tell: Notify, cancelled: Event, enough: Event | None) -> Outcome:
    """`go_on` in a process for each GPU. When memory runs out in one of them, all begin again with smaller batches."""
    while True:
        try:
            return _several(gpus, folder, tell, cancelled, enough)
        except UnderstudyError as error:
            run = folder.run()
            if error.code != "out-of-memory" or run is None or run.batch_size == 1:
                raise
            half = run.batch_size // 2
            folder.begin(run.model_copy(update={"batch_size": half}))
            tell(TrainingEvent("warning", 0, 0, sentence=f"Memory ran out: going on with {counted(half, 'clip')}."))


def _several(gpus: int, folder: RunFolder, tell: Notify, cancelled: Event, enough: Event | None) -> Outcome:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={gpus}"]
    command += ["-m", "understudy.voices.rvc.training", str(folder.path)]
    outcome, failure, last = None, None, ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            with _stopping(folder, cancelled, enough):
                for line in process.stdout:
                    try:
                        found = json.loads(line)
                    except ValueError:
                        found = None
                    if not isinstance(found, dict):
                        last = line.strip() or last
                    elif "event" in found:
                        tell(TrainingEvent(**found["event"]))
                    elif "outcome" in found:
                        outcome = Outcome(**found["outcome"])
                    elif "error" in found and failure is None:
                        failure = UnderstudyError(**found["error"])
        except BaseException:
            process.terminate()
            raise
    if failure is not None:
        raise Cancelled if failure.code == "cancelled" else failure
    if outcome is None:
        raise UnderstudyError(
            "training-process-ended",
            f"A process of the training ended unexpectedly (code {process.returncode}): {last or 'it said nothing'}.",
            "Run the same command again: it goes on from the last saved state.",
        )
    return outcome


@contextmanager
def _stopping(folder: RunFolder, cancelled: Event, enough: Event | None) -> Iterator[None]:
    """Passes the two events on to the processes of the run, by a file in its folder."""
    ended = Event()

    def watch() -> None:
        while not ended.wait(0.2):
            word = "cancel" if cancelled.is_set() else "enough" if enough is not None and enough.is_set() else None
            if word is not None:
                (folder.path / STOP).write_text(word)
                return

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        with suppress(OSError):
            (folder.path / STOP).unlink()
