"""The command line, run in this process or in one of its own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from understudy.services.cli.console import mode
from understudy.services.cli.main import main

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "understudy"]
HANGS = 300.0  # seconds: no test depends on them, they only end one that hangs


def until(holds: Callable[[], object], failed: Callable[[], object] = str) -> None:
    """Wait until `holds`, however long this machine takes; gives up with what `failed` says only where it hangs."""
    end = time.monotonic() + HANGS
    while not holds():
        assert time.monotonic() < end, failed()
        time.sleep(0.02)


def without_settings(**more: str) -> dict[str, str]:
    """This process's environment without Understudy's own variables but the tests' key for signing, with `more`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("UNDERSTUDY_") or name == "UNDERSTUDY_SIGNING"
    }
    return {**kept, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]), **more}


@contextmanager
def own_mask() -> Iterator[None]:
    """A block that may set the process's mask of file permissions, as a server does."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def run_here(folder: Path, environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """``understudy`` with `arguments` in `folder`, without the seconds that a new process takes to import torch."""
    out, err = io.StringIO(), io.StringIO()
    with (
        own_mask(),
        chdir(folder),
        mock.patch.dict(os.environ, environment, clear=True),
        mock.patch.object(sys, "argv", ["understudy", *arguments]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        mode.as_json = mode.quiet = mode.debug = False
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
    return subprocess.CompletedProcess(list(arguments), code, out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class Workspace:
    """A user's folder; library, cache and models lie in it, too."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        folders = {"VOICES": "voices", "CACHE": "cache", "MODELS": "models"}
        return without_settings(**{f"UNDERSTUDY_{name}": str(self.folder / folder) for name, folder in folders.items()})

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run_here(self.folder, self.environment, *arguments)

    def json(self, *arguments: str) -> dict[str, Any]:
        """What a command that must succeed prints with --json: one object and nothing else."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def artifacts(self) -> set[str]:
        """The cache keys of what is stored."""
        return {path.name for path in (self.folder / "cache").glob("artifacts/*/*")}

    @contextmanager
    def process(self, *arguments: str, **more: Any) -> Iterator[subprocess.Popen[str]]:
        """The command as a process of its own, killed at the end if it still runs."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **more}
        with subprocess.Popen([*COMMAND, *arguments], cwd=self.folder, env=self.environment, **options) as started:
            try:
                yield started
            finally:
                started.kill()

    def run_process(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        with self.process(*arguments, **more) as started:
            out, err = started.communicate(timeout=HANGS)
        return subprocess.CompletedProcess(list(arguments), started.returncode, out, err)
