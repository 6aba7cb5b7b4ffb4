"""``understudy serve`` and ``understudy worker``: the HTTP API and the processes that do its work."""

from __future__ import annotations

from typing import Annotated

import typer

from understudy.services.cli.options import Options, with_options


@with_options("host", "port", "workers", "keys", "config", "data", "database", "storage", "device", "debug")
def serve(options: Options) -> None:
    """Serve the HTTP API, with workers that run its jobs. On 127.0.0.1 it needs no keys."""
    from understudy.services.queue import logs
    from understudy.services.serving import serve

    settings = options.server()
    logs.begin()
    serve(settings)


@with_options("config", "data", "database", "storage", "device", "debug")
def worker(
    name: Annotated[str | None, typer.Option("--name", help="Its name in logs.", show_default=False)] = None,
    parent: Annotated[int | None, typer.Option("--parent", hidden=True)] = None,
    *,
    options: Options,
) -> None:
    """Run the jobs of a database, beside other workers, on this or on another machine."""
    from understudy.services.queue import logs
    from understudy.services.serving import work

    logs.begin()
    work(options.server(), name, parent)
