"""``understudy voices consent``: what the consent for a voice rests on, and the log of all decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from understudy.disk import reading, replacing
from understudy.services.cli.console import print_result
from understudy.services.cli.options import OUTPUT, Options, with_options
from understudy.wording import counted

consent_app = typer.Typer(help="The consent for a voice: prove it, limit it, revoke it.", no_args_is_help=True)

NAME = Annotated[str, typer.Argument(help="The voice's name.")]


@consent_app.command()
@with_options("voices cache", OUTPUT)
def revoke(
    name: NAME, reason: Annotated[str, typer.Option(help="Why; stands in the log.")] = "", *, options: Options
) -> None:
    """Withdraw the consent for a voice, for good: its recordings, its model, and what was made with them in the cache
    are deleted."""
    ended = options.library.revoke(name, reason, cache=options.cache)
    print_result({"revoked": list(ended)}, lambda: f"Revoked: {escape(', '.join(ended))}. Nothing can be made with it.")


@consent_app.command()
@with_options("overwrite voices", OUTPUT)
def log(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the log to this file.")] = None,
    check: Annotated[Path | None, typer.Option(help="Check this exported log, not the library's.")] = None,
    *,
    options: Options,
) -> None:
    """Check the consent log, and show or export it: one JSON object per line, each with the hash of the line before.

    A log from which the last lines were cut off looks right: compare the hash of its last entry with one from
    elsewhere."""
    from understudy.pipeline.publish import check_replaceable
    from understudy.voices.consent.log import ConsentLog, parse

    if check is not None:
        with reading(check):
            entries = parse(check.read_text("utf-8", "replace").splitlines(), str(check))
    else:
        entries = ConsentLog(options.voices).read()
    if output is not None:
        check_replaceable(output, options.overwrite)
        with replacing(output) as part:
            part.write_text("".join(f"{entry.line}\n" for entry in entries), "utf-8")
    last = entries[-1].hash if entries else None
    data = {"entries": [{**vars(entry)} for entry in entries], "last": last, "output": output and str(output)}
    lines = [f"{entry.number}  {entry.at[:19]}  {escape(entry.voice)}  {entry.decision}" for entry in entries]
    ending = f"{counted(len(entries), 'entry', 'entries')}, nothing changed; last: {last}"
    print_result(data, lambda: "\n".join([*lines, ending]))
