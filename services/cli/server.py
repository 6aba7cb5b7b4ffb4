"""``understudy serve``, ``worker`` and ``database``: the HTTP API, the processes that do its work, and its tables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from understudy.errors import UnderstudyError
from understudy.services.cli.console import print_result
from understudy.services.cli.options import CLUSTER, OUTPUT, SERVER, Options, with_options

if TYPE_CHECKING:
    from understudy.services.queue.database import Database
    from understudy.services.queue.settings import ServerSettings

_PASSWORD = re.compile(r"//[^/@]*:[^/@]+@|[?&](password|secret)=")
database_app = typer.Typer(help="The database of a server.", no_args_is_help=True)


@with_options(SERVER, CLUSTER, "device debug")
def serve(
    migrate: Annotated[
        bool, typer.Option("--migrate", help="First upgrade a database that an older Understudy made.")
    ] = False,
    *,
    options: Options,
) -> None:
    """Serve the HTTP API, with workers that run its jobs. On 127.0.0.1 it needs no keys."""
    from understudy.services.queue import logs
    from understudy.services.serving import serve

    logs.begin()
    serve(server_settings(options), migrate)


@with_options("config data database storage device debug", CLUSTER)
def worker(
    name: Annotated[str | None, typer.Option(help="Its name in logs.")] = None,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
    training: Annotated[
        bool, typer.Option("--training", help="Run trainings alone, which other workers never do.")
    ] = False,
    *,
    options: Options,
) -> None:
    """Run the jobs of a database, beside other workers, on this or on another machine."""
    from understudy.services.queue import logs
    from understudy.services.serving import work

    logs.begin()
    work(server_settings(options), name, parent, training)


@database_app.command()
@with_options("config data database", OUTPUT)
def upgrade(options: Options) -> None:
    """Bring the tables of a database that an older Understudy made to this version. Back it up first."""
    from understudy.services.queue.database import Database
    from understudy.services.queue.migrations import newest

    Database(server_settings(options).database_url, upgrade=True).close()
    print_result({"version": newest()}, lambda: f"The tables have version {newest()}.")


def server_settings(options: Options) -> ServerSettings:
    """The server's settings. Its files are private from now on. Raises ``password-visible`` for a password among the
    options, which every user of the machine can read in the list of processes."""
    from understudy.services.queue.private import keep_private

    for name in ("database", "storage"):
        if _PASSWORD.search(options.values.get(name) or ""):
            raise UnderstudyError(
                "password-visible",
                f"The URL of --{name} contains a password, which the list of processes shows to everybody here.",
                f"Put the URL into the environment as UNDERSTUDY_SERVER_{name.upper()}, into a file that "
                f"UNDERSTUDY_SERVER_{name.upper()}_FILE names, or into the file of --config.",
            )
    settings = options.server()
    keep_private(settings.data)
    return settings


def open_database(options: Options) -> Database:
    from understudy.services.queue.database import Database

    return Database(server_settings(options).database_url)
