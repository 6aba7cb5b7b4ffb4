"""Cleanup: results expire, unused songs are removed, caches are kept under their limit, processes leave no files."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout
from sqlalchemy import Select, Table, and_, or_, select

from understudy.pipeline.shared_store import SharedStore
from understudy.pipeline.store import Store
from understudy.services.queue import consents, removals
from understudy.services.queue.database import Database
from understudy.services.queue.job_context import artifacts
from understudy.services.queue.jobs import ACTIVE, Claimed
from understudy.services.queue.owners import KEEP_KEYS
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.storage import Storage
from understudy.services.queue.tables import (
    batches,
    deliveries,
    events,
    idempotency,
    jobs,
    keys,
    owners,
    sessions,
    songs,
    spent,
    trained,
    turns,
    uploads,
    voices,
)

_REMEMBERED = 30 * 86400.0  # seconds for which machines look for what is left of a revoked voice
_MEMORY = 86400.0  # seconds for which answers to an Idempotency-Key are kept


def sweep(database: Database, settings: ServerSettings) -> int:
    """Remove what has expired; its files go by `removals`. Safe in several processes at once. Returns the number of
    results that expired."""
    with database.write() as connection:
        now = database.now(connection)
        # served before the clock was set back: else these owners would come last until it is that late again
        connection.execute(turns.update().where(turns.c.served > now).values(served=now))
        due = and_(jobs.c.state.in_(("done", "cancelled")), jobs.c.expires < now)
        rows = connection.execute(jobs.update().where(due).values(state="expired", bytes=0).returning(jobs)).all()
        old = and_(jobs.c.state.not_in(ACTIVE), jobs.c.finished < now - settings.keep_jobs)
        forgotten = connection.execute(jobs.delete().where(old).returning(jobs.c.owner, jobs.c.id)).all()
        in_use = select(jobs.c.id).where(jobs.c.state.in_(ACTIVE), jobs.c.song == songs.c.id).exists()
        unused = and_(songs.c.used < now - settings.keep_songs, ~in_use)
        gone = connection.scalars(songs.delete().where(unused).returning(songs.c.path)).all()
        empty = ~select(jobs.c.id).where(jobs.c.batch == batches.c.id).exists()
        connection.execute(batches.delete().where(batches.c.created < now - settings.keep_jobs, empty))
        for table in (spent, trained):
            connection.execute(table.delete().where(table.c.at < now - 86400))
        ended = or_(keys.c.revoked < now - KEEP_KEYS, keys.c.expires < now - KEEP_KEYS)
        of_ended = sessions.c.key.in_(select(keys.c.id).where(ended))
        connection.execute(sessions.delete().where(or_(sessions.c.expires < now, of_ended)))
        connection.execute(keys.delete().where(ended))
        connection.execute(idempotency.delete().where(idempotency.c.created < now - _MEMORY))
        sent = and_(deliveries.c.state != "waiting", deliveries.c.due < now - settings.keep_deliveries)
        connection.execute(deliveries.delete().where(sent))
        given_up = uploads.delete().where(uploads.c.expires <= now).returning(uploads)
        gone = [*gone, *(stored_upload(row.owner, row.id) for row in connection.execute(given_up) if row.presigned)]
        removals.note(connection, now, [*(f"{row.owner}/jobs/{row.id}" for row in [*rows, *forgotten]), *gone])
    return len(rows)


def sweep_orphans(database: Database, storage: Storage, age: float) -> int:
    """Remove stored files that no row of the database names and that are older than `age` seconds. Returns how many.

    They are left by processes that were killed between storing a file and committing its row, or between deleting the
    row and the file. A younger file may belong to a transaction that is still open.
    """
    with database.read() as connection:
        now = database.now(connection)
        known = set(connection.scalars(select(songs.c.id))) | set(connection.scalars(select(jobs.c.id)))
        known |= set(connection.scalars(select(voices.c.id))) | set(connection.scalars(select(uploads.c.id)))
        making = select(voices.c.id).where(voices.c.state == "making")
        training = select(jobs.c.voice).where(jobs.c.kind == "training", jobs.c.state.in_(ACTIVE))
        known |= {f"{id}-sent" for query in (making, training) for id in connection.scalars(query)}
    orphans = []
    for name, stored in storage.listed():
        parts = name.split("/")
        if len(parts) > 2 and parts[2] not in known and stored < now - age:
            orphans.append(name)
    for name in orphans:
        storage.remove(name)
    return len(orphans)


def uploads_folder(settings: ServerSettings) -> Path:
    """The folder of resumable uploads on this machine: of each the file ``<id>`` and ``<id>.lock``."""
    folder = settings.data / "uploads"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def stored_upload(owner: str, id: str) -> str:
    """Where in the storage the sender brings the file of a presigned upload."""
    return f"{owner}/uploads/{id}"


def sweep_uploads(database: Database, settings: ServerSettings) -> None:
    """Remove what is left on this machine of resumable uploads that were used, deleted or have expired."""
    found = [path for path in uploads_folder(settings).iterdir() if path.suffix != ".lock"]
    locks = list(uploads_folder(settings).glob("*.lock"))
    with database.read() as connection:  # after the files, which are younger than their rows
        known = set(connection.scalars(select(uploads.c.id)))
    for path in [*found, *locks]:
        if path.stem not in known:
            with suppress(Timeout, OSError), FileLock(path.with_suffix(".lock"), timeout=0):
                path.unlink(missing_ok=True)


def remove_if_gone(database: Database, storage: Storage, owner: str, kind: str, id: str) -> None:
    """Remove the files of a job or voice if its owner deleted it meanwhile."""
    table = voices if kind == "voices" else jobs
    with database.read() as connection:
        there = connection.scalar(select(table.c.id).where(table.c.id == id))
    if there is None:
        storage.remove(f"{owner}/{kind}/{id}")


def remove_samples(database: Database, storage: Storage, job: Claimed) -> None:
    """Remove the files of a training whose voice is gone."""
    with database.read() as connection:
        there = connection.scalar(select(voices.c.id).where(voices.c.id == job.voice))
    if there is None:
        storage.remove(f"{job.owner}/jobs/{job.id}")


def remove_previews(database: Database, storage: Storage, job: Claimed) -> None:
    """Remove what could be heard of a cover that has ended without a result."""
    with database.write() as connection:
        over = and_(jobs.c.id == job.id, jobs.c.state.not_in((*ACTIVE, "done")))
        connection.execute(jobs.update().where(over).values(bytes=0, result=None))
        there = connection.scalar(select(jobs.c.id).where(jobs.c.id == job.id, ~over))
    if there is None:
        storage.remove(f"{job.owner}/jobs/{job.id}/previews")


def sweep_machine(database: Database, storage: Storage, settings: ServerSettings) -> None:
    """Clean up what lies on this machine: caches of owners who deleted everything, artifacts and copies over the limit,
    folders of trainings that nothing goes on from; and what such owners have in the artifacts that machines share."""
    address = artifacts(settings, "")
    shared = None if address is None else SharedStore(address, settings.data / "cluster")
    found = shared.owners() if shared else []  # before their rows are read: an owner may be new
    with database.read() as connection:
        valid = {f"{row.id}-{row.generation}" for row in connection.execute(select(owners.c.id, owners.c.generation))}
        revoked = consents.revoked_voices(connection, database.now(connection) - _REMEMBERED)
    for owner in found:
        if shared and owner not in valid:
            shared.remove_owner(owner)
    root = settings.data / "cache"
    folders = [folder for folder in root.iterdir() if folder.is_dir()] if root.is_dir() else []
    for folder in folders:
        if folder.name not in valid:
            shutil.rmtree(folder, ignore_errors=True)
    stores = [Store(folder) for folder in folders if folder.name in valid]
    for store in stores:
        owner, place = store.root.name.rpartition("-")[0], artifacts(settings, store.root.name)
        if ended := {identity for other, identity in revoked if other == owner}:
            (store if place is None else SharedStore(place, store.root)).remove_voices(ended)
    sizes = [store.size() for store in stores]
    if (total := sum(sizes)) > settings.cache_bytes:
        for store, size in zip(stores, sizes, strict=True):  # each in proportion to its size
            store.prune(round(settings.cache_bytes * size / total), spare=3600)
    storage.drop_copies(86400)
    _sweep_trainings(database, settings)


def _sweep_trainings(database: Database, settings: ServerSettings) -> None:
    """Remove the folders of trainings whose voice is gone; and of those that have ended the old ones, and the oldest
    ones where all of them are too large."""
    with database.read() as connection:
        voice = select(voices.c.id, voices.c.owner, owners.c.generation).join(owners, owners.c.id == voices.c.owner)
        # a revoked voice has no bytes, and is trained no more
        alive = voice.where(voices.c.bytes > 0)
        known = {f"{row.owner}-{row.generation}/{row.id}" for row in connection.execute(alive)}
        active = set(
            connection.scalars(select(jobs.c.voice).where(jobs.c.kind == "training", jobs.c.state.in_(ACTIVE)))
        )
    root, ended = settings.data / "trainings", []
    for folder in root.glob("*/*"):
        used = max(_about([folder, *folder.glob("training/*")]), default=(0.0, 0))[0]
        old = folder.name not in active and used < time.time() - settings.keep_trainings
        if folder.relative_to(root).as_posix() not in known or old:
            shutil.rmtree(folder, ignore_errors=True)
        elif folder.name not in active:
            ended.append((used, folder))
    for folder in root.glob("*"):
        if folder.name not in {name.partition("/")[0] for name in known}:
            with suppress(OSError):  # something is in it
                folder.rmdir()
    total = 0
    for _, folder in sorted(ended, reverse=True):
        total += sum(size for _, size in _about(folder.rglob("*")))
        if total > settings.training_bytes:
            shutil.rmtree(folder, ignore_errors=True)


def _about(paths: Iterable[Path]) -> list[tuple[float, int]]:
    """(time of the last change, bytes) of each; those that vanish meanwhile are left out."""
    found = []
    for path in paths:
        with suppress(OSError):
            about = path.stat()
            found.append((about.st_mtime, about.st_size))
    return found


@contextmanager
def process_folder(root: Path) -> Iterator[Path]:
    """A folder of this process, removed at the end. Those of killed processes go first: nobody holds their lock."""
    name = uuid4().hex
    root = root.resolve()
    root.mkdir(parents=True, exist_ok=True)
    for lock in root.glob("*.lock"):
        with suppress(Timeout, OSError), FileLock(lock, timeout=0):
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)
    folder, lock = root / name, root / f"{name}.lock"
    folder.mkdir()
    try:
        with FileLock(lock):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.unlink(missing_ok=True)


def delete_everything(database: Database, owner: str) -> None:
    """Delete all songs, voices, covers, separations, jobs and events of the owner; the keys stay. Running jobs lose
    their row and stop; the caches of the old generation go with the next sweep on each machine."""
    with database.write() as connection:
        folders = {table: f"{owner}/{table.name}/" for table in (jobs, songs, uploads, voices)}
        made = [f"{folder}{id}" for table, folder in folders.items() for id in connection.scalars(_ids(table, owner))]
        made += [f"{path}-sent" for path in made if path.startswith(folders[voices])]
        removals.note(connection, database.now(connection), made)
        connection.execute(events.delete().where(events.c.job.in_(_ids(jobs, owner))))
        for table in (jobs, batches, songs, uploads, voices, deliveries, idempotency):
            connection.execute(table.delete().where(table.c.owner == owner))
        connection.execute(owners.update().where(owners.c.id == owner).values(generation=owners.c.generation + 1))


def _ids(table: Table, owner: str) -> Select[Any]:
    return select(table.c.id).where(table.c.owner == owner)
