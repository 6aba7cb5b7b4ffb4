"""Around a training: the voice on this machine, and its new model in the storage, or nothing where it is gone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from sqlalchemy import select

from tests.support.library_voices import TRAINED, recorded_voice, small_model
from understudy.errors import UnderstudyError
from understudy.services.queue import claims, housekeeping, jobs, owners, run_training
from understudy.services.queue.database import Database
from understudy.services.queue.job_context import JobContext
from understudy.services.queue.jobs import Claimed
from understudy.services.queue.progress import Progress
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.storage import Storage
from understudy.services.queue.tables import voices
from understudy.voices import library
from understudy.voices.voice import Voice


@dataclass(frozen=True)
class Case:
    """A claimed training of a voice in the storage."""

    job: Claimed
    context: JobContext

    def stored(self) -> set[str]:
        root = self.context.settings.data / "storage" / str(self.job.owner)
        return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}

    def trained(self, seed: int) -> Voice:
        """The voice as the library of a training has it at the end."""
        folder = self.context.scratch / f"library-{seed}"
        voice = run_training._fetched(self.job, self.context, folder / run_training.NAME)
        hashed = voice.manifest.recordings_hash
        return library.publish_model(folder, voice.name, hashed, small_model(seed), None, TRAINED, default=True)

    def row(self) -> Any:
        with self.context.database.read() as connection:
            return connection.execute(select(voices).where(voices.c.id == self.job.voice)).first()

    def delete_voice(self) -> None:
        with self.context.database.write() as connection:
            connection.execute(voices.delete().where(voices.c.id == self.job.voice))


@pytest.fixture
def case(database: Database, settings: ServerSettings, tmp_path: Path) -> Case:
    storage = Storage("", {}, settings.data)
    owner = owners.ensure_owner(database, "ada")
    voice, path = recorded_voice(tmp_path / "made"), f"{owner}/voices/voice_1"
    for file in voice.stored_files:
        storage.put(file, f"{path}/{file.relative_to(voice.folder).as_posix()}")
    about = {"id": "voice_1", "name": "Nova", "folded": "nova", "state": "ready", "consent": "self", "path": path}
    more = {"owner": owner, "manifest": voice.manifest.model_dump(mode="json"), "findings": [], "created": 0.0}
    with database.write() as connection:
        connection.execute(voices.insert().values(**about, **more))
        request = {"sent": [], "separate": False, "settings": {}}
        jobs.submit(connection, 0.0, owner, "training", name="Nova", voice="voice_1", request=request, priority=0)
    job = claims.claim(database, "w", settings, training=True)
    assert job is not None
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Case(job, JobContext(database, storage, settings, "cpu", scratch, Event(), Progress("training")))


def test_a_model_comes_into_the_storage_and_replaces_the_one_before(case: Case):
    before = case.stored()
    run_training._publish(case.job, case.context, case.trained(1))
    first, row = case.stored(), case.row()
    assert (row.manifest["engine"], row.name) == ("rvc", "Nova")
    assert before < first
    root = case.context.settings.data / "storage" / case.job.owner
    sizes = {name: (root / name).stat().st_size for name in first}
    assert row.bytes == sum(size for name, size in sizes.items() if not name.endswith("voice.json"))
    run_training._publish(case.job, case.context, case.trained(2))
    second = case.stored()
    assert len(second) == len(first)
    assert [name.count("/model/") for name in first ^ second] == [1, 1]


def test_of_a_voice_that_is_gone_nothing_is_published(case: Case):
    voice = case.trained(1)
    case.delete_voice()
    case.context.storage.remove(f"{case.job.owner}/voices/voice_1")
    with pytest.raises(UnderstudyError) as gone:
        run_training._publish(case.job, case.context, voice)
    assert gone.value.code == "voice-unknown"
    assert case.stored() == set()
    with pytest.raises(UnderstudyError) as gone:
        run_training.run_training(case.job, case.context)
    assert gone.value.code == "voice-unknown"


def test_samples_are_stored_once_and_go_with_their_checkpoint(case: Case, tmp_path: Path):
    run = tmp_path / "run"
    for step in (10, 20):
        (run / "samples" / f"step-{step}").mkdir(parents=True)
        (run / "samples" / f"step-{step}" / "held-0.flac").write_bytes(bytes(step))
    files, size = run_training._stored(case.job, case.context, run)
    assert (set(files), size) == ({"samples/10/held-0", "samples/20/held-0"}, 30)
    case.context.progress.share(files, size)
    (run / "samples" / "step-10" / "held-0.flac").unlink()
    files, size = run_training._stored(case.job, case.context, run)
    assert (set(files), size) == ({"samples/20/held-0"}, 20)
    jobs_files = {name for name in case.stored() if name.startswith("jobs/")}
    assert jobs_files == {f"jobs/{case.job.id}/samples/20/held-0.flac"}
    housekeeping.remove_samples(case.context.database, case.context.storage, case.job)
    assert jobs_files < case.stored()
    case.delete_voice()
    housekeeping.remove_samples(case.context.database, case.context.storage, case.job)
    assert not jobs_files & case.stored()
