"""Running a claimed job: fetch its inputs, run it as `understudy.jobs` does, store the files that it made."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import select

from understudy.audio.encode import encode
from understudy.audio.tags import read_tags
from understudy.context import Context
from understudy.errors import Cancelled, UnderstudyError
from understudy.jobs import CoverJob, Runner, SeparationJob, make_cover, separate_song
from understudy.pipeline.cast import Cast, parse_voices
from understudy.pipeline.cover_graph import STREAMED, PreviewGraph, preview_graph
from understudy.pipeline.executor import StageEvent, StageRun
from understudy.pipeline.graph import Graph, Node
from understudy.pipeline.naming import cover_name
from understudy.pipeline.provenance.manifest import SIDECAR_SUFFIX
from understudy.pipeline.separation_request import SeparationRequest
from understudy.pipeline.settings import CoverSettings
from understudy.results import CoverResult
from understudy.services.batch.timing import Work, estimate
from understudy.services.queue import untrusted
from understudy.services.queue.job_context import TYPES, JobContext, JobResult
from understudy.services.queue.jobs import ROLES, Claimed
from understudy.services.queue.measured import alike, shares_of, stage_on
from understudy.services.queue.owners import usage
from understudy.services.queue.progress import models_run, usual_seconds
from understudy.services.queue.run_training import run_training
from understudy.services.queue.run_voice import run_voice
from understudy.services.queue.tables import owners, songs, spent, voices
from understudy.voices.consent import levels
from understudy.voices.voice import MANIFEST, Manifest, Voice
from understudy.wording import counted, lengths

log = logging.getLogger("understudy.worker")

SHORTEST = 60.0
"""Seconds of a song of which something is worth hearing before the whole is finished."""


def run_job(job: Claimed, context: JobContext) -> JobResult:
    match job.kind:
        case "cover":
            return _cover(job, context)
        case "separation":
            return _separation(job, context)
        case "voice":
            return run_voice(job, context)
        case "training":
            return run_training(job, context)


def _cover(job: Claimed, context: JobContext) -> JobResult:
    settings = CoverSettings.model_validate(job.request["settings"])
    inputs = {role: _song(context, job, id, role) for role, id in job.request["inputs"].items()}
    cast = _cast(context, job)
    seconds = _decode(context, job, inputs, settings)
    path = context.scratch / "out" / f"cover{settings.output.encoding.extension}"
    song, vocals, instrumental, backing = (inputs.get(role) for role in ROLES)
    job_of_cover = CoverJob(song, cast, settings, vocals, instrumental, path, backing_vocals=backing)
    preview = None
    if job.request.get("preview") and cast.solo and song and inputs.keys() == {"song"} and seconds >= SHORTEST:
        preview = preview_graph(song, cast.solo, settings)
    _plan(context, job, [*([preview.graph] if preview else []), job_of_cover.graph.graph], seconds)
    before = _preview(context, job, preview, seconds) if preview else ()
    cover = make_cover(job_of_cover, context.runner(job))
    cover = replace(cover, stages=(*(stage for stage in before if not stage.cached), *cover.stages))
    title = cover_name(settings, song or vocals or path, cast.name, called=job.name)
    files = {
        "audio": (cover.path, f"{title}{path.suffix}"),
        "report": (cover.report_path, f"{title}.report.html"),
        "figures": (cover.report_path.with_suffix(".json"), f"{title}.report.json"),
    }
    if cover.credentials_path:
        files["credentials"] = (cover.credentials_path, f"{title}{SIDECAR_SUFFIX}")
    if cover.video_path:
        files["video"] = (cover.video_path, f"{title}.mp4")
    for stem, sound in cover.stems.items():
        files[f"stems/{stem}"] = (sound.path, f"{title} {stem}{sound.path.suffix}")
    if cover.stems and not settings.output.encoding.lossy:
        files["stream"] = (_stream(context, cover), f"{title}.opus")
    # paths of this machine; who sings stands in the request
    left_out = ("cover", "report", "credentials", "video", "stems", "voices")
    figures = {name: value for name, value in cover.to_dict().items() if name not in left_out}
    stored = _stored(context, job, files, figures, cover.stages)
    previews = context.progress.previews()
    size = stored.size + sum(file["bytes"] for file in previews.values())
    return replace(stored, result={**stored.result, "previews": previews}, size=size)


def _plan(context: JobContext, job: Claimed, graphs: Sequence[Graph], seconds: float) -> None:
    """Tell the progress how long each node will take that isn't there yet."""
    store, models = context.store(job), models_run(job.request)
    planned: set[str] = set()
    nodes: dict[tuple[str, str], str] = {}
    for graph in graphs:
        keys = graph.keys()
        for node in graph.pending(graph.nodes, lambda key: key in planned or store.has(key)):
            planned.add(keys[node])
            nodes[node.kind, node.subject] = context.device if node.stage.uses_gpu else "cpu"
    with context.database.read() as connection:
        done = [shares for row in alike(connection, job.request["work"]) if (shares := shares_of(row))]
    kinds = Counter(kind for kind, _ in nodes)
    usual = {kind: usual_seconds(job.kind, kind, models, seconds) for kind in kinds}
    expected, sure = dict(usual), 0.0
    for (kind, _), device in nodes.items():
        measured, unknown = estimate([Work(kind, stage_on(kind, device), seconds)], done[::-1])
        if not unknown:
            expected[kind] = measured
            sure += usual[kind] / kinds[kind]
    about = {(kind, subject): expected[kind] / kinds[kind] for kind, subject in nodes}
    context.progress.plan(about, sure > sum(usual.values()) / 2)


def _preview(context: JobContext, job: Claimed, graph: PreviewGraph, seconds: float) -> tuple[StageRun, ...]:
    """Share the karaoke and the sung chorus of the cover as soon as there is each of them; returns their stages. If
    that fails, the cover is made all the same."""
    keys, store, runner = graph.graph.keys(), context.store(job), context.runner(job)

    def share(name: str, node: Node[Path], start: float, length: float) -> None:
        file = _put(context, job, f"previews/{name}", store.load(keys[node]).value, f"{job.name} {name}.opus")
        context.progress.preview(name, {**file, "start": start, "seconds": length})

    def listen(event: StageEvent) -> None:
        context.notify(event)
        if event.node == graph.karaoke.name and event.state in ("finished", "cached"):
            share("karaoke", graph.karaoke, 0.0, seconds)

    try:
        made = Runner(runner.executor, listen, runner.cancelled).run(
            graph.graph, [graph.karaoke, graph.cover, graph.chorus]
        )
        chorus = made[graph.chorus]
        share("chorus", graph.cover, chorus.start, chorus.stop - chorus.start)
        return made.stages
    except Cancelled:
        raise
    except UnderstudyError as error:
        log.warning("no preview: %s", error.message, extra={"code": error.code})
        return ()


def _stream(context: JobContext, cover: CoverResult) -> Path:
    """The cover as Opus, which a player begins at once: the stems that it mixes take minutes to load."""
    tags = replace(read_tags(cover.path), artwork=b"", artwork_mime="")
    path = context.scratch / "stream.opus"
    return encode(Context(context.scratch, cancelled=context.cancelled), cover.audio.stored, path, STREAMED, tags)


def _separation(job: Claimed, context: JobContext) -> JobResult:
    settings = CoverSettings.model_validate(job.request["settings"])
    song = _song(context, job, job.request["inputs"]["song"], "song")
    duration = _decode(context, job, {"song": song}, settings)
    stems, midi = (job.request.get(name) for name in ("stems", "midi"))  # none in jobs of earlier releases
    wanted = SeparationRequest(tuple(stems) if stems else None, midi=tuple(midi or ()))
    made = separate_song(SeparationJob(song, settings, wanted, context.scratch / "out"), context.runner(job))
    files = {
        f"stems/{stem}": (sound.path, f"{job.name} {stem}{sound.path.suffix}") for stem, sound in made.stems.items()
    }
    files |= {f"midi/{stem}": (path, f"{job.name} {stem}.mid") for stem, path in made.midi.items()}
    figures = {
        name: value
        for name, value in made.to_dict().items()
        if name in ("stem_gain", "sum_to_song", "bpm", "song_key", "warnings", "chain", "stages")
    }
    return _stored(context, job, files, {"duration": duration, **figures}, made.stages)


def _decode(context: JobContext, job: Claimed, files: Mapping[str, Path], settings: CoverSettings) -> float:
    """Decode the songs, and read their manifests and, for a video, their artwork, in a bounded process. The job's own
    stages then find the artifacts in the cache: no untrusted file is read in the worker itself. Returns the seconds of
    the longest.

    Then the owner is charged for what was decoded: before, only the files' own words were known. Raises
    ``song-too-long`` and ``minutes-used-up``.
    """
    store = context.store(job)
    graph = untrusted.decoding(files, settings)
    if graph.pending(graph.nodes, store.has):
        context.read("decode", untrusted.decode_into, store.root, files, settings)
    keys = graph.keys()
    decoded = [store.load(keys[node]).value for node in graph.nodes[: len(files)]]
    seconds = max(float(song.duration) for song in decoded)
    _charge(context, job, seconds)
    return seconds


def _charge(context: JobContext, job: Claimed, seconds: float) -> None:
    with context.database.write() as connection:
        mine = spent.c.id == job.request.get("spent")
        connection.execute(spent.update().where(mine).values(minutes=seconds / 60))
        used = usage(connection, job.owner, context.database.now(connection))["minutes_a_day"]
        limits = connection.scalar(select(owners.c.limits).where(owners.c.id == job.owner)) or {}
    longest, most = (limits.get(name, getattr(context.settings, name)) for name in ("song_seconds", "minutes_a_day"))
    if seconds > longest + 1:  # the padding of lossy formats
        text = "{} is {} long; at most {} are taken here.".format(job.name, *lengths(seconds, longest))
        raise UnderstudyError("song-too-long", text, "Cut out the part that you need.")
    if used > most:
        text = f"With it you sent {counted(round(used), 'minute')} of song within a day; the limit is {most:.0f}."
        raise UnderstudyError("minutes-used-up", text, "Try again tomorrow.")


def _song(context: JobContext, job: Claimed, id: str, role: str) -> Path:
    """The owner's song as a file in the scratch folder, under the name that the owner gave it."""
    with context.database.write() as connection:
        now = context.database.now(connection)
        mine = (songs.c.id == id, songs.c.owner == job.owner)
        connection.execute(songs.update().where(*mine).values(used=now))
        song = connection.execute(select(songs).where(*mine)).first()
    if song is None:
        raise UnderstudyError("song-unknown", f"The song {id} is gone.", "Upload it again.")
    target = context.scratch / "in" / role / str(song.name)
    target.parent.mkdir(parents=True)
    target.symlink_to(context.storage.fetch(str(song.path)))
    return target


def _cast(context: JobContext, job: Claimed) -> Cast:
    """Who sings, with the voices fetched to this machine and checked against their hashes."""
    from understudy.voices import library

    request = job.request

    def load(id: str) -> Voice:
        with context.database.read() as connection:
            row = connection.execute(select(voices).where(voices.c.id == id, voices.c.owner == job.owner)).first()
        if row is None or row.state != "ready":
            raise UnderstudyError("voice-unknown", "A voice of this cover is gone.", "Choose another voice.")
        manifest = Manifest.model_validate(row.manifest).model_copy(update={"name": row.name})  # its name now
        levels.require(manifest, "cover", request.get("consent", "stated"))
        folder = context.storage.fetch(f"{row.path}/{MANIFEST}").parent
        voice = Voice(folder, manifest).sung_by(request.get("engine"))
        for file in voice.used_files:
            context.storage.fetch(f"{row.path}/{file.relative_to(folder).as_posix()}")
        library.verify(voice)
        return voice

    found = {id: load(id) for id in request["singers"].values()}
    transposes = {found[id].name: value for id, value in request["transposes"].items()}
    return parse_voices(request["voices"]).cast(lambda name: found[request["singers"][name]], transposes)


def _stored(
    context: JobContext,
    job: Claimed,
    files: Mapping[str, tuple[Path, str]],
    figures: Mapping[str, Any],
    stages: tuple[StageRun, ...],
) -> JobResult:
    """Put the files (by name: path, and the name under which they are sent) into the storage."""
    listed, total = {}, 0
    for name, (path, shown) in files.items():
        listed[name] = _put(context, job, name, path, shown)
        total += listed[name]["bytes"]
    return JobResult({**figures, "files": listed}, total, stages)


def _put(context: JobContext, job: Claimed, name: str, path: Path, shown: str) -> dict[str, Any]:
    """Put a file of the job into the storage; returns what its result says of it. `shown`: the name under which it is
    sent."""
    target = f"{job.owner}/jobs/{job.id}/{name}{path.suffix}"
    size = context.storage.put(path, target)
    return {"path": target, "bytes": size, "type": TYPES[path.suffix], "name": shown}
