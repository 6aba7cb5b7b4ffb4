"""Claims per second of many claimers at once, of our queue and of procrastinate, over the same number of queued jobs.

    python benchmarks/claims.py understudy                      on PostgreSQL, which it starts for itself
    python benchmarks/claims.py understudy --sqlite             on SQLite
    python benchmarks/claims.py procrastinate                   on PostgreSQL (pip install procrastinate)

Each claimer is a process that claims a job, ends it and claims the next one; with ``--hold`` it ends none. Understudy
also shares the claims out among the owners, which procrastinate does not know. Prints one JSON object. CPU seconds of
claimers and database (its connections' processes, read from /proc) say what a claim takes on a machine that others use.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, select, text

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.support import postgres  # noqa: E402
from understudy.services.queue import claims, jobs  # noqa: E402
from understudy.services.queue.database import Database  # noqa: E402
from understudy.services.queue.settings import ServerSettings  # noqa: E402
from understudy.services.queue.tables import jobs as table  # noqa: E402
from understudy.services.queue.tables import owners, turns  # noqa: E402

CHUNK = 2000  # rows per insert
WARM = 5  # claims of each claimer before the measurement: the first ones compile the statements


def fill(url: str, count: int, owner_count: int) -> None:
    """Queue `count` jobs of `owner_count` owners, a tenth of them as batch jobs."""
    database = Database(url)
    names = [f"own_{number:05}" for number in range(owner_count)]
    new = {"created": 0.0, "webhook_secret": "", "limits": {}}
    rows = [
        {
            "id": f"cover_{number:07}",
            "owner": names[number % owner_count],
            "kind": "cover",
            "state": "queued",
            "priority": jobs.BATCH if number // owner_count % 10 == 9 else jobs.INTERACTIVE,
            "name": "song",
            "request": {"inputs": {}, "settings": {}},
            "created": float(number),
            "not_before": 0.0,
        }
        for number in range(count)
    ]
    with database.write() as connection:
        connection.execute(owners.insert(), [{"id": name, "name": name, **new} for name in names])
        for first in range(0, count, CHUNK):
            connection.execute(table.insert(), rows[first : first + CHUNK])
        waiting = [{"served": 0.0, "waiting": True, "owner": name, "priority": p} for name in names for p in (0, 1)]
        connection.execute(turns.insert(), waiting)
    database.close()


@dataclass
class Claims:
    """Of one claimer: the seconds of each claim, whose jobs they were, CPU seconds of its own and of the database."""

    took: list[float] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)
    own_cpu: float = 0.0
    database_cpu: float = 0.0


def claim_ours(url: str, number: int, seconds: float, hold: bool, start: Barrier) -> Claims:
    settings = ServerSettings(database=url)
    database = Database(url)

    def claim() -> str:
        job = claims.claim(database, f"claimer-{number}", settings)
        assert job is not None, "too few jobs for the time"
        made.took.append(time.perf_counter() - begun)
        if not hold:
            assert jobs.finish(database, job, settings, {"files": {}}, 0, [])
        return job.owner

    made, begun = Claims(), 0.0
    warm = [claim() for _ in range(WARM)]
    made.took.clear()
    process = None
    if not database.is_sqlite:
        with database.read() as connection:
            process = connection.scalar(text("SELECT pg_backend_pid()"))
    start.wait()
    before, end = (time.process_time(), cpu_of(process)), time.perf_counter() + seconds
    made.owners = warm
    while (begun := time.perf_counter()) < end:
        made.owners.append(claim())
    made.own_cpu, made.database_cpu = time.process_time() - before[0], cpu_of(process) - before[1]
    database.close()
    return made


def cpu_of(process: int | None) -> float:
    """CPU seconds that a process has used; on SQLite, which has none of its own, 0."""
    if process is None:
        return 0.0
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def fill_theirs(url: str, count: int) -> None:
    """Queue `count` jobs of procrastinate."""
    from procrastinate import App, PsycopgConnector

    async def make() -> None:
        async with App(connector=PsycopgConnector(conninfo=_plain(url))).open_async() as app:
            await app.schema_manager.apply_schema_async()

    asyncio.run(make())
    engine = create_engine(url)
    with engine.begin() as connection:
        insert = "INSERT INTO procrastinate_jobs (queue_name, task_name, args) SELECT 'covers', 'cover', '{}'"
        connection.execute(text(f"{insert} FROM generate_series(1, {count})"))
    engine.dispose()


def claim_theirs(url: str, number: int, seconds: float, hold: bool, start: Barrier) -> Claims:
    from procrastinate import App, PsycopgConnector
    from procrastinate.jobs import Status

    async def work() -> Claims:
        async def claim() -> None:
            job = await app.job_manager.fetch_job(None, worker)
            assert job is not None, "too few jobs for the time"
            made.took.append(time.perf_counter() - begun)
            if not hold:
                await app.job_manager.finish_job(job, Status.SUCCEEDED, False)

        made, begun = Claims(), 0.0
        connector = PsycopgConnector(conninfo=_plain(url), min_size=1, max_size=1)
        async with App(connector=connector).open_async() as app:
            worker = await app.job_manager.register_worker()
            for _ in range(WARM):
                await claim()
            made.took.clear()
            process = (await connector.execute_query_one_async("SELECT pg_backend_pid() AS pid"))["pid"]
            start.wait()
            before, end = (time.process_time(), cpu_of(process)), time.perf_counter() + seconds
            while (begun := time.perf_counter()) < end:
                await claim()
            made.own_cpu, made.database_cpu = time.process_time() - before[0], cpu_of(process) - before[1]
        return made

    return asyncio.run(work())


def _plain(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")


@contextmanager
def database_url(sqlite: bool) -> Iterator[str]:
    if sqlite:
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/server.sqlite3"
    else:
        with postgres.server() as socket:
            yield postgres.url(socket)


def _claimer(claim: Any, results: Any, *arguments: Any) -> None:
    results.put(claim(*arguments))


def measure(url: str, arguments: argparse.Namespace) -> dict[str, Any]:
    ours = arguments.queue == "understudy"
    if ours:
        fill(url, arguments.jobs, arguments.owners)
    else:
        fill_theirs(url, arguments.jobs)
    if url.startswith("postgresql"):
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("VACUUM ANALYZE"))
        engine.dispose()
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(arguments.claimers + 1), context.Queue()
    claim = claim_ours if ours else claim_theirs
    options = (arguments.seconds, arguments.hold, start)
    claimers = [
        context.Process(target=_claimer, args=(claim, results, url, number, *options))
        for number in range(arguments.claimers)
    ]
    for process in claimers:
        process.start()
    start.wait()
    begun = time.perf_counter()
    found = [results.get(timeout=arguments.seconds + 120) for _ in claimers]
    seconds = time.perf_counter() - begun
    for process in claimers:
        process.join()
    took = sorted(value for each in found for value in each.took)
    by_owner = Counter(owner for each in found for owner in each.owners)
    figures: dict[str, Any] = {
        "queue": arguments.queue,
        "database": url.partition(":")[0],
        "jobs": arguments.jobs,
        "claimers": arguments.claimers,
        "claims": len(took),
        "claims a second": round(len(took) / seconds, 1),
        "CPU ms of a claim, claimer and database": [
            round(1000 * sum(each.own_cpu for each in found) / len(took), 2),
            round(1000 * sum(each.database_cpu for each in found) / len(took), 2),
        ],
        "median ms": round(1000 * took[len(took) // 2], 1),
        "99 % within ms": round(1000 * took[int(0.99 * (len(took) - 1))], 1),
        "load of the machine": [round(value, 1) for value in os.getloadavg()],
    }
    if ours:
        figures["owners"] = arguments.owners
        figures["claims of an owner, least and most"] = [
            min(by_owner.values()) if len(by_owner) == arguments.owners else 0,
            max(by_owner.values()),
        ]
        database = Database(url)
        with database.read() as connection:
            ended = connection.scalars(select(table.c.attempts).where(table.c.state != "queued")).all()
            figures["claimed once"] = len(ended) == sum(by_owner.values()) and set(ended) <= {1}
        database.close()
    if url.startswith("postgresql"):
        engine = create_engine(url)
        with engine.connect() as connection:
            query = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
            figures["deadlocks"] = connection.scalar(query)
        engine.dispose()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("queue", choices=("understudy", "procrastinate"))
    parser.add_argument("--sqlite", action="store_true")
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--owners", type=int, default=1000)
    parser.add_argument("--claimers", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--hold", action="store_true", help="end no job: claims alone")
    arguments = parser.parse_args()
    with database_url(arguments.sqlite) as url:
        print(json.dumps(measure(url, arguments), indent=1))


if __name__ == "__main__":
    main()
