"""``torchrun --nproc-per-node=N -m understudy.voices.rvc.training FOLDER``: go on with the run in that folder, with a
GPU for each process. `understudy voices train` makes the folder, and runs this by itself where there are several GPUs.

The first process prints a line of JSON for each event, and each one that fails a line with its ``error``. The file
``.stop`` in the folder ends it: with ``cancel`` in it once the state is saved, with ``enough`` with the best so far.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from threading import Event

from understudy.errors import UnderstudyError
from understudy.voices.training.events import TrainingEvent
from understudy.voices.training.run_folder import STOP, RunFolder


class Requested(Event):
    """Set when it was set itself, or when the file `path` holds `word`."""

    def __init__(self, path: Path, word: str) -> None:
        super().__init__()
        self._path, self._word = path, word

    def is_set(self) -> bool:
        try:
            return super().is_set() or self._path.read_text() == self._word
        except OSError:
            return False


def main(folder: str) -> int:
    import torch

    from understudy.voices.rvc.training.work import go_on
    from understudy.voices.training.ranks import joined

    run = RunFolder(Path(folder))
    cancelled, enough = (Requested(run.path / STOP, word) for word in ("cancel", "enough"))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: cancelled.set())
    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"
    try:
        with joined(device) as ranks:
            outcome = go_on(run, device, _print_event, cancelled, enough, ranks)
            if ranks.first:
                _print({"outcome": asdict(outcome)})
    except UnderstudyError as error:
        _print({"error": {"code": error.code, "message": error.message, "hint": error.hint}})
        return 130 if error.code == "cancelled" else 1
    return 0


def _print_event(event: TrainingEvent) -> None:
    _print({"event": event.to_dict()})


def _print(line: object) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
