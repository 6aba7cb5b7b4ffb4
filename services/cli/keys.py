"""``understudy keys``: the API keys of a server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer
from rich.markup import escape

from understudy.choices import Scope, Work, listed
from understudy.errors import UnderstudyError
from understudy.services.cli.console import print_result
from understudy.services.cli.options import OUTPUT, Options, with_options
from understudy.services.cli.server import open_database

if TYPE_CHECKING:
    from understudy.services.queue.database import Database

keys_app = typer.Typer(help="The API keys of a server.", no_args_is_help=True)
DAY = 86400.0


@keys_app.command()
@with_options("config data database", OUTPUT)
def create(
    owner: Annotated[str, typer.Option(help="The key's owner; all keys of an owner give access to the same data.")],
    name: Annotated[str, typer.Option(help="What the key is for.")] = "",
    scopes: Annotated[str, typer.Option(help=f"{listed(Scope)}; several joined by commas.")] = ",".join(get_args(Work)),
    expires_in: Annotated[float | None, typer.Option(metavar="DAYS", help="Then it ends; default: never.")] = None,
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
    lifetime = None if expires_in is None else _days("--expires-in", expires_in)
    about = (_limits(limit or []), consent, lifetime)
    database = open_database(options)
    key, secret = owners.create_key(database, owner, name, wanted, *about)
    _note(database, "create_key", owners.key_id(key))
    shown = {"key": key, "owner": owner, "scopes": wanted, "consent": consent, "webhook_secret": secret}
    print_result(shown, lambda: f"[bold]{key}[/]\nWebhooks of {escape(owner)} are signed with {secret}")


@keys_app.command("list")
@with_options("config data database", OUTPUT)
def list_(options: Options) -> None:
    """List the keys, without their secrets."""
    from understudy.services.queue import owners

    found: list[dict[str, Any]] = []
    for row in owners.list_keys(open_database(options)):
        times = {name: shown_time(getattr(row, name)) for name in ("created", "used", "expires", "revoked")}
        found.append({"id": row.id, "owner": row.owner, "name": row.name, "scopes": row.scopes.split(), **times})
    lines = [
        f"[bold]{key['id']}[/]  {escape(key['owner'])}  {escape(key['name'])}  {','.join(key['scopes'])}"
        + ("  [red]revoked[/]" if key["revoked"] else f"  until {key['expires']}" if key["expires"] else "")
        for key in found
    ]
    print_result(
        {"keys": found}, lambda: "\n".join(lines) or "No keys yet. Make one: understudy keys create --owner NAME"
    )


@keys_app.command()
@with_options("config data database", OUTPUT)
def rotate(
    id: Annotated[str, typer.Argument(help="The key's id, as 'keys list' shows it.")],
    overlap: Annotated[float, typer.Option(metavar="DAYS", help="For so long the old key can still be used.")] = 1.0,
    *,
    options: Options,
) -> None:
    """Create a key that may the same as another one, which ends after a while."""
    from understudy.services.queue import owners

    seconds = _days("--overlap", overlap, least=0.0)
    database = open_database(options)
    key = owners.rotate_key(database, owners.key_id(id), seconds)
    _note(database, "rotate_key", owners.key_id(id))
    print_result({"key": key}, lambda: f"[bold]{key}[/]")


@keys_app.command()
@with_options("config data database", OUTPUT)
def revoke(
    id: Annotated[str, typer.Argument(help="The key's id, as 'keys list' shows it.")], *, options: Options
) -> None:
    """Revoke a key at once. Jobs that were sent with it continue."""
    from understudy.services.queue import owners

    database = open_database(options)
    owners.revoke_key(database, owners.key_id(id))
    _note(database, "revoke_key", owners.key_id(id))
    print_result({"revoked": id}, lambda: f"Revoked {escape(id)}.")


def _note(database: Database, action: str, key: str) -> None:
    """Write into the audit log of the key's owner what was done to it here."""
    from sqlalchemy import select

    from understudy.services.queue import audit
    from understudy.services.queue.tables import keys

    with database.write() as connection:
        owner = connection.scalar(select(keys.c.owner).where(keys.c.id == key))
        resource = f"/v1/keys/{key}"
        audit.record(connection, database.now(connection), str(owner), audit.OPERATOR, action, resource)


def _days(option: str, days: float, least: float = 1e-6) -> float:
    """So many days in seconds."""
    if not least <= days <= 3660:
        raise UnderstudyError("option-invalid", f"{option} {days:g} is no such time.", "Give up to 3660 days.")
    return days * DAY


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


def shown_time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
