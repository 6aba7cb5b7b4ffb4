"""Output of the command line: the result on stdout, progress and notes on stderr, errors in two lines."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from understudy.errors import Cancelled, RenamedSetting, UnderstudyError
from understudy.services.stage_titles import stage_title

if TYPE_CHECKING:
    from understudy.pipeline.evaluation.run import Row
    from understudy.pipeline.executor import Listener, StageEvent
    from understudy.services.batch.run import Outcome


@dataclass
class OutputMode:
    """What is printed and how. The options --json, --quiet and --debug of the command set it."""

    as_json: bool = False
    quiet: bool = False
    debug: bool = False


mode = OutputMode()
_stderr = Console(stderr=True, highlight=False)
_stdout = Console(highlight=False, soft_wrap=True)


def print_result(data: Any, text: Callable[[], str]) -> None:
    """The command's result: `data` as one JSON object with --json, else `text()` for people."""
    if mode.as_json:
        print(json.dumps(data, indent=2, default=str, allow_nan=False), flush=True)
    else:
        _stdout.print(text(), markup=True)


def print_note(sentence: str) -> None:
    """A sentence beside the result; silent with --json and --quiet."""
    if not (mode.as_json or mode.quiet):
        _stderr.print(sentence, soft_wrap=True)


def print_python_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """In place of `warnings.showwarning`: our own as a sentence, without the place in the source code."""
    if not issubclass(category, RenamedSetting):
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno))
    elif not mode.quiet:
        _stderr.print(f"[yellow]Note:[/] {escape(str(message))}", soft_wrap=True)


@contextmanager
def cancellable() -> Iterator[Event]:
    """An event that the first Ctrl-C (or a termination request) sets; the second one ends the process at once."""
    cancelled = Event()

    def stop(number: int, frame: FrameType | None) -> None:
        if cancelled.is_set():
            os._exit(128 + number)
        cancelled.set()
        print_note("Stopping; press Ctrl-C again to stop at once.")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield cancelled
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def progress_bars() -> Progress:
    """Progress bars on stderr with the time left; every task has a field `note`. Silent with --json and --quiet."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[note]}"),
        console=_stderr,
        disable=mode.as_json or mode.quiet,
    )


@contextmanager
def live_line() -> Iterator[Callable[[str], None]]:
    """A function that shows a sentence in one line of stderr, in place of the one before; where that is no terminal,
    as a line of its own at most every 30 seconds. Silent with --json and --quiet."""
    if mode.as_json or mode.quiet:
        yield lambda sentence: None
    elif _stderr.is_terminal:
        with Live(console=_stderr, refresh_per_second=4) as live:
            yield lambda sentence: live.update(Text(sentence, no_wrap=True, overflow="ellipsis"))
    else:
        printed = 0.0

        def show(sentence: str) -> None:
            nonlocal printed
            if not printed or time.monotonic() - printed > 30:
                printed = time.monotonic()
                _stderr.print(escape(sentence), soft_wrap=True)

        yield show


@contextmanager
def stage_progress() -> Iterator[Listener]:
    """One progress line per stage with the time left, on stderr."""
    with progress_bars() as progress:
        tasks: dict[str, TaskID] = {}

        def listen(event: StageEvent) -> None:
            if event.node not in tasks:
                title = stage_title(event.kind, event.subject)
                tasks[event.node] = progress.add_task(title.ljust(36), total=1.0, note="")
            note = "cached" if event.state == "cached" else "" if event.device == "cpu" else event.device
            progress.update(tasks[event.node], completed=event.fraction, note=note)

        yield listen


@contextmanager
def item_progress(title: str, count: int) -> Iterator[Callable[[str, StageEvent | Outcome | Row], None]]:
    """A progress line for all `count` items, and one for each that is being worked on. The function that it yields
    gets an item's label with the events of its stages and then with its outcome."""
    from understudy.pipeline.executor import StageEvent

    with progress_bars() as progress:
        total = progress.add_task(title.ljust(36), total=count, note="")
        tasks: dict[str, TaskID] = {}

        def listen(label: str, event: StageEvent | Outcome | Row) -> None:
            if isinstance(event, StageEvent):
                if label not in tasks:
                    tasks[label] = progress.add_task(label[:36].ljust(36), total=1.0, note="")
                progress.update(tasks[label], completed=event.fraction, note=stage_title(event.kind, event.subject))
                return
            if label in tasks:
                progress.remove_task(tasks.pop(label))
            progress.advance(total)
            if event.state == "failed":
                print_note(f"[red]Failed:[/] {escape(label)}: {escape(event.reason)}")

        yield listen


@contextmanager
def readable_errors() -> Iterator[None]:
    """Errors in two lines (what, what to do) or as JSON, exit codes 1, 2 or 130; a traceback only with --debug."""
    try:
        yield
    except Exception as error:
        if mode.debug:
            traceback.print_exc()
        if not isinstance(error, UnderstudyError):
            error = UnderstudyError(
                "internal-error",
                f"Something unexpected went wrong: {type(error).__name__}: {error}".replace("\n", " "),
                "This is a fault in Understudy: run the command again with --debug and report what it prints.",
            )
        print_error(error)
        raise SystemExit(130 if isinstance(error, Cancelled) else 1) from None


def print_error(error: UnderstudyError) -> None:
    """The error's two lines; with --json one object on stdout."""
    if mode.as_json:
        fields = {"code": error.code, "message": error.message, "hint": error.hint}
        print(json.dumps({"error": fields}, indent=2), flush=True)
    _stderr.print(f"[bold red]Error:[/] {escape(error.message)}", soft_wrap=True)
    _stderr.print(f"[bold]Do:[/] {escape(error.hint)}", soft_wrap=True)
