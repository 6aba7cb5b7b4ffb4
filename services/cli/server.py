"""``understudy serve``, ``worker`` and ``keys``: the HTTP API, the processes that do its work, and its API keys."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer
from rich.markup import escape

from understudy.choices import Scope, Work, listed
from understudy.errors import UnderstudyError
from understudy.services.cli.console import print_result
from understudy.services.cli.options import CLUSTER, OUTPUT, SERVER, Options, with_options

if TYPE_CHECKING:
    from understudy.services.queue.database import Database
    from understudy.services.queue.settings import ServerSettings

keys_app = typer.Typer(help="The API keys of a server.", no_args_is_help=True)
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
    serve(_settings(options), migrate)


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
    work(_settings(options), name, parent, training)


@database_app.command()
@with_options("config data database", OUTPUT)
def upgrade(options: Options) -> None:
    """Bring the tables of a database that an older Understudy made to this version. Back it up first."""
    from understudy.services.queue.database import Database
    from understudy.services.queue.migrations import newest

    Database(_settings(options).database_url, upgrade=True).close()
    print_result({"version": newest()}, lambda: f"The tables have version {newest()}.")


@keys_app.command()
@with_options("config data database", OUTPUT)
def create(
    owner: Annotated[str, typer.Option(help="The key's owner; all keys of an owner give access to the same data.")],
    name: Annotated[str, typer.Option(help="What the key is for.")] = "",
    scopes: Annotated[str, typer.Option(help=f"{listed(Scope)}; several joined by commas.")] = ",".join(get_args(Work)),
    limit: Annotated[
        list[str] | None, typer.Option(metavar="NAME=NUMBER", help="A limit of this owner's own: jobs_queued=10.")
    ] = None,
    consent: Annotated[
        Literal["stated", "delegated", "verified"],
        typer.Option(help="The least level of consent of the voices that are used with this key."),
    ] = "stated",
    *,
    options: Options,
) -> None:
    """Create a key. It is shown once: only a hash of it is stored."""
    from understudy.services.queue import owners

    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    key, secret = owners.create_key(_database(options), owner, name, wanted, _limits(limit or []), consent)
    shown = {"key": key, "owner": owner, "scopes": wanted, "consent": consent, "webhook_secret": secret}
    print_result(shown, lambda: f"[bold]{key}[/]\nWebhooks of {escape(owner)} are signed with {secret}")


@keys_app.command("list")
@with_options("config data database", OUTPUT)
def list_(options: Options) -> None:
    """List the keys, without their secrets."""
    from understudy.services.queue import owners

    found: list[dict[str, Any]] = []
    for row in owners.list_keys(_database(options)):
        times = {name: _time(getattr(row, name)) for name in ("created", "used", "revoked")}
        found.append({"id": row.id, "owner": row.owner, "name": row.name, "scopes": row.scopes.split(), **times})
    lines = [
        f"[bold]{key['id']}[/]  {escape(key['owner'])}  {escape(key['name'])}  {','.join(key['scopes'])}"
        + ("  [red]revoked[/]" if key["revoked"] else "")
        for key in found
    ]
    print_result(
        {"keys": found}, lambda: "\n".join(lines) or "No keys yet. Make one: understudy keys create --owner NAME"
    )


@keys_app.command()
@with_options("config data database", OUTPUT)
def revoke(
    id: Annotated[str, typer.Argument(help="The key's id, as 'keys list' shows it.")], *, options: Options
) -> None:
    """Revoke a key at once. Jobs that were sent with it continue."""
    from understudy.services.queue import owners

    owners.revoke_key(_database(options), id.removeprefix("us_").partition("_")[0])
    print_result({"revoked": id}, lambda: f"Revoked {escape(id)}.")


def _settings(options: Options) -> ServerSettings:
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


def _database(options: Options) -> Database:
    from understudy.services.queue.database import Database

    return Database(_settings(options).database_url)


def _limits(texts: list[str]) -> dict[str, float]:
    limits = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            limits[name.strip()] = float(number) if "." in number else int(number)
        except ValueError:
            raise UnderstudyError(
                "option-invalid", f"--limit {text!r} holds no number.", "Write it as --limit jobs_queued=10."
            ) from None
    return limits


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
