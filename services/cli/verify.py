"""``understudy verify``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from understudy.context import scratch_context
from understudy.errors import Cancelled, UnderstudyError
from understudy.services.cli.console import cancellable, mode, print_error, print_result
from understudy.services.cli.options import OUTPUT, with_options

_SECONDS = 900.0  # that reading one file may take: ten hours of sound are hashed in less


@with_options(OUTPUT)
def verify(
    files: Annotated[list[Path], typer.Argument(help="Sound or video, of any program.", metavar="FILE...")],
) -> None:
    """Check what files say of their origin: tags, signed credentials (C2PA), watermark.

    The credentials of a file that can't hold them are in a file of the same name that ends in .c2pa. Exits 1 if a file
    can't be read; the others are checked all the same. Nothing is fetched from the network.
    """
    from understudy.services.queue import bounded, untrusted

    found, refused = [], []
    with cancellable() as cancelled:
        for file in files:
            with scratch_context(cancel=cancelled) as context:
                beside = file.with_suffix(".c2pa")
                sidecar = (beside.absolute(), beside.name) if beside != file and beside.is_file() else None
                try:
                    one = bounded.call(
                        untrusted.verify,
                        *(context.folder, file.absolute(), str(file), sidecar),
                        seconds=_SECONDS,
                        memory=untrusted.VERIFY_MEMORY,
                        cancelled=cancelled,
                    )
                    found.append((str(file), one))
                except Cancelled:
                    raise
                except UnderstudyError as error:
                    if len(files) == 1:
                        raise
                    fields = {"code": error.code, "message": error.message, "hint": error.hint}
                    refused.append({"file": str(file), **fields})
                    if not mode.as_json:
                        print_error(error)
    listed = [{"file": name, **asdict(one)} for name, one in found]
    print_result(
        listed[0] if len(files) == 1 else {"files": listed, "errors": refused},
        lambda: "\n".join(f"[bold]{escape(name)}[/]\n{escape(one.conclusion)}" for name, one in found),
    )
    if refused:
        raise typer.Exit(1)
