"""`Session`: covers, separations, conversions and evaluations from Python; models stay loaded between calls.

The functions `cover`, `convert`, `separate` and `evaluate` of `understudy` are the methods of one session with the
command line's folders and device.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Lock
from typing import Literal

from understudy import environment
from understudy.audio.encode import parse_format
from understudy.context import Context, scratch_context
from understudy.errors import Cancelled, UnderstudyError
from understudy.evaluations import EvaluationJob, candidates, evaluate_separators
from understudy.jobs import (
    ConversionJob,
    CoverJob,
    Runner,
    SeparationJob,
    convert_vocals,
    make_cover,
    separate_song,
)
from understudy.library import VoiceLibrary
from understudy.pipeline.cast import Cast, as_cast, parse_voices
from understudy.pipeline.evaluation.dataset import Song
from understudy.pipeline.evaluation.run import Row
from understudy.pipeline.executor import LocalExecutor, StageEvent
from understudy.pipeline.graph import Graph
from understudy.pipeline.separation_request import (
    GUIDE,
    Container,
    SeparationRequest,
    container_named,
    parse_guide,
    parse_levels,
    parse_stems,
)
from understudy.pipeline.settings import CoverSettings as Settings
from understudy.pipeline.settings import load_settings
from understudy.pipeline.store import Store
from understudy.results import ConversionResult, CoverResult, EvaluationResult, SeparationResult
from understudy.sounds import Sound, as_files, is_file
from understudy.voices.voice import Voice

__all__ = ["Settings"]  # exported under this name; all else is defined here

SettingsLike = Settings | str | Mapping[str, object] | None
"""Settings as `load_settings` gives them; the name of a preset, or the path of one (YAML); a mapping of dotted names to
values, ``{"remix.vocal_gain": 2}``, over the default preset; None: the default preset."""

VoiceLike = str | Voice | Cast | Sequence[str]
"""Who sings: the name of a voice in the library, or a `Voice`; several as the command line takes them,
``["lead=nova", "backing=ada"]`` or ``"0:00-1:12=nova,1:12-=ada"`` (times in the song)."""

_SPARED = 6 * 3600.0  # seconds for which artifacts stay in the cache although it is over its limit


@dataclass(frozen=True)
class ProgressEvent:
    """How far a call is.

    - `stage`: the name of the stage that reports.
    - `state`: ``cached`` (it was made before), ``started``, ``progress`` or ``finished``; on a cluster also
      ``delayed``: it waits, or is run again on another machine.
    - `fraction`: 0..1 of the stage. `total`: 0..1 of the entire call; it never falls.
    - `seconds`: wall time of the stage so far. `device`: ``cpu`` or ``cuda:0``.
    - `item`: in an evaluation, the song and the separator.
    """

    stage: str
    state: Literal["cached", "started", "progress", "finished", "delayed"]
    fraction: float
    total: float
    seconds: float
    device: str
    item: str = ""


Progress = Callable[[ProgressEvent], None]
"""A callback for progress. It is called from the threads that work, one call at a time, and they wait for it. When it
raises an exception, the work stops and the call raises that exception."""


class Session:
    """The voice library, cache and device of a program's calls, and the models that they load.

    - `voices`, `cache`: folders; None: those of the command line (``UNDERSTUDY_VOICES``, ``UNDERSTUDY_CACHE``, or the
      platform's).
    - `device`: ``cpu``, ``cuda:0`` or ``auto``; None: ``UNDERSTUDY_DEVICE``, else a GPU if there is one.
    - `workers`: threads that one stage may use; None: one for each CPU core.

    Folders and models are opened by the first call; models stay loaded. A session may be used from several threads at
    once; their stages share the device, one at a time on a GPU and two on the CPU. The session's library is `voices`.
    """

    def __init__(
        self,
        *,
        voices: str | os.PathLike[str] | None = None,
        cache: str | os.PathLike[str] | None = None,
        device: str | None = None,
        workers: int | None = None,
    ) -> None:
        self.voices = VoiceLibrary(voices)
        self._cache = None if cache is None else Path(cache)
        self._device = device
        self._workers = workers

    def cover(
        self,
        song: Sound | None = None,
        *,
        voice: VoiceLike,
        engine: Literal["instant", "zero-shot", "rvc"] | None = None,
        settings: SettingsLike = None,
        transposes: Mapping[str, int | Literal["auto"]] | None = None,
        vocals: Sound | None = None,
        instrumental: Sound | None = None,
        backing_vocals: Sound | None = None,
        output: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        progress: Progress | None = None,
        cancel: Event | None = None,
    ) -> CoverResult:
        """Make a cover: the song, sung by the voice.

        >>> us.cover("song.mp3", voice="nova").path
        PosixPath('covers/song (nova).flac')

        - `song`: a file, ``(samples, rate)`` or `Audio` (see `Sound`); 0.4 seconds to 2 hours, 8 to 192 kHz.
        - `voice`: the name of a voice in the library, a `Voice`, or several (see `VoiceLike`).
        - `engine`: what the voices sing with; None: what each of them sings with by default.
        - `settings`: `Settings`, the name of a preset, or dotted names to values (see `SettingsLike`).
        - `transposes`: where several voices sing, semitones by the name of a voice, or ``"auto"``.
        - `vocals`, `instrumental`, `backing_vocals`: stems of your own, used in place of separated ones. With `vocals`
          and `instrumental` there need be no song; with `backing_vocals`, `vocals` is the lead alone.
        - `output`: the file to write; its extension names the format unless the settings name one with that extension.
          None: ``covers/SONG (VOICE).flac`` when all inputs are files. When one is an array, nothing is written but the
          cache, and the paths of the result are those of files in the cache.
        - `overwrite`: whether a file at `output` that Understudy did not make may be replaced.
        - `progress`: called with a `ProgressEvent`. `cancel`: setting this event stops the work.

        Raises `UnderstudyError`: among others ``voice-unknown``, ``engine-missing``, ``file-not-found``, ``not-audio``,
        ``song-silent``, ``array-invalid``, ``setting-unknown``, ``setting-invalid``, ``model-missing``,
        ``output-exists``, ``disk-full``; `Cancelled`.
        """
        given = {"song": song, "vocals": vocals, "instrumental": instrumental, "backing_vocals": backing_vocals}
        chosen, path = _settings(settings, output)
        cast = self._cast(voice, engine, transposes)
        with self._running(progress, cancel) as (runner, context):
            files = {"song": None, **as_files(given, context)}
            writes = _writes(output, *given.values())
            job = CoverJob(voice=cast, settings=chosen, output=path, overwrite=overwrite, write=writes, **files)
            return make_cover(job, runner)

    def convert(
        self,
        vocals: Sound,
        *,
        voice: VoiceLike,
        engine: Literal["instant", "zero-shot", "rvc"] | None = None,
        settings: SettingsLike = None,
        transposes: Mapping[str, int | Literal["auto"]] | None = None,
        output: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        progress: Progress | None = None,
        cancel: Event | None = None,
    ) -> ConversionResult:
        """Sing a vocal without accompaniment with the voice; nothing is separated or mixed.

        `vocals`: a file, ``(samples, rate)`` or `Audio`. All else as in `cover`.
        """
        chosen, path = _settings(settings, output)
        cast = self._cast(voice, engine, transposes)
        with self._running(progress, cancel) as (runner, context):
            file = as_files({"vocals": vocals}, context)["vocals"]
            job = ConversionJob(file, cast, chosen, path, overwrite, _writes(output, vocals))
            return convert_vocals(job, runner)

    def separate(
        self,
        song: Sound,
        *,
        stems: int | str | Sequence[str] | None = None,
        mix: Mapping[str, float | None] | None = None,
        karaoke: bool = False,
        guide: float | None = GUIDE,
        midi: Sequence[str] = (),
        stem_file: str | None = None,
        settings: SettingsLike = None,
        output: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        progress: Progress | None = None,
        cancel: Event | None = None,
    ) -> SeparationResult:
        """Take a song apart: its stems, a mix with other levels, a karaoke version, notes.

        >>> us.separate("song.mp3").stems["vocals"].read()  # float32 [channels, frames]

        - `song`: a file, ``(samples, rate)`` or `Audio`.
        - `stems`: 2 (vocals, instrumental), 4 (vocals, drums, bass, other), 6 (guitar and piano, too), or names; None:
          2, or none where a mix, karaoke or notes are all that is requested.
        - `mix`: gains in dB by stem, -60 to +24, None for silence: a mix to make.
        - `karaoke`: whether to make a karaoke version, with the lead at `guide` dB (None: silent).
        - `midi`: stems whose notes are written as MIDI files.
        - `stem_file`: put all stems into one file for DJ software, ``stem.m4a`` or ``stem.m4a:alac``.
        - `output`: the folder to write to. None: ``stems/SONG`` when the song is a file. When it is an array, nothing
          is written but the cache, and the paths of the result are those of files in the cache.
        - `settings`, `overwrite`, `progress`, `cancel`: as in `cover`.

        Raises `UnderstudyError`: among others ``stems-invalid``, ``stem-unavailable`` for a stem that no model of these
        settings gives, ``mix-invalid``, ``model-missing``, and those of `cover` that concern the song; `Cancelled`.
        """
        chosen, _ = _settings(settings, None)
        request = SeparationRequest(
            None if stems is None else parse_stems(stems),
            None if stem_file is None else _container(stem_file),
            parse_levels(",".join(f"{stem}={_level(gain)}" for stem, gain in mix.items())) if mix else {},
            karaoke,
            parse_guide(_level(guide)),
            parse_stems(midi) if midi else (),
        )
        with self._running(progress, cancel) as (runner, context):
            file = as_files({"song": song}, context)["song"]
            folder = None if output is None else Path(output)
            return separate_song(SeparationJob(file, chosen, request, folder, overwrite, _writes(output, song)), runner)

    def evaluate(
        self,
        folder: str | os.PathLike[str],
        *,
        models: Sequence[str] = (),
        presets: Sequence[str] = (),
        settings: Mapping[str, object] | None = None,
        stems: Literal[2, 4] = 2,
        limit: int | None = None,
        at_once: int = 1,
        output: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
        cancel: Event | None = None,
    ) -> EvaluationResult:
        """Measure how well separators separate songs whose stems are known: SDR, SI-SDR, BSSEval v4, speed, memory.

        - `folder`: songs as in MUSDB18-HQ (``SONG/mixture.wav``, ``vocals.wav``, ...) or ``.stem.mp4`` files.
        - `models`: separators, or ensembles ``A+B``.
        - `presets`: whose separations to measure; each with each of the models, with its own where there are none.
        - `settings`: dotted names to values that hold for all.
        - `stems`: 2, or 4 for drums, bass and other, too. `limit`: only the first so many songs.
        - `at_once`: songs at a time. `output`: folder of the tables; None: ``evaluations/FOLDER``. What was measured
          into it before is not measured again.
        - `progress`, `cancel`: as in `cover`.

        Raises `UnderstudyError`: ``folder-not-found``, ``dataset-empty``, ``nothing-evaluated`` when every song failed,
        ``separator-unknown``, ``model-missing``; `Cancelled`.
        """
        chosen = candidates(models, presets, settings)
        target = None if output is None else Path(output)
        job = EvaluationJob(Path(folder), chosen, stems, target, limit, at_once)
        executor, notify = self._executor(), _Notifier(progress)
        with notify.raising():
            listener = notify.of_songs(len(job.dataset.songs) * len(chosen))
            return evaluate_separators(job, executor, listener, cancel or Event(), lambda: _prune(executor))

    def _cast(
        self, voice: VoiceLike, engine: str | None, transposes: Mapping[str, int | Literal["auto"]] | None
    ) -> Cast:
        if isinstance(voice, Voice | Cast):
            cast = as_cast(voice).sung_by(engine)
            return replace(cast, transposes=dict(transposes)) if transposes else cast
        parts = parse_voices([voice] if isinstance(voice, str) else voice)
        return parts.cast(lambda name: self.voices.get(name, engine), transposes)

    @contextmanager
    def _running(self, progress: Progress | None, cancel: Event | None) -> Iterator[tuple[Runner, Context]]:
        """What a job runs with, and a context for its inputs; afterwards the cache is brought under its limit."""
        executor, notify = self._executor(), _Notifier(progress)
        with scratch_context(cancel=cancel) as context, notify.raising():
            yield Runner(executor, notify, context.cancelled, notify.expect), context
        if notify.computed:
            _prune(executor)

    def _executor(self) -> LocalExecutor:
        """The one executor of this process for these folders and devices."""
        cache, device = self._cache or environment.cache_folder(), environment.choose_device(self._device)
        # by process: a forked one has none of its parent's threads
        key = (os.getpid(), cache.absolute(), device, self._workers)
        with _guard:
            if key not in _executors or not _executors[key].store.root.is_dir():
                _executors[key] = LocalExecutor(Store(cache), device, self._workers)
            return _executors[key]


_executors: dict[tuple[int, Path, str, int | None], LocalExecutor] = {}
_guard = Lock()


class _Notifier:
    """The listener of a run: calls the user's callback with each event. When the callback raises an exception, every
    stage that reports after it gets `Cancelled`, and `raising` raises the user's exception instead of that."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._lock = Lock()
        self._failure: BaseException | None = None
        self.computed = False  # anything that wasn't in the cache
        self._weights: dict[str, float] = {}
        self._done: dict[str, float] = {}
        self._total = 0.0

    def expect(self, graph: Graph) -> None:
        # networks take most of the time; how much longer than other stages is a guess that only progress depends on
        self._weights = {node.name: 10.0 if node.stage.uses_gpu else 1.0 for node in graph.nodes}

    def __call__(self, event: StageEvent) -> None:
        with self._lock:
            self.computed |= event.state == "finished"
            self._done[event.node] = max(self._done.get(event.node, 0.0), event.fraction)
            done = sum(weight * self._done.get(name, 0.0) for name, weight in self._weights.items())
            self._report(event, done / max(1.0, sum(self._weights.values())))

    def of_songs(self, count: int) -> Callable[[str, Song, StageEvent | Row], None]:
        """The listener of an evaluation of `count` pairs of song and separator."""
        done = 0

        def listen(name: str, song: Song, event: StageEvent | Row) -> None:
            nonlocal done
            item = f"{song.name} ({name})"
            with self._lock:
                if isinstance(event, StageEvent):
                    self._report(event, done / count, item)
                else:
                    done += 1
                    self._report(StageEvent("score", "finished", 1.0, 0.0, event.device), done / count, item)

        return listen

    def _report(self, event: StageEvent, total: float, item: str = "") -> None:
        if self._progress is None:
            return
        if self._failure is not None:
            raise Cancelled
        self._total = max(self._total, min(1.0, total))
        try:
            self._progress(
                ProgressEvent(event.node, event.state, event.fraction, self._total, event.seconds, event.device, item)
            )
        except BaseException as error:
            self._failure = error
            raise Cancelled from error

    @contextmanager
    def raising(self) -> Iterator[None]:
        try:
            yield
        except Cancelled:
            if self._failure is not None:
                raise self._failure from None
            raise


def _settings(settings: SettingsLike, output: str | os.PathLike[str] | None) -> tuple[Settings, Path | None]:
    """The settings, with the format that the extension of `output` names, and `output` as a path."""
    if isinstance(settings, Settings):
        chosen = settings
    elif isinstance(settings, str):
        chosen = load_settings(settings)
    else:
        chosen = load_settings(None, settings)
    if output is None:
        return chosen, None
    path = Path(output)
    if path.suffix.lower() != chosen.output.encoding.extension:
        parse_format(path.suffix)
        output_settings = chosen.output.model_copy(update={"format": path.suffix.lower().removeprefix(".")})
        chosen = chosen.model_copy(update={"output": output_settings})
    return chosen, path


def _writes(output: str | os.PathLike[str] | None, *sounds: Sound | None) -> bool:
    """Whether files are put into place: to an output that is named, or beside where files came from."""
    return output is not None or all(sound is None or is_file(sound) for sound in sounds)


def _level(gain: float | None) -> str:
    return "off" if gain is None else str(gain)


def _container(name: str) -> Container:
    found = container_named(name)
    if found is None:
        raise UnderstudyError(
            "unknown-format", f"There is no stem file {name!r}.", "Choose stem.m4a, stem.mp4 or stem.m4a:alac."
        )
    return found


def _prune(executor: LocalExecutor) -> None:
    executor.store.prune(environment.cache_limit(), spare=_SPARED)


_default = Session()
cover = _default.cover
convert = _default.convert
separate = _default.separate
evaluate = _default.evaluate
