"""The options that commands share, and how they become settings and a runner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy import environment
from understudy.errors import UnderstudyError
from understudy.pipeline.settings import CoverSettings, load_settings, parse_value
from understudy.services.cli.console import cancellable, mode, stage_progress

if TYPE_CHECKING:
    from understudy.jobs import Runner
    from understudy.pipeline.cast import Cast
    from understudy.pipeline.executor import LocalExecutor


def _set_json(value: bool) -> bool:
    mode.as_json = value
    return value


def _set_quiet(value: bool) -> bool:
    mode.quiet = value
    return value


def _set_debug(value: bool) -> bool:
    mode.debug = value
    return value


JSON = Annotated[bool, typer.Option("--json", callback=_set_json, help="Print one JSON object and nothing else.")]
QUIET = Annotated[bool, typer.Option("--quiet", "-q", callback=_set_quiet, help="No progress, only the result.")]
DEBUG = Annotated[bool, typer.Option("--debug", callback=_set_debug, help="Show tracebacks.")]

VOICES = Annotated[Path | None, typer.Option("--voices", help="Folder of the voice library.", show_default=False)]
CACHE = Annotated[Path | None, typer.Option("--cache", help="Folder of the artifacts.", show_default=False)]
DEVICE = Annotated[str | None, typer.Option("--device", help="cpu, cuda:0 ... or auto.", show_default=False)]

PRESET = Annotated[
    str | None, typer.Option("--preset", help="A preset's name or the path of a YAML file.", show_default=False)
]
SET = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="GROUP.FIELD=VALUE", help="Any setting by its full name.", show_default=False),
]
START = Annotated[float | None, typer.Option("--start", help="Begin at this second.", show_default=False)]
DURATION = Annotated[float | None, typer.Option("--duration", help="Only so many seconds.", show_default=False)]
FORMAT = Annotated[
    str | None, typer.Option("--format", help="wav16, wav24, wav32f, flac, mp3, m4a, opus.", show_default=False)
]
OVERWRITE = Annotated[bool, typer.Option("--overwrite", help="Replace files that Understudy did not make.")]
VOICE = Annotated[
    list[str],
    typer.Option(
        "--voice",
        help="Who sings; 'understudy voices list' shows them. Several: lead=A and backing=B, or by time "
        "'0:00-1:12=A,1:12-=B'.",
    ),
]

MODEL = Annotated[
    str | None,
    typer.Option("--model", help="Separator; A+B: several as one; 'embedded' needs no weights.", show_default=False),
]
TRACKER = Annotated[
    str | None, typer.Option("--tracker", help="swift-f0, fcpe, praat, harvest or median.", show_default=False)
]
TRANSPOSE = Annotated[
    str | None,
    typer.Option(
        "--transpose",
        help="Semitones, or auto: whole octaves that fit; by voice: A=-12,B=auto.",
        show_default=False,
    ),
]
KEY = Annotated[
    int | None, typer.Option("--key", help="Move the entire song by so many semitones.", show_default=False)
]
INDEX_RATE = Annotated[
    float | None, typer.Option("--index-rate", help="0..1, pull towards the recordings.", show_default=False)
]
PROTECT = Annotated[
    float | None, typer.Option("--protect", help="0..0.5, shield of consonants; 0.5 = off.", show_default=False)
]
FORMANT_SHIFT = Annotated[
    float | None, typer.Option("--formant-shift", help="Semitones that the formants move.", show_default=False)
]
SEED = Annotated[int | None, typer.Option("--seed", help="Same seed, same bytes.", show_default=False)]


def settings_from(
    preset: str | None, assignments: list[str] | None, named: Mapping[str, Any], output: Path | None = None
) -> CoverSettings:
    """Settings from the command's options; an output file's extension names the format unless one was given."""
    options = assigned(assignments, named)
    if output is not None and options.get("output.format") is None:
        options["output.format"] = _format_of(output)
    return load_settings(preset, options)


def assigned(assignments: list[str] | None, named: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the command's options name, by dotted name: its own options, then each ``--set``."""
    options = dict(named)
    transpose = options.get("transpose")
    if isinstance(transpose, str) and "=" in transpose:
        del options["transpose"]  # said of voices: `singing` takes it
    elif isinstance(transpose, str) and transpose != "auto":
        options["transpose"] = parse_value("transpose", transpose)
    for assignment in assignments or []:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise UnderstudyError(
                "option-invalid", f"--set {assignment!r} has no '='.", "Write it as --set remix.vocal_gain=2."
            )
        options[name.strip()] = parse_value(name.strip(), text)
    return options


def _format_of(output: Path) -> str:
    extension = output.suffix.removeprefix(".").lower()
    if not extension:
        raise UnderstudyError(
            "format-unknown", f"{output} has no extension.", "End its name in .flac, .wav, .mp3, .m4a or .opus."
        )
    return extension


def singing(voices: list[str], folder: Path | None, transpose: str | None = None) -> Cast:
    """Who sings, from the values of ``--voice`` and a ``--transpose`` that names voices."""
    from understudy.pipeline.cast import parse_transposes, parse_voices
    from understudy.voices.library import load

    asked = parse_transposes(transpose) if transpose and "=" in transpose else {}
    return parse_voices(voices).cast(partial(load, voices_root(folder)), asked)


def voices_root(folder: Path | None) -> Path:
    return folder or environment.voices_folder()


@contextmanager
def runner(cache: Path | None, device: str | None) -> Iterator[Runner]:
    """What a job runs with; afterwards the cache is brought back under its limit."""
    from understudy.jobs import Runner

    executor = local_executor(cache, device)
    with cancellable() as cancelled, stage_progress() as listener:
        yield Runner(executor, listener, cancelled)
    executor.store.prune(environment.cache_limit(), spare=6 * 3600)


def local_executor(cache: Path | None, device: str | None) -> LocalExecutor:
    from understudy.environment import choose_device
    from understudy.pipeline.executor import LocalExecutor
    from understudy.pipeline.store import Store

    return LocalExecutor(Store(cache or environment.cache_folder()), choose_device(device))
