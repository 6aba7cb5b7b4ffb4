"""``understudy serve`` and ``understudy worker``: the HTTP API and the processes that do its work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.services.cli import options as o

CONFIG = Annotated[Path | None, typer.Option("--config", help="A YAML file of server settings.", show_default=False)]
DATA = Annotated[Path | None, typer.Option("--data", help="Folder of everything it keeps.", show_default=False)]
DATABASE = Annotated[
    str | None, typer.Option("--database", help="PostgreSQL by URL; default: SQLite.", show_default=False)
]
STORAGE = Annotated[
    str | None, typer.Option("--storage", help="s3://bucket/path; default: a local folder.", show_default=False)
]


def serve(
    host: Annotated[str | None, typer.Option("--host", help="Address to bind.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option("--port", help="0: any free one.", show_default="8000")] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Worker processes.", show_default="1")] = None,
    keys: Annotated[bool | None, typer.Option("--keys", help="Ask for API keys on loopback, too.")] = None,
    config: CONFIG = None,
    data: DATA = None,
    database: DATABASE = None,
    storage: STORAGE = None,
    device: o.DEVICE = None,
    debug: o.DEBUG = False,
) -> None:
    """Serve the HTTP API, and work off its jobs. On 127.0.0.1 it asks for no keys."""
    from understudy.services.queue import logs, settings
    from understudy.services.serving import serve as run

    options = {"host": host, "port": port, "workers": workers, "keys": keys, "data": data, "database": database}
    chosen = settings.load(config, {**options, "storage": storage, "device": device})
    logs.begin()
    run(chosen)


def worker(
    config: CONFIG = None,
    data: DATA = None,
    database: DATABASE = None,
    storage: STORAGE = None,
    device: o.DEVICE = None,
    name: Annotated[str | None, typer.Option("--name", help="How it is called in logs.", show_default=False)] = None,
    parent: Annotated[int | None, typer.Option("--parent", hidden=True)] = None,
    debug: o.DEBUG = False,
) -> None:
    """Work off the jobs of a database, beside other workers, on this or on another machine."""
    from understudy.services.queue import logs, settings
    from understudy.services.serving import work

    options = {"data": data, "database": database, "storage": storage, "device": device}
    logs.begin()
    work(settings.load(config, options), name, parent)
