"""How long a page of an owner's jobs takes, by what they are searched for.

    python benchmarks/search.py             on PostgreSQL, which it starts for itself
    python benchmarks/search.py --sqlite    on SQLite

The owner has ``--jobs`` covers and a few separations; another one has as many. Prints milliseconds per page (the median
of `ROUNDS` wall times of query and answer, and the processor time of this process) as one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from sqlalchemy import text  # noqa: E402

from tests.support import postgres  # noqa: E402
from understudy.pipeline.settings import CoverSettings  # noqa: E402
from understudy.services.api import answers  # noqa: E402
from understudy.services.api.jobs import Search, listed  # noqa: E402
from understudy.services.queue.database import Database  # noqa: E402
from understudy.services.queue.owners import Owner, ensure_owner  # noqa: E402
from understudy.services.queue.search import folded, terms_of  # noqa: E402
from understudy.services.queue.tables import jobs, terms  # noqa: E402

ROUNDS = 9
RARE = 1000  # one job in so many has it
SEARCHES: dict[str, tuple[str | None, Search]] = {
    "nothing": (None, Search()),
    "state, common": ("done", Search()),
    "state, rare": ("failed", Search()),
    "metadata, common": (None, Search(metadata=["shop:north"])),
    "metadata, rare": (None, Search(metadata=["order:5000"])),
    "metadata, common, and state, rare": ("failed", Search(metadata=["shop:north"])),
    "metadata, two": (None, Search(metadata=["shop:north", "order:5000"])),
    "song": (None, Search(song="song_77")),
    "voice, common": (None, Search(voice="voice_1")),
    "title, common": (None, Search(text="SONG")),
    "title, one": (None, Search(text="number 5000.")),
    "title, none": (None, Search(text="not there")),
    "time range": (None, Search(since=datetime.fromtimestamp(5000, UTC), until=datetime.fromtimestamp(6000, UTC))),
}


def fill(database: Database, owner: str, count: int) -> None:
    settings = CoverSettings().model_dump(mode="json")
    for first in range(0, count, 2000):
        with database.write() as connection:
            rows: list[dict[str, Any]] = []
            for number in range(first, min(count, first + 2000)):
                kind = "separation" if number % RARE == 7 else "cover"
                row = {
                    "id": f"{kind}_{owner[-6:]}{number:07}",
                    "owner": owner,
                    "kind": kind,
                    "state": "failed" if number % RARE == 3 else "done",
                    "priority": 0,
                    "name": f"A song, number {number}.",
                    "request": {"inputs": {"song": f"song_{number % RARE}"}, "settings": settings},
                    "voice": "voice_1",
                    "created": float(number),
                    "not_before": 0.0,
                    "metadata": {"order": str(number), "shop": "north"},
                }
                rows.append({**row, "folded": folded(f"A song, number {number}.")})
            connection.execute(jobs.insert(), rows)
            connection.execute(terms.insert(), [term for row in rows for term in terms_of(row)])


def measured(database: Database, owner: Owner) -> dict[str, Any]:
    app: Any = SimpleNamespace(database=database)
    found = {}
    for name, (state, search) in SEARCHES.items():
        walls, cpu = [], time.process_time()
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            page = listed(app, owner, ("cover", "separation"), state, search, None, 20, answers.job)
            walls.append(time.perf_counter() - begun)
        spent = (time.process_time() - cpu) / ROUNDS
        found[name] = {
            "items": len(page.items),
            "ms": round(1000 * statistics.median(walls), 1),
            "cpu_ms": round(1000 * spent, 1),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sqlite", action="store_true")
    parser.add_argument("--jobs", type=int, default=100_000)
    options = parser.parse_args()

    def run(url: str) -> None:
        database = Database(url)
        owner = Owner(ensure_owner(database, "ada"), "ada", frozenset(), {})
        for id in (owner.id, ensure_owner(database, "bea")):
            fill(database, id, options.jobs)
        if not database.is_sqlite:  # as the server does by itself after a while
            with database._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM ANALYZE"))
        print(json.dumps(measured(database, owner), indent=1))

    if options.sqlite:
        with tempfile.TemporaryDirectory() as folder:
            run(f"sqlite:///{folder}/server.sqlite3")
    else:
        with postgres.server() as socket:
            run(postgres.url(socket))


if __name__ == "__main__":
    main()
