"""``GET /v1/jobs``, and what every list of jobs can be searched by."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime
from sqlalchemy import Connection, Row, Select, func, select

from understudy.services.api import answers
from understudy.services.api.auth import Reader
from understudy.services.api.pages import Cursor, Item, Page, Size, page
from understudy.services.api.problems import ApiError, documented
from understudy.services.api.state import App, AppState
from understudy.services.api.voices import find_voice
from understudy.services.queue.owners import Owner
from understudy.services.queue.search import folded, metadata_term, song_term, voice_term
from understudy.services.queue.tables import jobs, terms

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_Pair = Annotated[str, Query(pattern=r"^[A-Za-z0-9_.-]{1,40}:[\s\S]{0,200}$", max_length=241)]

_MANY = 1000


@dataclass(frozen=True)
class Search:
    """What a list of jobs is narrowed to; all of it must hold."""

    song: Annotated[str | None, Query(max_length=60, description="id of a song that they work on")] = None
    voice: Annotated[str | None, Query(max_length=64, description="id or name of a voice that sings")] = None
    metadata: Annotated[list[_Pair] | None, Query(max_length=5, description="NAME:VALUE of their metadata")] = None
    text: Annotated[str | None, Query(min_length=1, max_length=100, description="a part of the title")] = None
    since: Annotated[AwareDatetime | None, Query(description="made then or later")] = None
    until: Annotated[AwareDatetime | None, Query(description="made before")] = None


Searched = Annotated[Search, Depends()]


def listed(
    app: AppState,
    owner: Owner,
    kinds: Collection[str],
    state: str | None,
    search: Search,
    cursor: str | None,
    size: int,
    show: Callable[[Row[Any]], Item],
) -> Page[Item]:
    """A page of the owner's jobs of these kinds, newest first."""
    with app.database.read() as connection:
        wanted = _rarest_first(connection, owner, _terms(connection, owner, search), state)
    query, order = select(jobs.c.id).where(jobs.c.kind.in_(kinds)), (jobs.c.created, jobs.c.id)
    first = wanted[0] if wanted else None
    if first is None:
        query = query.where(jobs.c.owner == owner.id)
    else:  # the rows of this term give the order
        query = query.join(terms, terms.c.job == jobs.c.id)
        query = query.where(terms.c.owner == owner.id, terms.c.term == first)
        order = (terms.c.created, terms.c.job)
    for term in wanted:
        if term not in (None, first):
            other = terms.alias()
            query = query.where(select(other.c.job).where(other.c.job == jobs.c.id, other.c.term == term).exists())
    if state:
        query = query.where(jobs.c.state == state)
    if search.text is not None:
        query = query.where(jobs.c.folded.contains(folded(search.text), autoescape=True))
    if search.since is not None:
        query = query.where(order[0] >= search.since.timestamp())
    if search.until is not None:
        query = query.where(order[0] < search.until.timestamp())
    return page(app.database, query, jobs, cursor, size, show, order, select(jobs))


@router.get("", responses=documented(400, 404, 422))
def list_jobs(
    app: App,
    owner: Reader,
    search: Searched,
    kind: Literal["cover", "separation"] | None = None,
    state: answers.State | None = None,
    cursor: Cursor = None,
    size: Size = 20,
) -> Page[answers.Job]:
    """Your covers and separations, newest first."""
    kinds = ("cover", "separation") if kind is None else (kind,)
    return listed(app, owner, kinds, state, search, cursor, size, answers.job)


def _terms(connection: Connection, owner: Owner, search: Search) -> list[str]:
    """What is searched. Raises ``voice-unknown``."""
    found = [metadata_term(*pair.split(":", 1)) for pair in search.metadata or ()]
    if search.song is not None:
        found.append(song_term(search.song))
    if search.voice is not None:
        found.append(voice_term(_voice(connection, owner, search.voice)))
    return found


def _rarest_first(connection: Connection, owner: Owner, wanted: list[str], state: str | None) -> list[str | None]:
    """The terms, and None for the `state`: first what the fewest jobs have. No more than `_MANY` are counted."""
    rows: dict[str | None, Select[Any]] = {
        term: select(terms.c.job).where(terms.c.owner == owner.id, terms.c.term == term) for term in wanted
    }
    if state:
        rows[None] = select(jobs.c.id).where(jobs.c.owner == owner.id, jobs.c.state == state)
    if len(rows) < 2:
        return list(rows)
    counted = {
        key: connection.scalar(select(func.count()).select_from(query.limit(_MANY).subquery())) or 0
        for key, query in rows.items()
    }
    return sorted(counted, key=lambda key: counted[key])


def _voice(connection: Connection, owner: Owner, name: str) -> str:
    """The id of the voice. One that was deleted is found by its id alone."""
    try:
        return str(find_voice(connection, owner, name).id)
    except ApiError:
        if name.startswith("voice_"):
            return name
        raise
