"""`understudy serve` as a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

ROOT = Path(__file__).parents[2]


@dataclass
class Serving:
    address: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


def serve(folder: Path, *options: str) -> Serving:
    """`understudy serve` on a free port, as soon as it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "understudy", "serve", "--port", str(port), "--data", str(folder / "data")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UNDERSTUDY_")}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *options], cwd=folder, env={**environment, "PYTHONPATH": str(ROOT)}, stdout=log, stderr=log
        )
    address = f"http://127.0.0.1:{port}"
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            with urlopen(f"{address}/healthz", timeout=5):
                return Serving(address, process)
        except OSError:
            time.sleep(0.2)
    process.kill()
    raise AssertionError((folder / "server.log").read_text())
