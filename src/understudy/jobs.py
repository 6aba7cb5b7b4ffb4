"""The three jobs from the user's files to the user's files: cover, separation, conversion.

Each checks what can be checked before the work starts, runs its graph, and puts the results in place. The command
line and later services call these; what they return is what ``--json`` prints.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
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
from understudy.voices.voice import Voice


@dataclass(frozen=True)
class Runner:
    """What a job runs with: an executor, who listens to its progress, and the switch that stops it."""

    executor: Executor
    listener: Listener
    cancelled: Event

    def run(self, graph: Graph, targets: Sequence[str]) -> Result:
        return self.executor.run(graph, targets, self.listener, self.cancelled)


@dataclass(frozen=True)
class CoverJob:
    """`song` may be missing only when both own stems are given. `voice`: who sings, one voice or a cast of several.
    `output`: a file, or None for ``covers/``. `backing_vocals`: an own stem; `vocals` is then the lead alone."""

    song: Path | None
    voice: Voice | Cast
    settings: CoverSettings
    vocals: Path | None = None
    instrumental: Path | None = None
    output: Path | None = None
    overwrite: bool = False
    backing_vocals: Path | None = None

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


def make_cover(job: CoverJob, runner: Runner) -> dict[str, Any]:
    """Make the cover, its report, and its stems if kept; returns paths and figures."""
    path = job.path
    check_writable(path.parent)
    if job.output:
        for place in (path, *_beside(job, path)):
            check_replaceable(place, job.overwrite)
    chosen = transposing(job.graph)
    chain = _chain(job.graph)
    targets = ["encode", "remix", chosen, "report", *chain, *(f"encode {stem}" for stem in job.stems)]
    result = runner.run(job.graph, targets)
    values = result.values
    if not job.output:
        path = free_name(path, values["encode"], partial(_beside, job))
    report, figures, *stem_paths = _beside(job, path)
    stems = {stem: publish(values[f"encode {stem}"], place) for stem, place in zip(job.stems, stem_paths, strict=True)}
    publish(values["report"]["html"], report)
    publish(values["report"]["json"], figures)
    publish(values["encode"], path)  # last: where the cover is, everything is
    cover = values["remix"]["cover"]
    return {
        "cover": str(path),
        "report": str(report),
        "stems": {name: str(stem) for name, stem in stems.items()},
        "duration": cover.duration,
        "sample_rate": cover.rate,
        **_transposed(values[chosen]),
        "key": job.settings.key,
        **({"chain": [dict(step) for step in values["chain"]]} if chain else {}),
        "loudness": _loudness(values["remix"]["loudness"]),
        "verdict": {name: values["report"][name] for name in ("verdict", "blame", "reason")},
        **_stages(result),
    }


def _beside(job: CoverJob, cover: Path) -> list[Path]:
    """What is written beside a cover at that path: report, its figures, and the stems if they are kept."""
    paths = [cover.with_name(f"{cover.stem}.report{suffix}") for suffix in (".html", ".json")]
    if job.settings.output.keep_stems:
        folder = cover.with_name(f"{cover.stem} stems")
        paths += [folder / f"{stem}{job.settings.output.lossless.extension}" for stem in job.stems]
    return paths


def cover_until(job: CoverJob, node: str, runner: Runner) -> dict[str, Any]:
    """Go no further than the stage `node`, and write what it made: sounds as 32-bit float wav, a pitch as CSV (seconds,
    Hz), into ``covers/SONG (VOICE) NODE/`` or the folder `job.output`; returns the paths by name and plain values."""
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
    return {"until": node, "made": written, **_stages(result)}


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
            return asdict(part) if is_dataclass(part) and not isinstance(part, type) else part
    path = folder / file.name
    check_replaceable(path, overwrite)
    return str(publish(file, path))


@dataclass(frozen=True)
class SeparationJob:
    """`folder`: where to, or None for ``stems/SONG``."""

    song: Path
    settings: CoverSettings
    wanted: Wanted = field(default_factory=Wanted)
    folder: Path | None = None
    overwrite: bool = False


def separate_song(job: SeparationJob, runner: Runner) -> dict[str, Any]:
    """Write what is wanted of the song; returns the paths, and whether the stems sum to the song."""
    target = job.folder or Path("stems") / job.song.stem
    separation = separation_graph(job.song, job.settings, job.wanted)
    check_writable(target)
    suffix, wanted = _suffix(job.settings), job.wanted
    stems = {stem: target / f"{stem}{suffix}" for stem in separation.stems if not wanted.container}
    nodes = {f"encode {stem}": path for stem, path in stems.items()}
    single = {}
    if wanted.container and separation.stems:
        single["stem_file"] = nodes["encode stem file"] = target / f"{job.song.stem}{wanted.container.extension}"
    if wanted.levels:
        single["mix"] = nodes["encode mix"] = target / f"mix{suffix}"
    if wanted.karaoke:
        single["karaoke"] = nodes["encode karaoke"] = target / f"karaoke{suffix}"
    notes = {stem: target / f"{stem}.mid" for stem in wanted.midi}
    nodes |= {f"notes {stem}": path for stem, path in notes.items()}
    for path in nodes.values():
        check_replaceable(path, job.overwrite)
    rebalanced = [name for name in ("mix", "karaoke") if name in single]
    chain = _chain(separation.graph)
    result = runner.run(separation.graph, [*nodes, *rebalanced, *chain, "quality"])
    for node, path in nodes.items():
        publish(result.values[node], path)
    done = _stages(result)
    said = [{"stage": "separate", "warning": note} for note in separation.notes]
    return {
        "stems": {name: str(path) for name, path in stems.items()},
        **{name: str(path) for name, path in single.items()},
        **({"midi": {name: str(path) for name, path in notes.items()}} if notes else {}),
        **({"sum_to_song": separation.sums} if separation.stems else {}),
        **({"loudness": {name: result.values[name]["loudness"] for name in rebalanced}} if rebalanced else {}),
        **({"chain": [dict(step) for step in result.values["chain"]]} if chain else {}),
        "quality": _quality(result.values["quality"], job.settings),
        **done,
        "warnings": [*said, *done["warnings"]],
    }


def _quality(value: Mapping[str, Any], settings: CoverSettings) -> dict[str, Any]:
    """The estimate of a separation's quality, with what is to be said of it: ``remarks``."""
    said = remarks(Quality.of_value(value), settings.separation)
    return {**value, "remarks": [asdict(remark) for remark in said]}


def convert_vocals(
    vocals: Path, voice: Voice | Cast, settings: CoverSettings, output: Path | None, overwrite: bool, runner: Runner
) -> dict[str, Any]:
    """Write the vocals sung by the voice, or by a cast in turns; returns the path and the transpose."""
    cast = as_cast(voice)
    if cast.backing:
        raise UnderstudyError(
            "cast-invalid",
            "A single vocal has no backing vocals.",
            "Convert them by themselves, or make a cover with --vocals LEAD --backing-vocals BACKING.",
        )
    path = output or Path("covers") / f"{vocals.stem} ({cast.name}){_suffix(settings)}"
    check_writable(path.parent)
    if output:
        check_replaceable(path, overwrite)
    graph = conversion_graph(vocals, cast, settings)
    chosen = transposing(graph)
    result = runner.run(graph, ["encode", chosen])
    if not output:
        path = free_name(path, result.values["encode"])
    publish(result.values["encode"], path)
    return {"output": str(path), **_transposed(result.values[chosen]), **_stages(result)}


def transposing(graph: Graph) -> str:
    """The node that says how the pitch moves: of several voices, the one that lists them."""
    return "roll" if any(node.name == "roll" for node in graph.nodes) else "transpose"


def _chain(graph: Graph) -> list[str]:
    """The node that lists what the steps of the separation did, if it has any."""
    return [node.name for node in graph.nodes if node.name == "chain"]


def _transposed(value: Any) -> dict[str, Any]:
    """By how many semitones the vocal moves and why; where several voices sing, ``voices`` says it of each."""
    if isinstance(value, Mapping):
        return {**_transposed(value["transposition"]), "voices": [dict(one) for one in value["singers"]]}
    return {"transpose": value.semitones, "transpose_reason": value.reason}


def _suffix(settings: CoverSettings) -> str:
    return settings.output.encoding.extension


def _loudness(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Integrated LUFS of song and cover and the cover's true peak in dBTP as plain numbers, the rest beneath."""
    song, cover = measured["song"]["integrated"], measured["cover"]["integrated"]
    return {"song": song, "cover": cover, "true_peak": measured["true_peak"], "details": measured}


def _stages(result: Result) -> dict[str, Any]:
    warnings = [{"stage": stage.name, "warning": text} for stage in result.stages for text in stage.warnings]
    stages = [{name: value for name, value in asdict(stage).items() if name != "warnings"} for stage in result.stages]
    return {"stages": stages, "warnings": warnings}
