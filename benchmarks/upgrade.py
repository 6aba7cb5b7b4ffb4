"""The upgrade of a server with many jobs, from the tables of the first release with a queue, and the work after it.

    python benchmarks/upgrade.py               on PostgreSQL, which it starts for itself
    python benchmarks/upgrade.py --sqlite      on SQLite

Makes a database as that release made it, with its rows and `--jobs` more, each with an event; runs ``understudy
database upgrade``, and lets a worker claim and end all jobs. Prints one JSON object; exits 1 when a row is lost or
changed, or a job isn't done once.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, inspect, text

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.support import old_database, postgres  # noqa: E402
from understudy.services.queue import claims, jobs  # noqa: E402
from understudy.services.queue.database import Database  # noqa: E402
from understudy.services.queue.settings import ServerSettings  # noqa: E402

COPIED = ("cover_next", "cover_done")
"""The jobs of the old database of which there are to be many, one that waits and one that has ended."""

CHANGED = ("jobs.not_before", "jobs.priority")
"""Columns that the upgrade changes on purpose: what waits is due at once, trainings have a priority of their own."""


def multiply(url: str, count: int) -> None:
    """Copy the jobs `COPIED` in turn, `count` copies in all, with their events."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for table, key in (("jobs", "id"), ("events", "job")):
            columns = [column["name"] for column in inspect(connection).get_columns(table)]
            rest = ", ".join(column for column in columns if column != key)
            copy = text(f"INSERT INTO {table} ({key}, {rest}) SELECT :new, {rest} FROM {table} WHERE {key} = :old")
            copies = [{"new": f"cover_{number:06}", "old": COPIED[number % 2]} for number in range(count)]
            connection.execute(copy, copies)
    engine.dispose()


def columns(url: str) -> dict[str, list[str]]:
    """The tables and their columns, without the table that says their version."""
    engine = create_engine(url)
    found = inspect(engine)
    names = {table: [column["name"] for column in found.get_columns(table)] for table in found.get_table_names()}
    engine.dispose()
    return {table: of for table, of in names.items() if table != "schema"}


def rows(url: str, of: dict[str, list[str]]) -> dict[str, list[dict[str, Any]]]:
    """The rows of these tables, with these columns."""
    engine = create_engine(url)
    with engine.connect() as connection:
        queries = {table: text(f"SELECT {', '.join(names)} FROM {table}") for table, names in of.items()}
        found = {table: [dict(row) for row in connection.execute(query).mappings()] for table, query in queries.items()}
    engine.dispose()
    return {table: sorted(each, key=lambda row: str(row.get("id", row))) for table, each in found.items()}


def measure(url: str, count: int) -> dict[str, Any]:
    old_database.make(url)
    multiply(url, count)
    old = columns(url)
    before, begun = rows(url, old), time.monotonic()
    command = [sys.executable, "-m", "understudy", "database", "upgrade"]
    environment = {**os.environ, "UNDERSTUDY_SERVER_DATABASE": url, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    seconds, new = time.monotonic() - begun, columns(url)
    kept = {
        table: [name for name in names if name in new.get(table, []) and f"{table}.{name}" not in CHANGED]
        for table, names in old.items()
    }
    moved = [f"{table}.{name}" for table, names in old.items() for name in names if name not in kept[table]]
    after = rows(url, {table: names for table, names in kept.items() if names})
    same = all(
        after[table] == [{name: row[name] for name in kept[table]} for row in each] for table, each in before.items()
    )
    settings, database = ServerSettings(database=url), Database(url)
    done: list[str] = []
    while job := claims.claim(database, "worker", settings):
        done.append(job.id)
        assert jobs.finish(database, job, settings, {"files": {}}, 0, [])
    database.close()
    waited = sum(job["state"] in ("queued", "running") and job["kind"] != "training" for job in before["jobs"])
    return {
        "database": url.partition(":")[0],
        "jobs": len(before["jobs"]),
        "upgrade_seconds": round(seconds, 1),
        "rows_kept": same,
        "columns_not_compared": moved,
        "waiting": waited,
        "done_once": len(done) if len(set(done)) == len(done) else -1,
        "seconds": round(time.monotonic() - begun, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sqlite", action="store_true")
    parser.add_argument("--jobs", type=int, default=1000)
    chosen = parser.parse_args()
    with ExitStack() as stack:
        if chosen.sqlite:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="understudy-"))
            url = f"sqlite:///{folder}/server.sqlite3"
        else:
            url = postgres.url(stack.enter_context(postgres.server()))
        figures = measure(url, chosen.jobs)
    print(json.dumps(figures, indent=1))
    sys.exit(not figures["rows_kept"] or figures["done_once"] != figures["waiting"])


if __name__ == "__main__":
    main()
