"""Running the job of a voice: it is made from what was sent, or gets more recordings; then it sings a sample."""

from __future__ import annotations

import logging
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import select

from understudy.errors import UnderstudyError
from understudy.jobs import ConversionJob, convert_vocals
from understudy.pipeline.executor import StageEvent
from understudy.pipeline.settings import load_settings
from understudy.services.queue import consents, untrusted
from understudy.services.queue.job_context import JobContext, JobResult
from understudy.services.queue.jobs import Claimed
from understudy.services.queue.tables import voices
from understudy.voices.consent import levels
from understudy.voices.voice import MANIFEST, RECORDINGS, Manifest, Voice

SAMPLE = "sample.mp3"
"""The name of the sample in the voice's folder of the storage."""
MELODY = Path(__file__).parent / "melody.opus"
"""Five seconds of the demo song's vocal, which every new voice sings."""
log = logging.getLogger("understudy.worker")


def run_voice(job: Claimed, context: JobContext) -> JobResult:
    """Make the voice. Its folder goes into the storage file by file, the manifest last: where the manifest is, the
    voice is complete."""
    sent, path = job.request["sent"], job.request["path"]
    files = [context.scratch / "in" / f"{file['field']}-{number}" / file["name"] for number, file in enumerate(sent)]
    for target, file in zip(files, sent, strict=True):
        target.parent.mkdir(parents=True)
        shutil.copyfile(context.storage.fetch(file["path"]), target)
    before = _before(job, context) if job.request.get("more") else None
    consent = job.request["consent"]
    if before is not None:
        files = [*_recordings(before, path, context), *files]
        consent = "granted" if "granted" in (consent, before.consent) else "self"
    root, trained = context.scratch / "library", sent[0]["field"] != "recordings"
    about = (root, files, consent, job.request.get("speaker"), trained)
    made, findings = context.read("voice", untrusted.make_voice, context.scratch, *about)
    manifest = Manifest.model_validate(made)
    if before is not None:
        kept = {name: getattr(before, name) for name in ("model", "tuned", "training_recordings")}
        manifest = manifest.model_copy(update={**kept, "created": before.created}).sung_by(before.engine)
    voice = Voice(root / "voice", manifest)
    size = _publish(job, context, voice, before, findings)
    if size is not None and job.request.get("sample"):
        _sing(job, context, voice, size)
    for file in sent:
        context.storage.remove(file["path"])
    context.notify(StageEvent("voice", "finished", 1.0, 0.0, "cpu"))
    return JobResult({"findings": findings}, 0)


def _before(job: Claimed, context: JobContext) -> Manifest:
    with context.database.read() as connection:
        row = connection.execute(select(voices).where(voices.c.id == job.voice, voices.c.owner == job.owner)).first()
    if row is None:
        raise UnderstudyError("voice-unknown", "The voice is gone.", "Its owner deleted it.")
    manifest = Manifest.model_validate(row.manifest | {"name": row.name})
    levels.require(manifest)
    return manifest


def _recordings(manifest: Manifest, path: str, context: JobContext) -> list[Path]:
    """The recordings that the voice has, under the names that they were sent with."""
    found = []
    for number, recording in enumerate(manifest.recordings):
        target = context.scratch / "in" / f"kept-{number}" / (Path(recording.source).name or recording.file)
        target.parent.mkdir(parents=True)
        shutil.copyfile(context.storage.fetch(f"{path}/{RECORDINGS}/{recording.file}"), target)
        found.append(target)
    return found


def _publish(
    job: Claimed, context: JobContext, voice: Voice, before: Manifest | None, findings: list[dict[str, Any]]
) -> int | None:
    """Put the files into the storage and the manifest into the database; then the files go that it no longer has.
    Returns the size of all files, None if the voice was deleted meanwhile."""
    path = job.request["path"]
    built = sorted((file for file in voice.folder.rglob("*") if file.is_file()), key=lambda file: file.name == MANIFEST)
    size = sum(context.storage.put(file, f"{path}/{file.relative_to(voice.folder).as_posix()}") for file in built)
    with context.database.write() as connection:
        now, mine = context.database.now(connection), voices.c.id == job.voice
        row = connection.execute(select(voices).where(mine)).first()
        if before is not None and row is not None:
            levels.require(Manifest.model_validate(row.manifest | {"name": row.name}))  # as it is by now
            size += sum(context.storage.size(f"{path}/{name}") or 0 for name in _others(before))
        manifest = consents.admit(connection, now, job.owner, job.name, voice.manifest)
        values: dict[str, Any] = {"state": "ready", "findings": findings, "bytes": size}
        values |= {"consent": manifest.consent, "manifest": manifest.model_dump(mode="json")}
        kept = connection.execute(voices.update().where(mine).values(**values)).rowcount
    if not kept:
        context.storage.remove(path)
        return None
    there = {recording.file for recording in voice.manifest.recordings}
    for recording in before.recordings if before else ():
        if recording.file not in there:
            context.storage.remove(f"{path}/{RECORDINGS}/{recording.file}")
    return size


def _others(manifest: Manifest) -> list[str]:
    """The files of a voice that aren't its recordings, by their names in its folder."""
    files = Voice(Path(), manifest).stored_files
    return [file.as_posix() for file in files if file.parent.name != RECORDINGS]


def _sing(job: Claimed, context: JobContext, voice: Voice, size: int) -> None:
    """Store a sample of the voice. One that can't sing here has none."""
    path = job.request["path"]
    for name in _others(voice.manifest):  # those of a voice that gets more recordings
        if not (voice.folder / name).exists():
            (voice.folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(context.storage.fetch(f"{path}/{name}"), voice.folder / name)
    made = context.scratch / SAMPLE
    settings = load_settings(None, {"output": {"format": "mp3:128"}}, {})
    runner = replace(context.runner(job), listener=lambda event: None)
    try:
        convert_vocals(ConversionJob(MELODY, voice, settings, made), runner)
    except UnderstudyError as error:
        log.warning("no sample: %s", error.message, extra={"code": error.code})
        with suppress(UnderstudyError):
            context.storage.remove(f"{path}/{SAMPLE}")
        return
    size += context.storage.put(made, f"{path}/{SAMPLE}")
    with context.database.write() as connection:
        connection.execute(voices.update().where(voices.c.id == job.voice).values(bytes=size))
