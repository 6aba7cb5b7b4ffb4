"""The options that several commands share: one table, from which the commands and the settings get them.

``@with_options("preset key")`` gives a command the named options of the table; it receives their values as one
`Options` object in its parameter `options`, if it has one.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from understudy import environment
from understudy.choices import Backing, ExecutorName, FormatName, Platform, Shape, TrackerName, listed
from understudy.errors import UnderstudyError
from understudy.services.cli.console import cancellable, mode, stage_progress

if TYPE_CHECKING:  # imported where they are used, so that ``understudy --help`` answers at once
    from understudy.jobs import Runner
    from understudy.library import VoiceLibrary
    from understudy.links import LinkedSong
    from understudy.pipeline.cast import Cast
    from understudy.pipeline.executor import Executor
    from understudy.pipeline.settings import CoverSettings
    from understudy.services.queue.settings import ServerSettings

SINGING, MIX, SETTINGS, SERVER = "How it is sung", "Mix", "Settings, folders and device", "Server"
CLUSTER = "Ray cluster"


@dataclass(frozen=True)
class Option:
    """One option of the command line, ``--name``.

    `type`: of its value; bool without a setting makes a plain switch. `setting`: the dotted name of the setting of a
    cover that it sets. `default`: what the help shows as default. `panel`: its heading in the help.
    """

    name: str
    type: Any
    help: str
    setting: str = ""
    panel: str | None = None
    default: str | None = None
    short: str | None = None
    metavar: str | None = None

    def parameter(self) -> inspect.Parameter:
        """The option as a parameter of a typer command."""
        switch = self.type is bool and not self.setting and self.panel != SERVER
        info = typer.Option(
            *filter(None, ("--" + self.name.replace("_", "-"), self.short)),
            help=self.help,
            show_default=self.default or False,
            rich_help_panel=self.panel,
            metavar=self.metavar,
        )
        annotation = Annotated[self.type if switch else self.type | None, info]  # type: ignore[valid-type]
        default = False if switch else None
        return inspect.Parameter(self.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


_TABLE: Mapping[str | None, tuple[Option, ...]] = {
    None: (
        Option("start", str, "Start of the part to use: 1:05, or seconds.", "song.start", metavar="TIME"),
        Option("duration", str, "Length of the part to use: 0:30, or seconds.", "song.duration", metavar="TIME"),
        Option("format", str, f"{listed(FormatName)}; mp3:192 sets the bit rate.", "output.format"),
        Option(
            "name",
            str,
            "Name of the file, e.g. '{artist} - {title} ({voice}{changes})'; -o overrides it.",
            "output.name",
        ),
        Option("keep_stems", bool, "Also write the cover's stems.", "output.keep_stems"),
        Option(
            "video",
            Shape,
            "Also make a video (mp4) to upload: artwork, title and waveform.",
            "output.video",
        ),
        Option(
            "model", str, "Separation model; A+B combines several; 'embedded' needs no weights.", "separation.model"
        ),
        Option("cookies", Path, "Cookies of your browser (Netscape's format), for a link that needs a login."),
        Option("overwrite", bool, "Replace files that Understudy did not make."),
        Option("json", bool, "Print the result as one JSON object."),
        Option("quiet", bool, "Print only the result, no progress.", short="-q"),
        Option("debug", bool, "Show tracebacks."),
    ),
    SINGING: (
        Option(
            "engine",
            Literal["instant", "zero-shot", "rvc"],
            "instant, zero-shot or rvc: what the voices sing with; default: what each has.",
        ),
        Option("key", int, "Semitones by which the entire song moves.", "key"),
        Option("transpose", str, "Semitones, or auto for the best octave; by voice: A=-12,B=auto.", "transpose"),
        Option(
            "index_rate", float, "How much of the sound comes from the recordings, 0 to 1.", "conversion.index_rate"
        ),
        Option("protect", float, "Protection of consonants and breaths, 0 to 0.5; 0.5 is off.", "conversion.protect"),
        Option("formant_shift", float, "Shift of the formants in semitones.", "conversion.formant_shift"),
        Option("tracker", str, f"Pitch tracker: {listed(TrackerName)}.", "pitch.tracker"),
        Option("seed", int, "Seed of the random numbers: the same seed gives the same bytes.", "conversion.seed"),
    ),
    MIX: (
        Option(
            "backing",
            Backing,
            "Backing vocals, if a stem holds them: keep, convert or mute them.",
            "backing",
        ),
        Option("vocal_gain", float, "Gain of the vocal in dB.", "remix.vocal_gain"),
        Option(
            "backing_gain", float, "Gain of the backing vocals in dB, if there is a stem of them.", "remix.backing_gain"
        ),
        Option(
            "singer_removal",
            float,
            "How far leftovers of the original singer are removed from the instrumental, 0 to 1; default: by need.",
            "singer_removal",
        ),
        Option("instrumental_gain", float, "Gain of the instrumental in dB.", "remix.instrumental_gain"),
        Option(
            "loudness",
            Platform,
            "Loudness that a platform plays music at; default: that of the song.",
            "remix.loudness",
        ),
        Option("target_lufs", float, "Loudness of the cover in LUFS; default: that of the song.", "remix.target_lufs"),
    ),
    SETTINGS: (
        Option("preset", str, "Name of a preset, or path of a YAML file."),
        Option("set", list[str], "Any setting by its full name; may be repeated.", metavar="GROUP.FIELD=VALUE"),
        Option("voices", Path, "Folder of the voice library."),
        Option("cache", Path, "Folder of the cache."),
        Option("device", str, "auto, cpu, cuda:0, ..."),
    ),
    CLUSTER: (
        Option("executor", ExecutorName, "local, or ray for the machines of a Ray cluster.", default="local"),
        Option("address", str, "HOST:PORT of the cluster's head; default: the cluster of this machine."),
        Option("store", str, "Folder that all its machines see, or s3://bucket/path; default: in the cache."),
    ),
    SERVER: (
        Option("host", str, "Address to bind.", default="127.0.0.1"),
        Option("port", int, "Port; 0 selects a free one.", default="8000"),
        Option("tls", str, "self-signed: HTTPS with a certificate of its own; shows a QR code of the address."),
        Option("root_path", str, "Path below which a proxy shows it, e.g. /understudy."),
        Option("workers", int, "Worker processes.", default="1"),
        Option("keys", bool, "Require API keys on loopback, too."),
        Option("config", Path, "A YAML file of server settings."),
        Option("data", Path, "Folder of all its data."),
        Option("database", str, "URL of a PostgreSQL database; default: SQLite."),
        Option("storage", str, "URL of the storage, e.g. s3://bucket/path; default: a local folder."),
    ),
}
"""The options by their heading in the help."""
OPTIONS = {option.name: replace(option, panel=panel) for panel, group in _TABLE.items() for option in group}
_NAMES = {panel: [option.name for option in group] for panel, group in _TABLE.items() if panel}
OUTPUT = "json quiet debug"
"""The options of every command that prints a result. They set the `mode`: no command looks at their values."""


@dataclass(frozen=True)
class Options:
    """The values of a command's shared options, by name, and what they mean."""

    values: Mapping[str, Any]

    @property
    def voices(self) -> Path:
        return self.values.get("voices") or environment.voices_folder()

    @property
    def library(self) -> VoiceLibrary:
        from understudy.library import VoiceLibrary

        return VoiceLibrary(self.voices)

    @property
    def cache(self) -> Path:
        return self.values.get("cache") or environment.cache_folder()

    @property
    def trainings(self) -> Path:
        """The folder of the runs of trainings."""
        return self.cache / "training"

    @property
    def overwrite(self) -> bool:
        return bool(self.values.get("overwrite"))

    def assignments(self, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The settings that were given, by dotted name: those with an option of their own, `more`, then each
        ``--set``."""
        from understudy.pipeline.settings import parse_value

        named = {option.setting: self.values.get(name) for name, option in OPTIONS.items() if option.setting}
        found = {name: value for name, value in {**named, **(more or {})}.items() if value is not None}
        transpose = found.get("transpose")
        if isinstance(transpose, str) and "=" in transpose:
            del found["transpose"]  # it names voices: `cast` reads it
        elif isinstance(transpose, str) and transpose != "auto":
            found["transpose"] = parse_value("transpose", transpose)
        for assignment in self.values.get("set") or []:
            name, equals, text = assignment.partition("=")
            if not equals:
                raise UnderstudyError(
                    "option-invalid", f"--set {assignment!r} has no '='.", "Write it as --set remix.vocal_gain=2."
                )
            found[name.strip()] = parse_value(name.strip(), text)
        return found

    @property
    def preset(self) -> str | None:
        return self.values.get("preset")

    def settings(self, output: Path | None = None, more: Mapping[str, Any] | None = None) -> CoverSettings:
        """The settings of the preset and `assignments`. The extension of the file `output` names the format unless one
        was given."""
        from understudy.pipeline.settings import load_settings

        found = self.assignments(more)
        if output is not None and "output.format" not in found:
            found["output.format"] = _format_of(output)
        return load_settings(self.preset, found)

    @property
    def transposes(self) -> str:
        """A ``--transpose`` that names voices, else nothing."""
        transpose = self.values.get("transpose") or ""
        return transpose if "=" in transpose else ""

    def cast(self, voices: list[str]) -> Cast:
        """Who sings, from the values of ``--voice`` and a ``--transpose`` that names voices."""
        return self.singers(voices, self.values.get("engine"), self.transposes)

    def singers(self, voices: list[str], engine: str | None, transposes: str) -> Cast:
        """The voices of the library, with an engine (None: each with its default), and with ``A=-12,B=auto``."""
        from understudy.pipeline.cast import parse_transposes, parse_voices

        by_voice = parse_transposes(transposes) if transposes else {}
        return parse_voices(voices).cast(lambda name: self.library.get(name, engine), by_voice)

    @contextmanager
    def fetching(self) -> Iterator[Callable[..., list[LinkedSong]]]:
        """A function that fetches the songs of a link (`understudy.links.fetch_songs`), with its progress in a line."""
        from understudy.context import scratch_context
        from understudy.links import fetch_songs
        from understudy.pipeline.executor import StageEvent

        with cancellable() as cancelled, stage_progress() as listen:

            def fetch(link: str, several: bool = True) -> list[LinkedSong]:
                def progress(fraction: float) -> None:
                    listen(StageEvent("fetch", "progress", fraction, 0.0, "cpu", link))

                begun = time.monotonic()
                with scratch_context(progress, cancelled) as context:
                    songs = fetch_songs(link, context, self.cache, self.values.get("cookies"), several=several)
                listen(StageEvent("fetch", "finished", 1.0, time.monotonic() - begun, "cpu", link))
                return songs

            yield fetch

    def song(self, text: str) -> tuple[Path, Mapping[str, str]]:
        """The song that an argument names, a file or a link, which is fetched; and the tags that the link gave it."""
        from understudy.links import is_link

        if not is_link(text):
            return Path(text), {}
        with self.fetching() as fetch:
            (song,) = fetch(text, several=False)
        return song.path, song.tags

    def executor(self) -> Executor:
        from understudy.pipeline.executor import LocalExecutor
        from understudy.pipeline.store import Store

        device = self.values.get("device")
        if self.values.get("executor") == "ray":
            from understudy.pipeline.ray_executor import RayExecutor
            from understudy.pipeline.shared_store import SharedStore, StoreAddress

            url = self.values.get("store") or environment.shared_store() or str(self.cache / "store")
            store = SharedStore(StoreAddress(url), self.cache)
            return RayExecutor(store, self.values.get("address"), device, environment.gpu_share())
        return LocalExecutor(Store(self.cache), environment.choose_device(device))

    @contextmanager
    def runner(self) -> Iterator[Runner]:
        """What a job runs with. Afterwards the cache is brought back under its limit."""
        from understudy.jobs import Runner

        executor = self.executor()
        with cancellable() as cancelled, stage_progress() as listener:
            yield Runner(executor, listener, cancelled)
        executor.store.prune(environment.cache_limit(), spare=6 * 3600)

    def server(self) -> ServerSettings:
        """The settings of a server: those of the file ``--config``, the environment, and the options."""
        from understudy.services.queue import settings

        names = [name for name in self.values if name in settings.ServerSettings.model_fields]
        return settings.load(self.values.get("config"), {name: self.values[name] for name in names})


def with_options(*groups: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a typer command: add options of the table to its parameters. Each of the `groups` is a heading, for all
    that are under it, or names with spaces between them."""
    names = [name for group in groups for name in _NAMES.get(group) or group.split()]
    added = [OPTIONS[name].parameter() for name in names]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        own = [parameter for name, parameter in signature.parameters.items() if name != "options"]

        @wraps(command)
        def call(**values: Any) -> None:
            shared = {name: values.pop(name) for name in names}
            mode.as_json, mode.quiet, mode.debug = (bool(shared.get(name)) for name in OUTPUT.split())
            if "options" in signature.parameters:
                values["options"] = Options(shared)
            command(**values)

        call.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
        return call

    return decorate


def _format_of(output: Path) -> str:
    extension = output.suffix.removeprefix(".").lower()
    if not extension:
        raise UnderstudyError(
            "format-unknown", f"{output} has no extension.", "End its name in .flac, .wav, .mp3, .m4a or .opus."
        )
    return extension


VOICE = Annotated[
    list[str],
    typer.Option(
        help="Who sings; 'understudy voices list' shows them. Several: lead=A and backing=B, or by time "
        "'0:00-1:12=A,1:12-=B'."
    ),
]
