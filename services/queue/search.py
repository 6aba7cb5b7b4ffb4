"""How jobs are found: by terms, each of which is a row with an index of its own, and by what is in their titles.

A term is a song that the job works on, a voice that sings, or a pair of its metadata. Rows are in the order of the
jobs' creation, so a page of what has a term is read from the index, however many jobs there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.services.queue.tables import jobs

TITLE = jobs.c.folded.type.length  # type: ignore[attr-defined]


def song_term(id: str) -> str:
    return f"song:{id}"


def voice_term(id: str) -> str:
    return f"voice:{id}"


def metadata_term(name: str, value: str) -> str:
    return f"metadata:{name}:{value}"


def folded(text: str) -> str:
    """The text without the difference of upper and lower case."""
    return text.casefold()[:TITLE]


def terms_of(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows that make a job findable; `job`: the values of its own row."""
    request = job["request"]
    found = {song_term(id) for id in (job.get("song"), *request.get("inputs", {}).values()) if id}
    found |= {voice_term(id) for id in (job.get("voice"), *request.get("singers", {}).values()) if id}
    found |= {metadata_term(name, value) for name, value in (job.get("metadata") or {}).items()}
    about = {"job": job["id"], "owner": job["owner"], "created": job["created"]}
    return [{**about, "term": term} for term in sorted(found)]
