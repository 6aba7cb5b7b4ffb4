"""Output of the command line: the result on stdout, progress and notes on stderr, errors in two lines."""

from __future__ import annotations

import codecs
import io
import json
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
from understudy.wording import length

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


class _Stream(Console):
    """stdout or stderr. When their reader has left (``| head -1``), the work goes on and nothing more is printed."""

    def on_broken_pipe(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


mode = OutputMode()
_stderr = _Stream(stderr=True, highlight=False, emoji=False)
_stdout = _Stream(highlight=False, emoji=False, soft_wrap=True)

_WIDE = 72  # columns of a terminal on which title, bar and time stand beside each other
_PLAIN = dict(zip("✓✗·●○←±…–−♯×", ("+", "x", "-", "*", "o", "<-", "+-", "...", "-", "-", "#", "x"), strict=True))


def print_any_character() -> None:
    """Let stdout and stderr take every text, whatever their encoding: what it lacks is printed as plain letters or
    escaped, and a file's name that isn't text as the bytes that it is."""

    def replaced(error: UnicodeError) -> tuple[str | bytes, int]:
        if not isinstance(error, UnicodeEncodeError):
            raise error
        character, after = error.object[error.start], error.start + 1
        if "\udc80" <= character <= "\udcff":  # a byte that the file system's encoding lacks (PEP 383)
            return bytes([ord(character) - 0xDC00]), after
        return _PLAIN.get(character) or character.encode("ascii", "backslashreplace").decode(), after

    codecs.register_error("understudy.plain", replaced)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="understudy.plain")


def print_result(data: Any, text: Callable[[], str]) -> None:
    """The command's result: `data` as one JSON object with --json, else `text()` for people.

    What the command made is in its place by then: an `UnderstudyError` ``output-not-writable`` says that only the
    result can't be printed."""
    try:
        if mode.as_json:
            _print_json(data)
        else:
            _stdout.print(text(), markup=True)
    except OSError as error:
        raise UnderstudyError(
            "output-not-writable",
            f"The command did its work, but its result can't be printed ({error.strerror or error}).",
            "Check where stdout goes, then run the same command again: finished stages are not repeated.",
        ) from error


def _print_json(data: Any) -> None:
    _stdout.out(json.dumps(data, indent=2, default=str, allow_nan=False), highlight=False)


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


@contextmanager
def _progress_bars() -> Iterator[Progress]:
    """Progress bars on a terminal with the time left, from the first task on; every task has a field `note`. Silent
    with --json and --quiet, and where stderr is no terminal: there `log_stage` has a line for each stage."""
    progress = Progress(
        TextColumn("{task.description}"),
        *([BarColumn(bar_width=24)] if _stderr.width >= _WIDE else []),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[note]}"),
        console=_stderr,
        disable=mode.as_json or mode.quiet or not _stderr.is_terminal,
    )
    try:
        yield progress
    finally:
        progress.stop()


def _fitted(title: str) -> str:
    """The title of a progress bar; shortened on a narrow terminal, so that the percentage stays visible."""
    most = max(10, _stderr.width - 20)
    return title.ljust(min(36, most)) if _stderr.width >= _WIDE or len(title) <= most else f"{title[: most - 1]}…"


def log_stage(event: StageEvent, item: str = "") -> None:
    """Where stderr is no terminal but a log: a line for a stage as it ends, with its time, and one that says why it is
    delayed. `item`: what it is of."""
    if event.state == "delayed" and not _stderr.is_terminal:
        print_note(escape(f"{item}{': ' * bool(item)}{stage_title(event.kind, event.subject)}: {event.why}"))
    if event.state in ("cached", "finished") and not _stderr.is_terminal:
        where = "" if event.device == "cpu" else f" on {event.device}"
        took = "cached" if event.state == "cached" else f"{length(event.seconds)}{where}"
        print_note(escape(f"{item}{': ' * bool(item)}{stage_title(event.kind, event.subject)}: {took}"))


@contextmanager
def live_line() -> Iterator[Callable[[str, bool], None]]:
    """A function that shows a sentence in one line of stderr, in place of the one before. Where that is no terminal, it
    prints a line, but at most every 30 seconds, unless the sentence is to be kept (its second argument). Silent with
    --json and --quiet."""
    if mode.as_json or mode.quiet:
        yield lambda sentence, kept: None
    elif _stderr.is_terminal:
        with Live(console=_stderr, refresh_per_second=4) as live:
            yield lambda sentence, kept: live.update(Text(sentence, no_wrap=True, overflow="ellipsis"))
    else:
        printed = -30.0

        def show(sentence: str, kept: bool) -> None:
            nonlocal printed
            if kept or time.monotonic() - printed > 30:
                printed = time.monotonic()
                print_note(escape(sentence))

        yield show


@contextmanager
def stage_progress() -> Iterator[Listener]:
    """One progress line per stage with the time left, on stderr; in a log, a line for each as it ends."""
    with _progress_bars() as progress:
        tasks: dict[str, TaskID] = {}

        def listen(event: StageEvent) -> None:
            progress.start()
            if event.node not in tasks:
                title = stage_title(event.kind, event.subject)
                tasks[event.node] = progress.add_task(_fitted(title), total=1.0, note="")
            on = "" if event.device == "cpu" else event.device
            note = event.state if event.state in ("cached", "delayed") else on
            progress.update(tasks[event.node], completed=event.fraction, note=note)
            log_stage(event)

        yield listen


@contextmanager
def item_progress(title: str, count: int) -> Iterator[Callable[[str, StageEvent | Outcome | Row], None]]:
    """A progress line for all `count` items, and one for each that is being worked on. The function that it yields
    gets an item's label with the events of its stages and then with its outcome. In a log, there is a line for each
    stage and each item as it ends."""
    from understudy.pipeline.executor import StageEvent

    with _progress_bars() as progress:
        progress.start()
        total = progress.add_task(_fitted(title), total=count, note="")
        tasks: dict[str, TaskID] = {}
        done = 0

        def listen(label: str, event: StageEvent | Outcome | Row) -> None:
            nonlocal done
            if isinstance(event, StageEvent):
                log_stage(event, label)
                if label not in tasks:
                    tasks[label] = progress.add_task(_fitted(label[:36]), total=1.0, note="")
                progress.update(tasks[label], completed=event.fraction, note=stage_title(event.kind, event.subject))
                return
            if label in tasks:
                progress.remove_task(tasks.pop(label))
            progress.advance(total)
            done += 1
            if event.state == "failed":
                print_note(f"[red]Failed:[/] {escape(label)}: {escape(event.reason)}")
            if not _stderr.is_terminal:
                took = "" if event.seconds is None else f" after {length(event.seconds)}"
                print_note(f"{done} of {count}: {escape(label)}: {event.state}{took}")

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
        with suppress(OSError):  # stdout is what is wrong: the two lines say so
            _print_json({"error": fields})
    _stderr.print(f"[bold red]Error:[/] {escape(error.message)}", soft_wrap=True)
    _stderr.print(f"[bold]Do:[/] {escape(error.hint)}", soft_wrap=True)
