"""The jobs: a cover, a conversion, a separation. Each checks what can be checked before the work starts, runs its
graph and puts the files in place.

The Python API (`understudy.session`), the command line, the batch and the workers of the queue all call these.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from threading import Event
from typing import Any

from understudy.audio.encode import encode, parse_format
from understudy.audio.pitch import PitchTrack
from understudy.audio.stored import AudioFile
from understudy.audio.tags import Tags
from understudy.context import Context, scratch_context
from understudy.errors import UnderstudyError
from understudy.pipeline.cast import Cast, as_cast
from understudy.pipeline.conversion_graph import ConversionGraph, conversion_graph
from understudy.pipeline.cover_graph import CoverGraph, cover_graph, sung_file
from understudy.pipeline.executor import Executor, Listener, Result
from understudy.pipeline.graph import Graph, Node
from understudy.pipeline.naming import cover_name
from understudy.pipeline.nodes import HEADROOM
from understudy.pipeline.provenance.manifest import SIDECAR_SUFFIX
from understudy.pipeline.publish import (
    beside,
    check_replaceable,
    check_writable,
    free_name,
    publish,
    shortened,
)
from understudy.pipeline.report.figures import LEFTOVER_ERROR
from understudy.pipeline.separation.advice import remarks
from understudy.pipeline.separation_graph import separation_graph
from understudy.pipeline.separation_request import SeparationRequest
from understudy.pipeline.settings import CoverSettings
from understudy.pipeline.stages.encode import decibels
from understudy.results import (
    ConversionResult,
    CoverResult,
    Loudness,
    ReportFigure,
    SeparationResult,
    StageResult,
    StageWarning,
    Verdict,
    warnings_of,
)
from understudy.sounds import AudioRef
from understudy.voices.transpose import Transposition
from understudy.voices.voice import Voice


@dataclass(frozen=True)
class Runner:
    """What a job runs with: an executor, who listens to its progress, and the event that stops it. `planned` gets the
    stages before they run."""

    executor: Executor
    listener: Listener
    cancelled: Event
    planned: Callable[[Graph], None] | None = None

    def run(self, graph: Graph, targets: Sequence[Node[Any]]) -> Result:
        if self.planned:
            self.planned(graph.upstream(targets))
        return self.executor.run(graph, targets, self.listener, self.cancelled)


@dataclass(frozen=True)
class CoverJob:
    """`song` may be missing only when both own stems are given. `voice`: who sings, one voice or a cast of several.
    `backing_vocals`: an own stem; `vocals` is then the lead alone. `output`: a file, or None for ``covers/``. `write`:
    False leaves all files in the cache, and the result names those."""

    song: Path | None
    voice: Voice | Cast
    settings: CoverSettings
    vocals: Path | None = None
    instrumental: Path | None = None
    output: Path | None = None
    overwrite: bool = False
    backing_vocals: Path | None = None
    write: bool = True

    @property
    def cast(self) -> Cast:
        return as_cast(self.voice)

    @cached_property
    def graph(self) -> CoverGraph:
        """Made once: it holds the hashes of the user's files as they were then."""
        return cover_graph(self.song, self.voice, self.settings, self.vocals, self.instrumental, self.backing_vocals)

    @property
    def path(self) -> Path:
        """Where the cover is to go."""
        named = self.song or self.vocals
        if named is None or (self.song is None and self.instrumental is None):
            raise UnderstudyError(
                "song-missing", "There is no song to cover.", "Give a song, or both --vocals and --instrumental."
            )
        if self.output:
            return self.output
        own = ["own stems"] if self.song and (self.vocals or self.instrumental or self.backing_vocals) else []
        return Path("covers") / _named(self.settings, named, self.cast, own)


def make_cover(job: CoverJob, runner: Runner) -> CoverResult:
    """Make the cover, its report, and its stems if they are to be kept.

    Raises `UnderstudyError`: what the stages raise, ``output-exists`` for a file at `job.output` that Understudy did
    not make, ``output-not-writable``, ``disk-full``; `Cancelled`.
    """
    path = job.path
    if job.write:
        check_writable(path.parent)
    if job.write and job.output:
        for place in (path, *_beside(job, path)):
            check_replaceable(place, job.overwrite)
    graph = job.graph
    targets = [graph.cover, graph.mix, *_transposing(graph), graph.report, graph.quality, graph.tempo]
    targets += [*_optional(graph.sidecar), *_optional(graph.video), *_headroom(graph.graph)]
    stem_nodes = [*graph.stems.values(), *(sound.node for sound in graph.sounds.values())]
    result = runner.run(graph.graph, list(dict.fromkeys([*targets, *_optional(graph.chain), *stem_nodes])))
    mix, report = result[graph.mix], result[graph.report]
    written = json.loads(report.json.read_text("utf-8"))
    loudness = mix.loudness
    made = {"report": report.html, "figures": report.json}
    made |= {"credentials": result[graph.sidecar]} if graph.sidecar else {}
    made |= {stem: result[node] for stem, node in graph.stems.items()}
    made |= ({"video": result[graph.video]} if graph.video else {}) | {"cover": result[graph.cover]}
    if job.write:
        if not job.output:
            path = free_name(
                path, made["cover"], lambda cover: dict(zip(_beside(job, cover), made.values(), strict=False))
            )
        # the cover last: where it is, everything is
        places = zip(made, (*_beside(job, path), path), strict=True)
        made = {name: publish(made[name], place) for name, place in places}
    return CoverResult(
        path=made["cover"],
        report_path=made["report"],
        audio=AudioRef(made["cover"], mix.cover),
        video_path=made.get("video"),
        credentials_path=made.get("credentials"),
        stems={stem: AudioRef(made[stem], result[sound]) for stem, sound in graph.sounds.items()},
        duration=mix.cover.duration,
        sample_rate=mix.cover.rate,
        transpose=result[graph.transposition].semitones,
        transpose_reason=result[graph.transposition].reason,
        voices=result[graph.cast].singers if graph.cast else (),
        key=job.settings.key,
        chain=result[graph.chain] if graph.chain else (),
        stem_gain=_stem_gain(graph.graph, result),
        loudness=Loudness(loudness.song.integrated, loudness.cover.integrated, loudness.true_peak, loudness),
        verdict=Verdict(report.verdict, report.blame, report.reason, report.grade, report.weaknesses),
        vocal_level=report.vocal_level,
        leftover=report.leftover,
        leftover_error=None if report.leftover is None else LEFTOVER_ERROR,
        brightness=report.brightness,
        similarity=written["voice_likeness"]["to_voice"],
        figures={
            one["name"]: ReportFigure(one["value"], one["unit"], one["verdict"], one["stage"])
            for one in written["figures"]
        },
        quality=result[graph.quality],
        bpm=result[graph.tempo].bpm,
        song_key=result[graph.tempo].key,
        stages=result.stages,
        warnings=warnings_of(result.stages),
    )


def _beside(job: CoverJob, cover: Path) -> list[Path]:
    """What is written beside a cover at that path: report, its figures, its credentials where it can't hold them, the
    stems if they are kept, and the video."""
    # with the cover's extension: another format may be another version, with a report of its own
    paths = [beside(cover, f"{cover.suffix}.report{suffix}") for suffix in (".html", ".json")]
    if job.graph.sidecar:
        paths.append(beside(cover, SIDECAR_SUFFIX))
    if job.settings.output.keep_stems:
        folder = beside(cover, f"{cover.suffix} stems")
        paths += [folder / f"{stem}{job.settings.output.lossless.extension}" for stem in job.graph.stems]
    if job.graph.video:
        paths.append(beside(cover, f" {job.settings.output.video}.mp4"))
    return paths


def cover_until(job: CoverJob, node: str, runner: Runner) -> StageResult:
    """Go no further than the stage `node`, and write what it made: sounds as 32-bit float wav, a pitch as CSV (seconds,
    Hz), into ``covers/SONG (VOICE) NODE/`` or the folder `job.output`. Sounds in which a voice sings are marked as a
    cover is.

    Raises `UnderstudyError` ``stage-unknown``, and what `make_cover` raises.
    """
    graph = job.graph.graph
    target = graph.named(node)
    if target is None:
        names = ", ".join(made.name for made in graph.nodes)
        raise UnderstudyError("stage-unknown", f"There is no stage {node!r} here.", f"Stages: {names}.")
    folder = job.output or beside(job.path, f" {node}")
    check_writable(folder)
    result = runner.run(graph, [target])
    parts = _parts(result[target], node)
    sung = _sung(job, target, parts)
    marked = {node: runner.run(Graph.of(node), [node])[node] for node in sung.values()}
    with scratch_context(cancel=runner.cancelled) as context:
        written = {
            name: _placed(marked[sung[name]], folder / f"{name}.wav", job.overwrite)
            if name in sung
            else _written(context, part, name, folder, job.overwrite)
            for name, part in parts.items()
        }
    return StageResult(node, written, result.stages, warnings_of(result.stages))


def _parts(made: Any, name: str) -> Mapping[str, Any]:
    """What a stage made, by name: fields of a dataclass, entries of a mapping, or the whole as `name`."""
    if isinstance(made, Mapping):
        return made
    if is_dataclass(made) and not isinstance(made, AudioFile | PitchTrack | Transposition):
        return {field.name: getattr(made, field.name) for field in fields(made)}
    return {name: made}


def _sung(job: CoverJob, target: Node[Any], parts: Mapping[str, Any]) -> dict[str, Node[Path]]:
    """The sounds among what a stage made in which a voice sings, as marked files, by name."""
    found = {}
    for name, part in parts.items():
        if isinstance(part, AudioFile):
            handle = target if list(parts) == [target.name] else target[name]
            file = sung_file(job.graph, handle, name, job.settings.tags)
            if file is not None:
                found[name] = file
    return found


def _written(context: Context, part: Any, name: str, folder: Path, overwrite: bool) -> Any:
    """A stage's value as the user can open it: the path of a file, or the value itself where it is plain."""
    match part:
        case AudioFile():
            file = encode(context, part, context.folder / f"{name}.wav", parse_format("wav32f"), Tags())
        case PitchTrack():
            file = context.folder / f"{name}.csv"
            rows = (f"{time:.3f},{hertz:.2f}\n" for time, hertz in zip(part.times, part.f0, strict=True))
            file.write_text("seconds,hertz\n" + "".join(rows), "utf-8")
        case Path():
            file = part
        case _:
            return part
    return _placed(file, folder / file.name, overwrite)


def _placed(file: Path, path: Path, overwrite: bool) -> Path:
    check_replaceable(path, overwrite)
    return publish(file, path)


@dataclass(frozen=True)
class SeparationJob:
    """`folder`: where to, or None for ``stems/SONG``. `write`: False leaves all files in the cache."""

    song: Path
    settings: CoverSettings
    request: SeparationRequest = field(default_factory=SeparationRequest)
    folder: Path | None = None
    overwrite: bool = False
    write: bool = True


def separate_song(job: SeparationJob, runner: Runner) -> SeparationResult:
    """Take the song apart into what the request says.

    Raises `UnderstudyError`: what `separation_graph` and the stages raise, ``output-exists`` for files that Understudy
    did not make, ``output-not-writable``, ``disk-full``; `Cancelled`.
    """
    target = job.folder or Path("stems") / shortened(job.song.stem)
    graph = separation_graph(job.song, job.settings, job.request)
    suffix = _suffix(job.settings)
    files = {node: f"{stem}{suffix}" for stem, node in graph.stems.items()}
    if graph.stem_file and job.request.container:
        files[graph.stem_file] = beside(job.song, job.request.container.extension).name
    files |= {mix.file: f"{name}{suffix}" for name, mix in graph.mixes.items()}
    files |= {node: f"{stem}.mid" for stem, node in graph.notes.items()}
    if job.write:
        check_writable(target)
        for name in files.values():
            check_replaceable(target / name, job.overwrite)
    mixes = {name: mix.mix for name, mix in graph.mixes.items()}
    sources = [sound.node for sound in graph.sounds.values()]
    targets = [*files, *mixes.values(), *sources, *_optional(graph.chain), graph.quality, graph.tempo]
    targets += _headroom(graph.graph)
    result = runner.run(graph.graph, list(dict.fromkeys(targets)))
    made = {node: result[node] for node in files}
    if job.write:
        made = {node: publish(made[node], target / name) for node, name in files.items()}
    quality = result[graph.quality]
    balanced = {name: AudioRef(made[mix.file], result[mix.mix].sound) for name, mix in graph.mixes.items()}
    return SeparationResult(
        stems={
            stem: AudioRef(made[graph.stem_file or graph.stems[stem]], result[sound])
            for stem, sound in graph.sounds.items()
        },
        stem_file=made[graph.stem_file] if graph.stem_file else None,
        mix=balanced.get("mix"),
        karaoke=balanced.get("karaoke"),
        midi={stem: made[node] for stem, node in graph.notes.items()},
        sum_to_song=graph.sums if graph.sounds else None,
        stem_gain=_stem_gain(graph.graph, result),
        loudness={name: result[mix].loudness for name, mix in mixes.items()},
        chain=result[graph.chain] if graph.chain else (),
        quality=quality,
        bpm=result[graph.tempo].bpm,
        song_key=result[graph.tempo].key,
        remarks=remarks(quality, job.settings.separation),
        stages=result.stages,
        warnings=(*(StageWarning("separate", sentence) for sentence in graph.decisions), *warnings_of(result.stages)),
    )


@dataclass(frozen=True)
class ConversionJob:
    """`vocals`: a vocal without accompaniment. `voice`: who sings it, one voice or a cast in turns. `output`: a file,
    or None for ``covers/``. `write`: False leaves the file in the cache."""

    vocals: Path
    voice: Voice | Cast
    settings: CoverSettings
    output: Path | None = None
    overwrite: bool = False
    write: bool = True


def convert_vocals(job: ConversionJob, runner: Runner) -> ConversionResult:
    """Make the vocal sung by the voice, or by a cast in turns.

    Raises `UnderstudyError`: what the stages raise, ``cast-invalid`` for a voice for backing vocals, ``output-exists``,
    ``output-not-writable``, ``disk-full``; `Cancelled`.
    """
    cast = as_cast(job.voice)
    if cast.backing:
        raise UnderstudyError(
            "cast-invalid",
            "A single vocal has no backing vocals.",
            "Convert them by themselves, or make a cover with --vocals LEAD --backing-vocals BACKING.",
        )
    path = job.output or Path("covers") / _named(job.settings, job.vocals, cast)
    if job.write:
        check_writable(path.parent)
    graph = conversion_graph(job.vocals, cast, job.settings)
    sidecar = graph.sidecar
    if job.write and job.output:
        for place in (path, *([beside(path, SIDECAR_SUFFIX)] if sidecar else [])):
            check_replaceable(place, job.overwrite)
    result = runner.run(graph.graph, [graph.output, *_optional(sidecar), graph.mix, *_transposing(graph)])
    made, credentials = result[graph.output], result[sidecar] if sidecar else None
    if job.write:

        def companions(output: Path) -> dict[Path, Path]:
            return {beside(output, SIDECAR_SUFFIX): credentials} if credentials else {}

        path = path if job.output else free_name(path, made, companions)
        for place, content in companions(path).items():
            credentials = publish(content, place)
        made = publish(made, path)
    vocal = result[graph.mix].cover
    return ConversionResult(
        path=made,
        audio=AudioRef(made, vocal),
        duration=vocal.duration,
        sample_rate=vocal.rate,
        transpose=result[graph.transposition].semitones,
        transpose_reason=result[graph.transposition].reason,
        voices=result[graph.cast].singers if graph.cast else (),
        stages=result.stages,
        warnings=warnings_of(result.stages),
        credentials_path=credentials,
    )


def _named(settings: CoverSettings, song: Path, cast: Cast, words: Sequence[str] = ()) -> str:
    """The name of the file of a cover or a conversion."""
    engines = [
        voice.manifest.engine
        for voice in cast.voices
        if voice.manifest.engine == "zero-shot" or {"instant", "rvc"} <= {*voice.engines}
    ]
    transposes = [f"{name} {value}" for name, value in cast.transposes.items()]
    return cover_name(settings, song, cast.name, [*engines, *transposes, *words]) + _suffix(settings)


def _transposing(graph: CoverGraph | ConversionGraph) -> list[Node[Any]]:
    """The nodes that say how the pitch moves, and of several voices what each sings."""
    return [graph.cast or graph.transposition.node]


def _headroom(graph: Graph) -> list[Node[Any]]:
    """The node that finds the gain of all stems' files, where there are any."""
    return [node for node in graph.nodes if node.stage is HEADROOM]


def _stem_gain(graph: Graph, result: Result) -> float | None:
    gains = [result[node] for node in _headroom(graph)]
    return round(decibels(gains[0]), 3) if gains else None


def _optional(node: Node[Any] | None) -> list[Node[Any]]:
    return [node] if node else []


def _suffix(settings: CoverSettings) -> str:
    return settings.output.encoding.extension
