"""``understudy``: the command line, with all its commands."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, Any

import typer

from understudy import __version__
from understudy.errors import UnderstudyError
from understudy.services.cli.audit import audit
from understudy.services.cli.batch import batch
from understudy.services.cli.console import (
    mode,
    print_any_character,
    print_error,
    print_python_warning,
    readable_errors,
)
from understudy.services.cli.cover import convert, cover, graph
from understudy.services.cli.evaluate import evaluate
from understudy.services.cli.keys import keys_app
from understudy.services.cli.models import models_app
from understudy.services.cli.owners import owners_app
from understudy.services.cli.reproduce import reproduce
from understudy.services.cli.separate import separate
from understudy.services.cli.server import database_app, serve, worker
from understudy.services.cli.signing import signing_app
from understudy.services.cli.system import cache_app, doctor, presets
from understudy.services.cli.training import train
from understudy.services.cli.verify import verify
from understudy.services.cli.voice_evaluation import evaluate_voice
from understudy.services.cli.voices import voices_app

app = typer.Typer(
    name="understudy",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"understudy {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def understudy(
    context: typer.Context,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Covers of finished songs, sung by a cloned voice."""
    if context.invoked_subcommand is None:
        context.get_help()  # typer prints it


for command in (
    cover,
    separate,
    convert,
    batch,
    graph,
    evaluate,
    verify,
    reproduce,
    presets,
    doctor,
    serve,
    worker,
    audit,
):
    app.command()(command)
voices_app.command()(train)
voices_app.command("evaluate")(evaluate_voice)
groups = {
    "voices": voices_app,
    "models": models_app,
    "cache": cache_app,
    "keys": keys_app,
    "owners": owners_app,
    "database": database_app,
    "signing": signing_app,
}
for name, group in groups.items():
    app.add_typer(group, name=name)


def main() -> None:
    """Run the command; every error ends in two lines and a non-zero exit."""
    print_any_character()
    warnings.showwarning = print_python_warning
    mode.as_json = "--json" in sys.argv  # so that errors in the options themselves come as JSON, too
    with readable_errors():
        try:
            code = app(standalone_mode=False, prog_name="understudy")  # also for python -m understudy
        except typer.Abort:
            raise SystemExit(130) from None
        except Exception as error:
            if type(error).__name__ == "NoArgsIsHelpError":  # `understudy voices`: its help has been printed
                raise SystemExit(0) from None
            if not hasattr(error, "format_message"):
                raise
            print_error(_usage_error(error))
            raise SystemExit(2) from None
    raise SystemExit(code or 0)


def _usage_error(error: Any) -> UnderstudyError:
    """The parser's own complaint (an unknown option, a missing argument) in our two lines."""
    message = str(error.format_message()).strip().replace("\n", " ")
    command = error.ctx.command_path if getattr(error, "ctx", None) else "understudy"
    return UnderstudyError("usage", message, f"'{command} --help' shows how it is used.")
