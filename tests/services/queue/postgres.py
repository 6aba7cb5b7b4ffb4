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
    folder = programs()
    assert folder is not None
    with tempfile.TemporaryDirectory(prefix="pg-") as root:
        as_user: list[str] = []
        if os.geteuid() == 0:  # it refuses to run as root
            shutil.chown(root, "postgres")
            as_user = ["runuser", "-u", "postgres", "--"]
        data = f"{root}/data"

        def run(*command: str) -> None:
            subprocess.run([*as_user, *command], check=True, stdout=subprocess.DEVNULL, cwd=root, timeout=120)

        run(f"{folder}/initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-k {root} -c listen_addresses= -c fsync=off -c max_connections=200"
        run(f"{folder}/pg_ctl", "-D", data, "-w", "-l", f"{root}/log", "-o", options, "start")
        try:
            yield root
        finally:
            run(f"{folder}/pg_ctl", "-D", data, "-m", "immediate", "stop")


def url(socket: str, database: str = "postgres") -> str:
    return f"postgresql+psycopg://postgres@/{database}?host={socket}"
