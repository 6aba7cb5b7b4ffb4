"""Songs by their URL: fetched by the server, where the setting `song_urls` is on.

What may be called is what webhooks may call (`outbound.py`), also after each redirect. Size, time and redirects are
bounded. Threads of their own wait for other servers, a share of them for each owner. The file's content decides what it
is, as with one that was sent.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import PurePosixPath
from urllib.parse import unquote, urljoin
from uuid import uuid4

from understudy.errors import UnderstudyError
from understudy.services.api.problems import ApiError
from understudy.services.api.state import AppState
from understudy.services.api.uploads import Sender, Upload, harmless, sent_name, too_big
from understudy.services.queue import outbound
from understudy.services.queue.settings import ServerSettings

_REDIRECTS = 5
_BLOCK = 256 << 10
_NOT_AUDIO = ("text/", "image/", "application/json", "application/xml", "application/xhtml+xml")


@asynccontextmanager
async def fetched(app: AppState, sender: Sender, url: str, field: str, limit: int) -> AsyncIterator[Upload]:
    """The file at `url`, at most `limit` bytes, as if it had been sent in `field`. It is deleted at the end of the
    ``with`` block unless it was moved.

    Raises ``song-urls-off``, ``url-refused`` for an address that may not be called, ``url-failed``, ``file-too-big``,
    ``too-many-transfers`` and ``storage-used-up``.
    """
    if not app.settings.song_urls:
        raise ApiError("song-urls-off", "This server fetches no songs by their URL.", "Send the file itself.")
    outbound.check(url, app.settings, _refused)
    app.transfers.check(sender.id, sender.transfers)
    upload = Upload(field, "song", app.incoming / uuid4().hex)
    with app.transfers.one(sender.id):
        try:
            hold = partial(app.transfers.hold, sender.id, room=sender.room)
            await app.fetching.run(sender.id, _fetch, url, upload, app.settings, limit, hold)
            yield upload
        finally:
            upload.close()
            upload.path.unlink(missing_ok=True)
            app.transfers.release(sender.id, upload.bytes)


def _fetch(url: str, upload: Upload, settings: ServerSettings, limit: int, hold: Callable[[int], None]) -> None:
    end = time.monotonic() + settings.song_url_seconds
    try:
        for _ in range(_REDIRECTS + 1):
            parts = outbound.check(url, settings, _refused)
            connection = outbound.connection(parts, settings, end - time.monotonic(), _refused)
            with connection.until(end):
                connection.request("GET", connection.target, headers={"User-Agent": "Understudy", "Accept": "audio/*"})
                answer = connection.getresponse()
                if answer.status not in (301, 302, 303, 307, 308):
                    _receive(answer, upload, limit, hold, end)
                    disposition = answer.headers.get("Content-Disposition", "")
                    name = sent_name(disposition) or unquote(PurePosixPath(parts.path).name)
                    upload.name = harmless(name, "song")
                    return
                target = urljoin(url, answer.headers.get("Location", ""))
                if parts.scheme == "https" and not target.startswith("https:"):
                    raise _refused("it leads from https to http")
                url = target
    except (OSError, http.client.HTTPException) as error:
        why = "it took too long" if time.monotonic() >= end else f"the connection failed ({type(error).__name__})"
        raise _failed(why) from error
    raise _failed(f"it redirects more than {_REDIRECTS} times")


def _receive(
    answer: http.client.HTTPResponse, upload: Upload, limit: int, hold: Callable[[int], None], end: float
) -> None:
    if answer.status != 200:
        raise _failed(f"its server answers {answer.status}")
    if (kind := answer.headers.get_content_type()).startswith(_NOT_AUDIO):
        raise _failed(f"there is no sound, but {kind}")
    if answer.length is not None and answer.length > limit:
        raise too_big(limit)
    while block := answer.read(_BLOCK):
        if upload.bytes + len(block) > limit:
            raise too_big(limit)
        hold(len(block))
        upload.write(block)
    if answer.length or time.monotonic() >= end:  # a part of it is missing; or the deadline closed the connection
        raise _failed("it took too long" if time.monotonic() >= end else "it broke off before its end")
    upload.close()


def _refused(why: str) -> UnderstudyError:
    return ApiError("url-refused", f"The URL can't be fetched: {why}.", "Give a public address, or send the file.")


def _failed(why: str) -> UnderstudyError:
    return ApiError("url-failed", f"The song can't be fetched: {why}.", "Check the URL, or send the file itself.")
