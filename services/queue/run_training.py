"""Running a training: the voice as a library of its own, further recordings, the training itself, and its model put
into the storage.

What is not in the storage lies in a folder of the voice on this machine: the artifacts of the recordings, and the run's
folder, from which the same training goes on after a kill or a pause. On another machine it begins anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from understudy.errors import UnderstudyError
from understudy.pipeline.executor import StageEvent
from understudy.services.queue import consents, untrusted
from understudy.services.queue.job_context import TYPES, JobContext, JobResult
from understudy.services.queue.jobs import SPEED, Claimed, change, count
from understudy.services.queue.tables import voices
from understudy.voices.consent import levels
from understudy.voices.training.events import TrainingEvent
from understudy.voices.training.run_folder import RunFolder
from understudy.voices.training.settings import TrainingSettings
from understudy.voices.voice import MANIFEST, Manifest, Voice

if TYPE_CHECKING:
    from understudy.training import TrainingResult

OUTCOME = ("step", "steps", "reason", "ended", "scores", "instant", "default", "published", "engine", "advice")
"""What of a training's result its owner gets; the rest are folders of this machine."""
NAME = "voice"
"""The voice's name in the library of a training: its owner may give it another one meanwhile."""


def run_training(job: Claimed, context: JobContext) -> JobResult:
    """Train the voice of `job`, and give it the model. Raises ``voice-unknown`` if it is gone."""
    library = context.scratch / "library"
    voice = _fetched(job, context, library / NAME)
    voice, findings = _with_further_recordings(job, context, library, voice)
    made = _trained(job, context, library, voice)
    _publish(job, context, made.voice)
    return _result(job, context, made, findings)


def _fetched(job: Claimed, context: JobContext, folder: Path) -> Voice:
    """The voice with all its files as a folder of this machine."""
    with context.database.read() as connection:
        row = connection.execute(select(voices).where(voices.c.id == job.voice, voices.c.owner == job.owner)).first()
    if row is None:
        raise _gone()
    from understudy.voices import manifest

    voice = Voice(folder, Manifest.model_validate(row.manifest).model_copy(update={"name": NAME}))
    for file in voice.stored_files:
        file.parent.mkdir(parents=True, exist_ok=True)
        stored = context.storage.fetch(f"{row.path}/{file.relative_to(folder).as_posix()}")
        try:
            file.hardlink_to(stored)
        except OSError:  # on another file system
            shutil.copyfile(stored, file)
    manifest.write(folder, voice.manifest)
    return voice


def _with_further_recordings(
    job: Claimed, context: JobContext, library: Path, voice: Voice
) -> tuple[Voice, list[dict[str, Any]]]:
    """The voice with the recordings that came with the request, which are stored with it, and what was found in
    them."""
    sent = job.request["sent"]
    if not sent:
        return voice, job.request.get("findings", [])
    files = [context.scratch / "in" / str(number) / file["name"] for number, file in enumerate(sent)]
    for path, file in zip(files, sent, strict=True):
        path.parent.mkdir(parents=True)
        shutil.copyfile(context.storage.fetch(file["path"]), path)
    about = (files, job.request["consent"], job.request["separate"])
    findings = context.read("voice", untrusted.add_training_recordings, context.scratch, library, NAME, *about)
    context.notify(StageEvent("voice", "finished", 1.0, 0.0, "cpu"))
    from understudy.voices import manifest

    voice = Voice(voice.folder, manifest.read(voice.folder))
    _publish(job, context, voice)
    with context.database.write() as connection:
        row = connection.execute(select(voices).where(voices.c.id == job.voice)).one()
        if job.request["separate"] and (row.manifest.get("consent_record") or {}).get("level") == "verified":
            why = {"because": "recordings of an unverified speaker were added"}
            consents.decide(connection, context.database.now(connection), row, "stated", why)
    # the training may begin again after a kill: from here on it has them
    change(context.database, job, request={**job.request, "sent": [], "findings": findings}, bytes=0)
    for file in sent:
        context.storage.remove(file["path"])
    return voice, findings


def _publish(job: Claimed, context: JobContext, voice: Voice) -> None:
    """Put the new files of `voice` into the storage, the manifest last, and its manifest into the database; then the
    files go that it no longer has. Raises ``voice-unknown``, and leaves nothing, if the voice is gone."""
    prefix, mine = f"{job.owner}/voices/{job.voice}", voices.c.id == job.voice
    with context.database.read() as connection:
        manifest = connection.scalar(select(voices.c.manifest).where(mine))
    if manifest is None:
        raise _gone()
    before = _names(Voice(Path(), Manifest.model_validate(manifest)))
    names = _names(voice)
    for name, sha256 in names.items():
        if before.get(name) != sha256:
            context.storage.put(voice.folder / name, f"{prefix}/{name}")
    context.storage.put(voice.folder / MANIFEST, f"{prefix}/{MANIFEST}")
    size = sum((voice.folder / name).stat().st_size for name in names)
    with context.database.write() as connection:
        row = connection.execute(select(voices).where(mine)).first()
        values: dict[str, Any] = {"manifest": voice.manifest.model_dump(mode="json"), "bytes": size}
        if row is not None:  # what was decided meanwhile counts
            levels.require(Manifest.model_validate(row.manifest | {"name": row.name}), "train")
            values["manifest"]["consent_record"] = row.manifest.get("consent_record")
        kept = connection.execute(voices.update().where(mine).values(**values)).rowcount
    if not kept:
        context.storage.remove(prefix)
        raise _gone()
    for name in before.keys() - names.keys():
        context.storage.remove(f"{prefix}/{name}")


def _names(voice: Voice) -> dict[str, str]:
    """The files of the voice by their names in its folder, with their hashes."""
    return {path.relative_to(voice.folder).as_posix(): sha256 for path, sha256 in voice.stored_files.items()}


def _trained(job: Claimed, context: JobContext, library: Path, voice: Voice) -> TrainingResult:
    """Train the voice in `library`. Raises `Cancelled`: everything is in the run's folder."""
    from understudy.training import TrainingJob, train_voice

    settings = TrainingSettings.model_validate(job.request["settings"])
    base = context.settings.base_of(settings)
    training = TrainingJob(library, NAME, settings, job.request["separate"], base)
    run = training.folder(context.training(job))
    measured = False

    def notify(event: TrainingEvent) -> None:
        nonlocal measured
        if event.kind == "evaluation":  # before it is told: who hears of it finds its samples
            context.progress.share(*_stored(job, context, run))
        context.progress.train(event)
        if event.kind == "steps" and not measured:
            measured = True
            _count_speed(context, RunFolder(run), settings)

    return train_voice(training, context.runner(job), notify, context.enough)


def _count_speed(context: JobContext, folder: RunFolder, settings: TrainingSettings) -> None:
    """Store how long a clip takes here, for the estimates of later trainings."""
    run = folder.run()
    if run is not None and run.seconds_per_step:
        seconds = run.seconds_per_step / run.batch_size
        trained = settings.size if settings.engine == "rvc" else settings.engine
        count(context.database, SPEED, f"{context.device.partition(':')[0]} {trained}", seconds)


def _stored(job: Claimed, context: JobContext, run: Path) -> tuple[dict[str, Any], int]:
    """Store the report and the samples of the checkpoints that the run keeps, those that aren't stored yet, and remove
    those that it dropped. Returns all of them as the job's result lists them, and their size in bytes."""
    prefix = f"{job.owner}/jobs/{job.id}"
    found = {"report": run / "report.html"} if (run / "report.html").is_file() else {}
    for path in sorted((run / "samples").glob("*/*.flac")):
        found[f"samples/{path.parent.name.removeprefix('step-')}/{path.stem}"] = path
    before: Mapping[str, Any] = context.progress.files()
    listed, total = {}, 0
    for name, path in found.items():
        size = path.stat().st_size
        target = f"{prefix}/{name}{path.suffix}"
        if name == "report" or name not in before:
            context.storage.put(path, target)
        total += size
        shown = f"{job.name} {name.replace('/', ' ')}{path.suffix}"
        listed[name] = {"path": target, "bytes": size, "type": TYPES[path.suffix], "name": shown}
    for name in before.keys() - listed.keys():
        context.storage.remove(before[name]["path"])
    return listed, total


def _result(job: Claimed, context: JobContext, made: TrainingResult, findings: list[dict[str, Any]]) -> JobResult:
    files, size = _stored(job, context, made.folder)
    context.progress.share(files, size)
    so_far = context.progress.so_far()
    more = [asdict(finding) for finding in made.findings]
    outcome = {name: value for name, value in made.to_dict().items() if name in OUTCOME}
    figures = {"outcome": outcome, "findings": [*findings, *more], "warnings": list(made.warnings)}
    return JobResult({**so_far["result"], **figures, "step": made.steps, "best": made.step}, size)


def _gone() -> UnderstudyError:
    return UnderstudyError("voice-unknown", "The voice is gone.", "Its owner deleted it; nothing was published.")
