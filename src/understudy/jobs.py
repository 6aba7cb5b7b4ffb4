"""The jobs: a cover, a conversion, a separation. Each checks what can be checked before the work starts, runs its
graph and puts the files in place.

The Python API (`understudy.session`), the command line, the batch and the workers of the queue all call these.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from threading import Event
from typing import Any

from understudy.audio.encode import encode, parse_format
from understudy.audio.pitch import PitchTrack
from understudy.audio.stored import AudioFile
from understudy.audio.tags import Tags
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.cast import Cast, as_cast
from understudy.pipeline.cover import conversion_graph, cover_graph
from understudy.pipeline.executor import Executor, Listener, Result
from understudy.pipeline.graph import Graph
from understudy.pipeline.publish import check_replaceable, check_writable, free_name, publish
from understudy.pipeline.separation.advice import remarks
from understudy.pipeline.separation.quality import Quality
from understudy.pipeline.separation_graph import separation_graph
from understudy.pipeline.settings import CoverSettings
from understudy.pipeline.wanted import Wanted
from understudy.results import (
    ConversionResult,
    CoverResult,
    Loudness,
    SeparationResult,
    StageResult,
    StageWarning,
    Verdict,
    VoicePart,
    warnings_of,
)
from understudy.sounds import AudioRef
from understudy.voices.voice import Voice


@dataclass(frozen=True)
class Runner:
    """What a job runs with: an executor, who listens to its progress, and the event that stops it."""

    executor: Executor
    listener: Listener
    cancelled: Event

    def run(self, graph: Graph, targets: Sequence[str]) -> Result:
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
    def graph(self) -> Graph:
        """Made once: it holds the hashes of the user's files as they were then."""
        return cover_graph(self.song, self.voice, self.settings, self.vocals, self.instrumental, self.backing_vocals)

    @property
    def stems(self) -> tuple[str, ...]:
        """The stems that are written beside the cover."""
        encoded = (node.name.partition("encode ")[2] for node in self.graph.nodes)
        return tuple(name for name in encoded if name)

    @property
    def path(self) -> Path:
        """Where the cover is to go."""
        named = self.song or self.vocals
        if named is None or (self.song is None and self.instrumental is None):
            raise UnderstudyError(
                "song-missing", "There is no song to cover.", "Give a song, or both --vocals and --instrumental."
            )
        return self.output or Path("covers") / f"{named.stem} ({self.cast.name}){_suffix(self.settings)}"


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
    chosen = _transposing(job.graph)
    chain = _chain(job.graph)
    targets = ["encode", "remix", chosen, "report", "quality", *chain, *(f"encode {stem}" for stem in job.stems)]
    result = runner.run(job.graph, [*targets, *(["stems"] if job.stems else [])])
    values = result.values
    made = {"report": values["report"]["html"], "figures": values["report"]["json"]}
    made |= {stem: values[f"encode {stem}"] for stem in job.stems} | {"cover": values["encode"]}
    if job.write:
        if not job.output:
            path = free_name(path, values["encode"], partial(_beside, job))
        # the cover last: where it is, everything is
        places = zip(made, (*_beside(job, path), path), strict=True)
        made = {name: publish(made[name], place) for name, place in places}
    cover = values["remix"]["cover"]
    semitones, reason, parts = _transposed(values[chosen])
    report = values["report"]
    return CoverResult(
        path=made["cover"],
        report_path=made["report"],
        audio=AudioRef(made["cover"], cover),
        stems={stem: AudioRef(made[stem], values["stems"][stem]) for stem in job.stems},
        duration=cover.duration,
        sample_rate=cover.rate,
        transpose=semitones,
        transpose_reason=reason,
        voices=parts,
        key=job.settings.key,
        chain=tuple(values["chain"]) if chain else (),
        loudness=_loudness(values["remix"]["loudness"]),
        verdict=Verdict(report["verdict"], report["blame"], report["reason"]),
        quality=Quality.of_value(values["quality"]),
        stages=result.stages,
        warnings=warnings_of(result.stages),
    )


def _beside(job: CoverJob, cover: Path) -> list[Path]:
    """What is written beside a cover at that path: report, its figures, and the stems if they are kept."""
    paths = [cover.with_name(f"{cover.stem}.report{suffix}") for suffix in (".html", ".json")]
    if job.settings.output.keep_stems:
        folder = cover.with_name(f"{cover.stem} stems")
        paths += [folder / f"{stem}{job.settings.output.lossless.extension}" for stem in job.stems]
    return paths


def cover_until(job: CoverJob, node: str, runner: Runner) -> StageResult:
    """Go no further than the stage `node`, and write what it made: sounds as 32-bit float wav, a pitch as CSV (seconds,
    Hz), into ``covers/SONG (VOICE) NODE/`` or the folder `job.output`.

    Raises `UnderstudyError` ``stage-unknown``, and what `make_cover` raises.
    """
    graph = job.graph
    names = [made.name for made in graph.nodes]
    if node not in names:
        raise UnderstudyError("stage-unknown", f"There is no stage {node!r} here.", f"Stages: {', '.join(names)}.")
    folder = job.output or job.path.with_name(f"{job.path.stem} {node}")
    check_writable(folder)
    result = runner.run(graph, [node])
    made = result.values[node]
    parts = made if isinstance(made, Mapping) else {node: made}
    with tempfile.TemporaryDirectory(prefix="understudy-") as scratch:
        context = Context(Path(scratch), cancelled=runner.cancelled)
        written = {name: _written(context, part, name, folder, job.overwrite) for name, part in parts.items()}
    return StageResult(node, written, result.stages, warnings_of(result.stages))


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
    path = folder / file.name
    check_replaceable(path, overwrite)
    return publish(file, path)


@dataclass(frozen=True)
class SeparationJob:
    """`folder`: where to, or None for ``stems/SONG``. `write`: False leaves all files in the cache."""

    song: Path
    settings: CoverSettings
    wanted: Wanted = field(default_factory=Wanted)
    folder: Path | None = None
    overwrite: bool = False
    write: bool = True


def separate_song(job: SeparationJob, runner: Runner) -> SeparationResult:
    """Take the song apart into what is wanted.

    Raises `UnderstudyError`: what `separation_graph` and the stages raise, ``output-exists`` for files that Understudy
    did not make, ``output-not-writable``, ``disk-full``; `Cancelled`.
    """
    target = job.folder or Path("stems") / job.song.stem
    separation = separation_graph(job.song, job.settings, job.wanted)
    suffix, wanted, stems = _suffix(job.settings), job.wanted, separation.stems
    packed = bool(wanted.container and stems)
    single = [name for name, there in (("mix", wanted.levels), ("karaoke", wanted.karaoke)) if there]
    files = {} if packed else {f"encode {stem}": f"{stem}{suffix}" for stem in stems}
    if wanted.container and packed:
        files["encode stem file"] = f"{job.song.stem}{wanted.container.extension}"
    files |= {f"encode {name}": f"{name}{suffix}" for name in single}
    files |= {f"notes {stem}": f"{stem}.mid" for stem in wanted.midi}
    if job.write:
        check_writable(target)
        for name in files.values():
            check_replaceable(target / name, job.overwrite)
    chain = _chain(separation.graph)
    sources = dict.fromkeys(source.partition(".")[0] for source in stems.values())
    result = runner.run(separation.graph, list(dict.fromkeys([*files, *single, *sources, *chain, "quality"])))
    values = result.values
    made: dict[str, Path] = {node: values[node] for node in files}
    if job.write:
        made = {node: publish(made[node], target / name) for node, name in files.items()}
    quality = Quality.of_value(values["quality"])
    balanced = {name: AudioRef(made[f"encode {name}"], values[name]["sound"]) for name in single}
    return SeparationResult(
        stems={
            stem: AudioRef(made["encode stem file" if packed else f"encode {stem}"], _part(values, source))
            for stem, source in stems.items()
        },
        stem_file=made.get("encode stem file"),
        mix=balanced.get("mix"),
        karaoke=balanced.get("karaoke"),
        midi={stem: made[f"notes {stem}"] for stem in wanted.midi},
        sum_to_song=separation.sums if stems else None,
        loudness={name: values[name]["loudness"] for name in single},
        chain=tuple(values["chain"]) if chain else (),
        quality=quality,
        remarks=remarks(quality, job.settings.separation),
        stages=result.stages,
        warnings=(*(StageWarning("separate", note) for note in separation.notes), *warnings_of(result.stages)),
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
    path = job.output or Path("covers") / f"{job.vocals.stem} ({cast.name}){_suffix(job.settings)}"
    if job.write:
        check_writable(path.parent)
    if job.write and job.output:
        check_replaceable(path, job.overwrite)
    graph = conversion_graph(job.vocals, cast, job.settings)
    chosen = _transposing(graph)
    result = runner.run(graph, ["encode", "remix", chosen])
    made: Path = result.values["encode"]
    if job.write:
        made = publish(made, path if job.output else free_name(path, made))
    vocal = result.values["remix"]["cover"]
    semitones, reason, parts = _transposed(result.values[chosen])
    return ConversionResult(
        path=made,
        audio=AudioRef(made, vocal),
        duration=vocal.duration,
        sample_rate=vocal.rate,
        transpose=semitones,
        transpose_reason=reason,
        voices=parts,
        stages=result.stages,
        warnings=warnings_of(result.stages),
    )


def _transposing(graph: Graph) -> str:
    """The node that says how the pitch moves: of several voices, the one that lists them."""
    return "roll" if any(node.name == "roll" for node in graph.nodes) else "transpose"


def _chain(graph: Graph) -> list[str]:
    """The node that lists what the steps of the separation did, if it has any."""
    return [node.name for node in graph.nodes if node.name == "chain"]


def _part(values: Mapping[str, Any], source: str) -> Any:
    node, _, part = source.partition(".")
    return values[node][part] if part else values[node]


def _transposed(value: Any) -> tuple[int, str, tuple[VoicePart, ...]]:
    """By how many semitones the vocal moves and why; where several voices sing, what each does."""
    if not isinstance(value, Mapping):
        return value.semitones, value.reason, ()
    parts = (
        VoicePart(one["voice"], one["part"], one["transpose"], one["reason"], tuple(map(tuple, one.get("turns", ()))))
        for one in value["singers"]
    )
    return value["transposition"].semitones, value["transposition"].reason, tuple(parts)


def _suffix(settings: CoverSettings) -> str:
    return settings.output.encoding.extension


def _loudness(measured: Mapping[str, Any]) -> Loudness:
    return Loudness(measured["song"]["integrated"], measured["cover"]["integrated"], measured["true_peak"], measured)
