"""What the kinds of jobs do: fetch their inputs, run `understudy.jobs`, store what was made."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from sqlalchemy import select

from understudy.errors import UnderstudyError
from understudy.pipeline.cast import Cast, parse_voices
from understudy.pipeline.executor import LocalExecutor, StageEvent
from understudy.pipeline.settings import CoverSettings
from understudy.pipeline.store import Store
from understudy.services.queue import bounded, reading
from understudy.services.queue.database import Database
from understudy.services.queue.jobs import Claimed
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.storage import Storage
from understudy.services.queue.tables import songs, voices
from understudy.voices.voice import MANIFEST, Manifest, Voice

Notify = Callable[[StageEvent], None]
TYPES = {
    ".flac": "audio/flac",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".opus": "audio/ogg",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
}


@dataclass(frozen=True)
class JobContext:
    """Where a job is done. `scratch`: an empty folder of its own."""

    database: Database
    storage: Storage
    settings: ServerSettings
    device: str
    scratch: Path
    cancelled: Event
    notify: Notify

    def cache(self, job: Claimed) -> Path:
        """The owner's artifacts: owners share none, or they could find out what others have."""
        return self.settings.data / "cache" / f"{job.owner}-{job.generation}"


@dataclass(frozen=True)
class JobResult:
    """What a job gave: `result` for its owner (``files`` by name: path in the storage, bytes, type, file name), the
    bytes that it takes, its stages as a result's ``to_dict`` lists them."""

    result: dict[str, Any]
    size: int
    stages: list[dict[str, Any]]


def do(job: Claimed, context: JobContext) -> JobResult:
    match job.kind:
        case "cover":
            return _cover(job, context)
        case "separation":
            return _separation(job, context)
        case "voice":
            return _voice(job, context)


def _cover(job: Claimed, context: JobContext) -> JobResult:
    from understudy.jobs import CoverJob, Runner, make_cover

    settings = CoverSettings.model_validate(job.request["settings"])
    inputs = {name: _song(context, job, id, name) for name, id in job.request["inputs"].items()}
    cast = _cast(context, job)
    _decode(context, job, list(inputs.values()), settings)
    out = context.scratch / "out"
    cover = out / f"cover{settings.output.encoding.extension}"
    runner = Runner(LocalExecutor(Store(context.cache(job)), context.device), context.notify, context.cancelled)
    made = make_cover(
        CoverJob(
            inputs.get("song"),
            cast,
            settings,
            inputs.get("vocals"),
            inputs.get("instrumental"),
            cover,
            backing_vocals=inputs.get("backing_vocals"),
        ),
        runner,
    ).to_dict()
    title = f"{job.name} ({cast.name})"
    files = {
        "audio": (cover, f"{title}{cover.suffix}"),
        "report": (Path(made["report"]), f"{title}.report.html"),
        "figures": (Path(made["report"]).with_suffix(".json"), f"{title}.report.json"),
    }
    for stem, path in made["stems"].items():
        files[f"stems/{stem}"] = (Path(path), f"{title} {stem}{Path(path).suffix}")
    kept = ("duration", "sample_rate", "transpose", "transpose_reason", "key", "loudness", "verdict", "warnings")
    return _stored(context, job, files, {name: made[name] for name in kept} | _chain(made), made["stages"])


def _separation(job: Claimed, context: JobContext) -> JobResult:
    from understudy.jobs import Runner, SeparationJob, separate_song

    settings = CoverSettings.model_validate(job.request["settings"])
    song = _song(context, job, job.request["inputs"]["song"], "song")
    _decode(context, job, [song], settings)
    runner = Runner(LocalExecutor(Store(context.cache(job)), context.device), context.notify, context.cancelled)
    made = separate_song(SeparationJob(song, settings, folder=context.scratch / "out"), runner).to_dict()
    files = {
        f"stems/{stem}": (Path(path), f"{job.name} {stem}{Path(path).suffix}") for stem, path in made["stems"].items()
    }
    return _stored(context, job, files, {"warnings": made["warnings"]} | _chain(made), made["stages"])


def _chain(made: Mapping[str, Any]) -> dict[str, Any]:
    """What the steps of the separation did, if it has any."""
    return {"chain": made["chain"]} if "chain" in made else {}


def _voice(job: Claimed, context: JobContext) -> JobResult:
    """Make a voice from recordings; its folder goes into the storage file by file, the manifest last."""
    sent = job.request["sent"]
    files = [
        _copied(
            context.storage.fetch(file["path"]), context.scratch / "in" / f"{file['field']}-{number}" / file["name"]
        )
        for number, file in enumerate(sent)
    ]
    root = context.scratch / "library"

    def progress(fraction: float) -> None:
        context.notify(StageEvent("voice", "progress", fraction, 0.0, "cpu"))

    context.notify(StageEvent("voice", "started", 0.0, 0.0, "cpu"))
    manifest, findings = bounded.call(
        reading.make_voice if sent[0]["field"] == "recordings" else reading.bring_voice,
        context.scratch,
        root,
        files,
        job.request["consent"],
        job.request["speaker"],
        seconds=context.settings.decode_seconds,
        memory=context.settings.decode_memory,
        progress=progress,
        cancelled=context.cancelled,
    )
    context.notify(StageEvent("voice", "finished", 1.0, 0.0, "cpu"))
    built, size = root / "voice", 0
    paths = sorted((path for path in built.rglob("*") if path.is_file()), key=lambda path: path.name == MANIFEST)
    for path in paths:
        size += context.storage.put(path, f"{job.request['path']}/{path.relative_to(built).as_posix()}")
    values = {"state": "ready", "manifest": manifest, "findings": findings, "bytes": size}
    with context.database.write() as connection:
        kept = connection.execute(voices.update().where(voices.c.id == job.voice).values(**values)).rowcount
    if not kept:  # its owner deleted it meanwhile
        context.storage.remove(job.request["path"])
    for file in sent:
        context.storage.remove(file["path"])
    return JobResult({"findings": findings}, 0, [])


def _decode(context: JobContext, job: Claimed, files: list[Path], settings: CoverSettings) -> None:
    """Read the songs in bounds: the stage ``decode`` of the run that follows then finds its artifacts."""
    cache, part = Store(context.cache(job)), settings.song
    graph = reading.decoding(files, part.start, part.duration)
    if not graph.pending(graph.nodes, cache.has):
        return
    context.notify(StageEvent("decode", "started", 0.0, 0.0, "cpu"))
    bounded.call(
        reading.decode_into,
        cache.root,
        files,
        part.start,
        part.duration,
        seconds=context.settings.decode_seconds,
        memory=context.settings.decode_memory,
        progress=lambda fraction: context.notify(StageEvent("decode", "progress", fraction, 0.0, "cpu")),
        cancelled=context.cancelled,
    )


def _song(context: JobContext, job: Claimed, id: str, role: str) -> Path:
    """The owner's song as a file under the name that its owner gave it."""
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
    """Who sings, on this machine."""
    asked = job.request

    def load(id: str) -> Voice:
        with context.database.read() as connection:
            row = connection.execute(select(voices).where(voices.c.id == id, voices.c.owner == job.owner)).first()
        if row is None or row.state != "ready":
            raise UnderstudyError("voice-unknown", "A voice of this cover is gone.", "Choose another voice.")
        return fetch_voice(context.storage, row.path, row.manifest, row.name)

    found = {id: load(id) for id in asked["singers"].values()}
    transposes = {found[id].name: value for id, value in asked["transposes"].items()}
    return parse_voices(asked["voices"]).cast(lambda name: found[asked["singers"][name]], transposes)


def fetch_voice(storage: Storage, path: str, document: Mapping[str, Any], name: str) -> Voice:
    """The voice on this machine, its files checked against their hashes, under the name that it has now."""
    from understudy.voices import library

    manifest = Manifest.model_validate(document).model_copy(update={"name": name})
    folder = storage.fetch(f"{path}/{MANIFEST}").parent
    voice = Voice(folder, manifest)
    for file in voice.stored_files:
        storage.fetch(f"{path}/{file.relative_to(folder).as_posix()}")
    library.verify(voice)
    return voice


def _stored(
    context: JobContext,
    job: Claimed,
    files: Mapping[str, tuple[Path, str]],
    result: dict[str, Any],
    stages: list[dict[str, Any]],
) -> JobResult:
    listed, total = {}, 0
    for name, (path, shown) in files.items():
        target = f"{job.owner}/jobs/{job.id}/{name}{path.suffix}"
        size = context.storage.put(path, target)
        total += size
        listed[name] = {"path": target, "bytes": size, "type": TYPES[path.suffix], "name": shown}
    return JobResult({**result, "files": listed, "stages": stages}, total, stages)


def _copied(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True)
    shutil.copyfile(source, target)
    return target


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """An empty folder for one job."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
