"""``understudy owners``: the owners of a server, and their deletion."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from understudy.services.cli.console import print_result
from understudy.services.cli.keys import shown_time
from understudy.services.cli.options import OUTPUT, Options, with_options
from understudy.services.cli.server import open_database

owners_app = typer.Typer(help="The owners of a server.", no_args_is_help=True)


@owners_app.command("list")
@with_options("config data database", OUTPUT)
def list_(options: Options) -> None:
    """List the owners, oldest first."""
    from sqlalchemy import select

    from understudy.services.queue.tables import owners

    columns = (owners.c.id, owners.c.name, owners.c.created, owners.c.deleting)
    with open_database(options).read() as connection:
        rows = connection.execute(select(*columns).order_by(owners.c.created)).all()
    times = ("created", "deleting")
    found = [row._asdict() | {name: shown_time(getattr(row, name)) for name in times} for row in rows]
    lines = [
        f"[bold]{one['id']}[/]  {escape(one['name'])}" + ("  [red]is being deleted[/]" if one["deleting"] else "")
        for one in found
    ]
    print_result({"owners": found}, lambda: "\n".join(lines) or "No owners yet.")


@owners_app.command()
@with_options("config data database", OUTPUT)
def delete(name: Annotated[str, typer.Argument(help="The owner's name or id.")], *, options: Options) -> None:
    """Delete an owner with all that it has, without asking. A server removes its files within minutes."""
    from sqlalchemy import or_, select

    from understudy.services.queue import audit, deletion
    from understudy.services.queue.tables import owners

    database = open_database(options)
    with database.write() as connection:
        id = connection.scalar(select(owners.c.id).where(or_(owners.c.id == name, owners.c.name == name)))
        if id is None:
            raise deletion.owner_unknown(name)
        now = database.now(connection)
        deletion.ask(connection, now, id)
        audit.record(connection, now, id, audit.OPERATOR, "delete_owner", f"/v1/owners/{id}")
    deletion.delete(database, id)
    print_result({"deleted": id}, lambda: f"Deleted {escape(name)}.")
