"""``understudy signing``: the keys that covers are signed with."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.markup import escape

from understudy.services.cli.console import print_result
from understudy.services.cli.options import OUTPUT, with_options

signing_app = typer.Typer(help="The keys that covers are signed with.", no_args_is_help=True)


@signing_app.command("list")
@with_options(OUTPUT)
def list_() -> None:
    """List the keys that sign or have signed here."""
    from understudy.pipeline.provenance.credentials import signing_keys

    keys = signing_keys()
    lines = [
        f"[bold]{key.fingerprint[:16]}[/]  {key.state:7}  until {key.until:%Y-%m-%d}  {escape(key.signer)}"
        for key in keys
    ]
    print_result(
        {"keys": [_shown(key) for key in keys]},
        lambda: "\n".join(lines) or "No key yet: the first cover makes one.",
    )


@signing_app.command()
@with_options(OUTPUT)
def rotate() -> None:
    """Make a new key. The old one signs no more; what it has signed stays trusted here."""
    from understudy.pipeline.provenance.credentials import rotate

    key = rotate()
    print_result(_shown(key), lambda: f"New key: [bold]{key.fingerprint[:16]}[/]")


@signing_app.command()
@with_options(OUTPUT)
def revoke(
    fingerprint: Annotated[str, typer.Argument(help="The first digits of its fingerprint; 'signing list' shows it.")],
) -> None:
    """Trust a key no more, because it was stolen. What it has signed isn't trusted any more, from whatever time."""
    from understudy.pipeline.provenance.credentials import revoke

    key = revoke(fingerprint)
    print_result(_shown(key), lambda: f"Revoked [bold]{key.fingerprint[:16]}[/].")


def _shown(key: Any) -> dict[str, Any]:
    """Without the certificate: `fingerprint` names it."""
    fields = asdict(key) | {"until": key.until.isoformat(timespec="seconds"), "serial": str(key.serial)}
    del fields["certificate"]
    return fields
