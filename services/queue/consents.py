"""The consent logs of the server: a hash chain for each owner, as a voice library has one, and what revoking ends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, select

from understudy.services.queue import jobs as queue
from understudy.services.queue.tables import consents, jobs, owners, voices
from understudy.voices.consent import levels
from understudy.voices.consent.log import Entry, after, files_of, parse
from understudy.voices.voice import Manifest


def read(connection: Connection, owner: str) -> tuple[Entry, ...]:
    """All entries of the owner, the chain checked. Raises ``consent-log-broken``."""
    lines = connection.scalars(
        select(consents.c.line).where(consents.c.owner == owner).order_by(consents.c.number)
    ).all()
    return parse(lines, "of this owner")


def append(
    connection: Connection,
    now: float,
    owner: str,
    voice: str,
    identity: str,
    decision: str,
    details: Mapping[str, Any],
) -> Entry:
    """Write a decision, in the transaction of `connection`."""
    # the owner's row is locked, so that two transactions don't write the same number
    connection.execute(select(owners.c.id).where(owners.c.id == owner).with_for_update())
    latest = select(consents.c.line).where(consents.c.owner == owner).order_by(consents.c.number.desc()).limit(1)
    line = connection.scalar(latest)
    previous = None if line is None else Entry(**json.loads(line))
    entry = after(previous, datetime.fromtimestamp(now, UTC), voice, identity, decision, details)
    connection.execute(consents.insert().values(owner=owner, number=entry.number, line=entry.line))
    return entry


def admit(connection: Connection, now: float, owner: str, name: str, manifest: Manifest) -> Manifest:
    """The manifest of a new voice with the record of its consent. Raises ``consent-revoked`` if it has recordings or a
    model of a voice whose consent was revoked."""
    files = files_of(manifest)
    for entry in read(connection, owner):
        if entry.decision == "revoked" and set(files) & set(entry.details["files"]):
            raise levels.revoked(name, entry.record)
    details = {"consent": manifest.consent, "files": files}
    entry = append(connection, now, owner, name, manifest.identity, "stated", details)
    return manifest.model_copy(update={"consent_record": entry.record})


def decide(connection: Connection, now: float, row: Row[Any], decision: str, details: Mapping[str, Any]) -> None:
    """Write a decision about the voice in `row` and, if it is a level, put it into the voice's manifest."""
    manifest = Manifest.model_validate(row.manifest)
    if manifest.consent_record is not None and manifest.consent_level == "revoked":
        raise levels.revoked(row.name, manifest.consent_record)
    entry = append(connection, now, row.owner, row.name, manifest.identity, decision, details)
    if decision in levels.LEVELS:
        changed = manifest.model_copy(update={"consent_record": entry.record}).model_dump(mode="json")
        connection.execute(voices.update().where(voices.c.id == row.id).values(manifest=changed))


def revoke(connection: Connection, now: float, row: Row[Any], reason: str) -> tuple[list[str], list[str]]:
    """Withdraw the consent for the voice in `row`, and for the owner's other voices that share a recording or the model
    with it: jobs with them end, and their results expire. Returns the identities of these voices, and the paths in the
    storage of what is to be removed after the transaction."""
    files = set(files_of(Manifest.model_validate(row.manifest)))
    ready = select(voices).where(voices.c.owner == row.owner, voices.c.state == "ready")
    identities, paths = [], []
    for voice in connection.execute(ready).all():
        manifest = Manifest.model_validate(voice.manifest)
        if manifest.consent_level == "revoked" or not files & set(files_of(manifest)):
            continue
        decide(connection, now, voice, "revoked", {"reason": reason[:500], "files": files_of(manifest)})
        connection.execute(voices.update().where(voices.c.id == voice.id).values(bytes=0))
        identities.append(manifest.identity)
        paths += [voice.path, *_end_jobs(connection, now, voice)]
    return identities, paths


def _end_jobs(connection: Connection, now: float, voice: Row[Any]) -> list[str]:
    """End what is made with the voice, and let expire what was; returns the paths of the results."""
    error = {
        "code": "consent-revoked",
        "message": f"The consent for the voice {voice.name!r} was revoked.",
        "hint": "Nothing can be made with it any more.",
    }
    mine = and_(jobs.c.owner == voice.owner, jobs.c.kind.in_(("cover", "training")), jobs.c.state != "failed")
    paths = []
    for job in connection.execute(select(jobs).where(mine)).all():
        if voice.id not in {job.voice, *job.request.get("singers", {}).values()}:
            continue
        connection.execute(jobs.update().where(jobs.c.id == job.id).values(error=error))
        if job.state in queue.ACTIVE:
            queue.cancel(connection, now, job, at_once=True)
        ended = {"state": "expired" if job.state == "done" else "cancelled", "result": None, "bytes": 0}
        connection.execute(jobs.update().where(jobs.c.id == job.id, jobs.c.state != "expired").values(**ended))
        paths.append(f"{voice.owner}/jobs/{job.id}")
    return paths


def revoked_voices(connection: Connection, since: float) -> list[tuple[str, str]]:
    """Owner and identity of every voice whose consent was revoked since then."""
    lines = select(consents.c.owner, consents.c.line).where(consents.c.line.like('%"decision":"revoked"%'))
    entries = [(str(row.owner), Entry(**json.loads(row.line))) for row in connection.execute(lines)]
    start = datetime.fromtimestamp(since, UTC)
    return [(owner, entry.identity) for owner, entry in entries if datetime.fromisoformat(entry.at) >= start]
