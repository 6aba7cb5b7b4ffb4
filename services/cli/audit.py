"""``understudy audit``: what was done on a server."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from understudy.services.cli.console import print_result
from understudy.services.cli.keys import shown_time
from understudy.services.cli.options import OUTPUT, Options, with_options
from understudy.services.cli.server import open_database


@with_options("config data database", OUTPUT)
def audit(
    owner: Annotated[str | None, typer.Option(help="Of this owner, by name or id; default: of all.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="The latest so many entries.")] = 100,
    *,
    options: Options,
) -> None:
    """Show the audit log of a server: who did what, when, from where, to what."""
    from sqlalchemy import func, or_, select

    from understudy.services.queue.tables import audit, owners

    name = func.coalesce(owners.c.name, audit.c.owner).label("owner")
    columns = (name, *(column for column in audit.c if column.name != "owner"))
    query = select(*columns).outerjoin(owners, owners.c.id == audit.c.owner)
    if owner is not None:
        query = query.where(or_(owners.c.name == owner, audit.c.owner == owner))
    query = query.order_by(audit.c.created.desc(), audit.c.id.desc()).limit(limit)
    found: list[dict[str, Any]] = []
    with open_database(options).read() as connection:
        for row in reversed(connection.execute(query).all()):
            found.append(row._asdict() | {"created": shown_time(row.created)})
    lines = [
        f"{one['created']}  {escape(one['owner'])}  {one['key'] or '-'}  {one['action']}  {escape(one['resource'])}  "
        f"{escape(one['address'])}"
        for one in found
    ]
    print_result({"entries": found}, lambda: "\n".join(lines) or "Nothing was done yet.")
