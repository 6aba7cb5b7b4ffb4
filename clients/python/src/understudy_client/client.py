"""What generated functions don't do: files, waiting, downloads, sending again."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Literal, Protocol, Self, TypeVar
from uuid import uuid4

import httpx
from httpx_sse import connect_sse

from understudy_client.errors import ApiError, JobFailed
from understudy_client.openapi import AuthenticatedClient
from understudy_client.openapi.api.covers import make_cover
from understudy_client.openapi.api.separations import make_separation
from understudy_client.openapi.api.songs import upload_song
from understudy_client.openapi.api.uploads import begin_upload
from understudy_client.openapi.api.voices import make_voice
from understudy_client.openapi.models import (
    CoverRequest,
    CoverSettings,
    Job,
    JobEvent,
    Problem,
    ResultFile,
    SeparationRequest,
    Song,
    SongSource,
    Training,
    Voice,
    VoiceForm,
)
from understudy_client.openapi.types import UNSET, File
from understudy_client.version import __version__

FilePath = str | os.PathLike[str]
Answer = TypeVar("Answer")
Item = TypeVar("Item")
Waiting = TypeVar("Waiting", Job, Training, Voice)
TRIES = 4
_HELD = 10  # tries, 5 s apart, of an upload that another connection holds
_SILENCE = 45.0  # seconds without a byte after which an event stream is dead; the server sends one every 15


class PageOf(Protocol[Item]):
    """A page of a list."""

    items: list[Item]
    next_: str | None


def ok(answer: Answer | Problem | None) -> Answer:
    """What a generated function returned. Their types have problems in them, too; these were raised as `ApiError`."""
    assert answer is not None
    assert not isinstance(answer, Problem)
    return answer


class Understudy:
    """The server at `address`, asked with an API `key` (None: a server without keys). `timeout`: seconds without a byte
    after which a request has failed.

    `api` is the client that the generated functions take: ``show_account.sync(client=server.api)``. Their errors are
    raised as `ApiError`, too.
    """

    def __init__(
        self, address: str = "http://127.0.0.1:8000", key: str | None = None, *, timeout: float = 120.0
    ) -> None:
        address = address.rstrip("/")
        headers = {"User-Agent": f"understudy-client-python/{__version__}"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        shared: dict[str, Any] = {"base_url": address, "headers": headers, "timeout": timeout}
        self._http = httpx.Client(**shared, event_hooks={"response": [_raise_problem]})
        waits = httpx.AsyncClient(**shared, event_hooks={"response": [_raise_problem_async]})
        self.api = AuthenticatedClient(address, token=key or "")
        self.api.set_httpx_client(self._http).set_async_httpx_client(waits)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def upload_song(self, path: FilePath) -> Song:
        """Send a song once, for many covers. After a lost connection the upload goes on where it broke."""
        path = Path(path)
        size, name = path.stat().st_size, f"filename {base64.b64encode(path.name.encode()).decode()}"
        upload = self._once(lambda key: begin_upload.sync(client=self.api, upload_length=size, upload_metadata=name))
        address, whole = f"/v1/uploads/{upload.id}", SongSource(upload=upload.id)
        try:
            self._send_pieces(path, size, address)
            return self._once(lambda key: upload_song.sync(client=self.api, body=whole, idempotency_key=key))
        except Exception:
            with suppress(httpx.TransportError, ApiError):  # it would count among its owner's until it expires
                self._http.delete(address)
            raise

    def add_voice(self, name: str, *recordings: FilePath, consent: Literal["self", "granted"]) -> Voice:
        """A voice from recordings, 15 to 40 s in total; `wait` for it. `consent`: it is your own voice (``self``), or
        its owner has agreed (``granted``)."""

        def send(key: str) -> Voice | Problem | None:
            with ExitStack() as stack:
                files = [File(stack.enter_context(open(path, "rb")), Path(path).name) for path in recordings]
                form = VoiceForm(name=name, consent=consent, recordings=files)
                return make_voice.sync(client=self.api, body=form, idempotency_key=key)

        return self._once(send)

    def make_cover(
        self,
        song: Song | FilePath,
        voice: str | list[str],
        settings: CoverSettings | None = None,
        *,
        preset: str | None = None,
        webhook: str | None = None,
    ) -> Job:
        """A cover of a song, or of a file that is uploaded first; `wait` for it. `voice`: by id or name, several as
        ``["lead=nova", "backing=ada"]``. `settings`: what differs from the preset. `send` takes all else."""
        id = self._id(song)
        given = UNSET if settings is None else settings
        return self.send(CoverRequest(song=id, voice=voice, settings=given, preset=preset, webhook=webhook))

    def separate(
        self, song: Song | FilePath, settings: CoverSettings | None = None, *, preset: str | None = None
    ) -> Job:
        """The stems of a song, or of a file that is uploaded first; `wait` for them."""
        given = UNSET if settings is None else settings
        return self.send(SeparationRequest(song=self._id(song), settings=given, preset=preset))

    def send(self, request: CoverRequest | SeparationRequest) -> Job:
        """Submit a job."""
        if isinstance(request, CoverRequest):
            cover = request
            return self._once(lambda key: make_cover.sync(client=self.api, body=cover, idempotency_key=key))
        separation = request
        return self._once(lambda key: make_separation.sync(client=self.api, body=separation, idempotency_key=key))

    def events(self, job: Job | Training | Voice, after: int = 0) -> Iterator[JobEvent]:
        """The events after the one numbered `after`, until the end. A lost connection is made again, and goes on where
        it broke, as long as it takes."""
        failures = 0
        while True:
            began = after
            try:
                headers = {"Last-Event-ID": str(after)}
                address = str(self._url(job.events))
                with connect_sse(self._http, "GET", address, headers=headers, timeout=_SILENCE) as source:
                    if source.response.status_code == 204:
                        return
                    for sent in source.iter_sse():
                        if sent.data:
                            after, failures = int(sent.id), 0
                            found = {"number": after, "type": sent.event, "data": json.loads(sent.data)}
                            yield JobEvent.from_dict(found)
                if after == began:
                    return
            except (httpx.TransportError, ApiError) as error:
                failures += 1
                time.sleep(_pause(error, failures))

    def wait(self, job: Waiting, listen: Callable[[JobEvent], None] = lambda event: None) -> Waiting:
        """The job, training or voice as soon as it has ended; `listen` hears its events. Raises `JobFailed` if it has
        no result."""
        for event in self.events(job):
            listen(event)
        ended = self.refresh(job)
        if ended.state not in ("done", "ready"):
            raise JobFailed(ended)
        return ended

    def refresh(self, job: Waiting) -> Waiting:
        """How it is now."""
        answer = self._http.get(self._url(job.events.removesuffix("/events")))
        return type(job).from_dict(answer.json())

    def download(self, file: ResultFile, path: FilePath) -> Path:
        """Save a file of a result, ``cover.audio`` for example, as `path`, or under its own name in the folder `path`.
        A broken download goes on where it stopped; what is at `path` is whole."""
        target = Path(path)
        if target.is_dir():
            target /= Path(file.name).name
        part = target.with_name(f".{target.name}.{uuid4().hex[:8]}")
        tag, failures = "", 0
        try:
            while True:
                size = part.stat().st_size if part.exists() else 0
                headers = {"Range": f"bytes={size}-", "If-Range": tag} if size else {}
                try:
                    with self._http.stream("GET", self._url(file.href), headers=headers) as answer:
                        tag = answer.headers["ETag"]
                        with part.open("ab" if answer.status_code == 206 else "wb") as saved:
                            for block in answer.iter_bytes():
                                saved.write(block)
                    return part.replace(target)
                except (httpx.TransportError, ApiError) as error:
                    failures += 1
                    if failures == TRIES:
                        raise
                    time.sleep(_pause(error, failures))
        finally:
            part.unlink(missing_ok=True)

    def every(self, pages: Callable[..., PageOf[Item] | Problem | None], **filters: Any) -> Iterator[Item]:
        """All items of a list, newest first: ``server.every(list_covers.sync, state="done")``."""
        cursor: Any = UNSET
        while cursor is not None:
            page = ok(pages(client=self.api, cursor=cursor, limit=100, **filters))
            yield from page.items
            cursor = page.next_

    def _send_pieces(self, path: Path, size: int, address: str) -> None:
        """Send a file to its upload at `address`, as often as it breaks off and something of it has arrived."""
        begun, failures = 0, 0
        while True:
            try:
                if failures and (there := int(self._http.get(address).json()["received"])) > begun:
                    begun, failures = there, 0
                headers = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}
                headers |= {"Upload-Offset": str(begun), "Content-Length": str(size - begun)}
                with path.open("rb") as file:
                    file.seek(begun)
                    self._http.patch(address, content=file, headers=headers)
                return
            except (httpx.TransportError, ApiError) as error:
                failures += 1
                # 409, 423: what was sent over a lost connection is still being written, for half a minute at most
                held = isinstance(error, ApiError) and error.status in (409, 423)
                if failures >= (_HELD if held else TRIES):
                    raise
                time.sleep(5.0 if held else _pause(error, failures))

    def _url(self, href: str) -> httpx.URL:
        """Links of the server begin at its root."""
        return self._http.base_url.join(href)

    def _id(self, song: Song | FilePath) -> str:
        return (song if isinstance(song, Song) else self.upload_song(song)).id

    def _once(self, send: Callable[[str], Answer | Problem | None]) -> Answer:
        """Send a request again when its connection breaks. The server carries it out once, by its key."""
        key, failures = uuid4().hex, 0
        while True:
            try:
                return ok(send(key))
            except (httpx.TransportError, ApiError) as error:
                failures += 1
                if failures == TRIES:
                    raise
                time.sleep(_pause(error, failures))


def _pause(error: httpx.TransportError | ApiError, failures: int) -> float:
    """Seconds until a request may be sent again. Raises the error of one that would be refused again."""
    if isinstance(error, ApiError):
        if error.status not in (423, 429, 502, 503, 504):
            raise error
        if error.retry_after is not None:
            return error.retry_after
    return min(30.0, 0.5 * 2.0**failures)


def _raise_problem(response: httpx.Response) -> None:
    if response.is_error:
        response.read()
        raise ApiError(response)


async def _raise_problem_async(response: httpx.Response) -> None:
    if response.is_error:
        await response.aread()
        raise ApiError(response)
