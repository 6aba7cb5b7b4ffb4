"""A real PostgreSQL server for the tests, where its programs are installed; on a Unix socket, gone afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def programs() -> Path | None:
    """The folder of ``initdb`` and ``pg_ctl``, None if PostgreSQL isn't installed or can't be run here."""
    if sys.platform == "win32" or (os.geteuid() == 0 and not shutil.which("runuser")):
        return None
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "pg_ctl").exists()), None)


@contextmanager
def server() -> Iterator[str]:
    """The folder of the socket of a running server; the user is ``postgres``, without password."""
    assert programs() is not None
    with tempfile.TemporaryDirectory(prefix="pg-") as root:
        if os.geteuid() == 0:  # it refuses to run as root
            shutil.chown(root, "postgres")
        _run(root, "initdb", "-D", f"{root}/data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        control(root, "start")
        try:
            yield root
        finally:
            control(root, "stop")


def control(root: str, what: str) -> None:
    """Stop the server whose socket is in `root` as if its machine had failed, or start it again."""
    options = f"-k {root} -c listen_addresses= -c fsync=off -c max_connections=200"
    more = ["-w", "-l", f"{root}/log", "-o", options] if what == "start" else ["-m", "immediate"]
    _run(root, "pg_ctl", "-D", f"{root}/data", *more, what)


def _run(root: str, program: str, *arguments: str) -> None:
    folder = programs()
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    command = [*as_user, f"{folder}/{program}", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=root)


def url(socket: str, database: str = "postgres") -> str:
    return f"postgresql+psycopg://postgres@/{database}?host={socket}"
