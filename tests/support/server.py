"""`understudy serve` as a process of its own."""

from __future__ import annotations

import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from urllib.request import urlopen

from tests.support.command import COMMAND, HANGS, until, without_settings


@dataclass
class Serving:
    """A running server; leaving its ``with`` stops it."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> int:
        """Its exit status, once it has ended in order."""
        self.process.terminate()
        return self.process.wait(HANGS)

    def answers(self) -> bool:
        """Whether it is ready. Raises what it wrote if it has ended."""
        assert self.process.poll() is None, self.log.read_text()
        try:
            with urlopen(f"{self.address}/readyz", timeout=HANGS):
                return True
        except OSError:
            return False


def serve(folder: Path, *options: str) -> Serving:
    """`understudy serve` on a free port, as soon as it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*COMMAND, "serve", "--port", str(port), "--data", str(folder / "data"), *options]
    path = folder / "server.log"
    with path.open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=without_settings(), stdout=log, stderr=log)
    started = Serving(f"http://127.0.0.1:{port}", process, path)
    try:
        until(started.answers)
    except AssertionError:
        process.kill()
        raise
    return started
