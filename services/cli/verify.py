"""``understudy verify``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from understudy.context import scratch_context
from understudy.errors import UnderstudyError
from understudy.services.cli.console import cancellable, print_error, print_result
from understudy.services.cli.options import OUTPUT, with_options


@with_options(OUTPUT)
def verify(
    files: Annotated[list[Path], typer.Argument(help="Sound or video, of any program.", metavar="FILE...")],
) -> None:
    """Check what files say of their origin: tags, signed credentials (C2PA), watermark.

    Exits 1 if a file can't be read. Nothing is fetched from the network.
    """
    from understudy.pipeline.provenance.verification import verify

    found, failed = {}, False
    with cancellable() as cancelled:
        for file in files:
            with scratch_context(cancel=cancelled) as context:
                try:
                    found[str(file)] = verify(context, file)
                except UnderstudyError as error:
                    if len(files) == 1 or error.code == "cancelled":
                        raise
                    print_error(error)
                    failed = True
    data = {"files": {name: asdict(one) for name, one in found.items()}}
    print_result(
        data, lambda: "\n".join(f"[bold]{escape(name)}[/]\n{escape(one.conclusion)}" for name, one in found.items())
    )
    if failed:
        raise typer.Exit(1)
