"""Sending stored files, whole, in part or not at all: one ``Range``, strong entity tags, conditions (RFC 9110)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, Header, Request
from fastapi.responses import Response, StreamingResponse

from understudy.errors import UnderstudyError
from understudy.services.api.problems import ApiError
from understudy.services.api.state import AppState
from understudy.services.queue.owners import Owner

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_HEADERS = {
    "ETag": "another one for other content",
    "Accept-Ranges": "`bytes`",
    "Content-Disposition": "the file's name",
    "Content-Range": "which part it is",
}


def file_response(*types: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that sends a file of one of these media types."""
    content = dict.fromkeys(types, _BINARY)
    headers = {name: {"description": text, "schema": {"type": "string"}} for name, text in _HEADERS.items()}
    part = headers.pop("Content-Range")
    return {
        200: {"description": "The file", "content": content, "headers": headers},
        206: {"description": "A part of it", "content": content, "headers": headers | {"Content-Range": part}},
        307: {"description": "It is at the address in `Location`, in a store, for a short time"},
        304: {"description": "The client has it: its entity tag is in If-None-Match"},
    }


AUDIO = file_response("audio/flac", "audio/wav", "audio/mpeg", "audio/mp4", "audio/ogg")
PAGE = file_response("text/html")


@dataclass(frozen=True)
class Wanted:
    """What of a file a request asks for, by the headers of these names; with `head` no content."""

    range: str | None
    if_range: str | None
    if_none_match: str | None
    head: bool


async def wanted(
    request: Request,
    range: Annotated[str | None, Header(description="bytes=0-999: a part of the file")] = None,
    if_range: Annotated[str | None, Header(description="an ETag: the part, if the file still has it")] = None,
    if_none_match: Annotated[str | None, Header(description="ETags: the file, unless it has one of them")] = None,
) -> Wanted:
    """The dependency behind `FileWanted`."""
    return Wanted(range, if_range, if_none_match, "head" in request.scope)


FileWanted = Annotated[Wanted, Depends(wanted)]


def send(app: AppState, owner: Owner, path: str, name: str, type: str, wanted: Wanted, tag: str) -> Response:
    """The owner's file at `path` of the storage, sent as `name`; `tag` is another one for other content. A ``Range``
    that isn't understood is ignored (RFC 9110)."""
    etag = f'"{hashlib.sha256(tag.encode()).hexdigest()[:32]}"'
    caching = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if is_one_of(etag, wanted.if_none_match):
        return Response(None, 304, caching)
    size = app.storage.size(path)
    if size is None:
        raise UnderstudyError("storage-missing", f"The file {name} is gone.", "Make it again.")
    start, stop, status = 0, size, 200
    # a part of another version than the client's would spoil its copy
    by_range = wanted.range is not None and not wanted.head and wanted.if_range in (None, etag)
    if by_range and (part := _parsed_range(wanted.range or "", size)) is not None:
        (start, stop), status = part, 206
    ascii_name = name.encode("ascii", "replace").decode().replace('"', "'").replace("\\", "_").replace("?", "_")
    disposition = f"inline; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(name, safe='')}"
    # a page is sent from here, with its policy; a HEAD is answered here, since an address is signed for a GET
    seconds = 0 if wanted.head or type.startswith("text/html") else app.settings.presigned_seconds
    if seconds and (address := app.storage.signed(path, seconds, type, disposition)):
        return Response(None, 307, {"Location": address, "Cache-Control": "no-store"})
    headers = caching | {
        "Accept-Ranges": "bytes",
        "Content-Length": str(stop - start),
        "Content-Disposition": disposition,
        "X-Content-Type-Options": "nosniff",
    }
    if type.startswith("text/html"):
        headers["Content-Security-Policy"] = "sandbox allow-scripts; default-src 'none'; " + _PAGE
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    if wanted.head:
        return Response(None, status, headers, type)
    app.transfers.check(owner.id, owner.limit("transfers", app.settings))
    return StreamingResponse(_blocks(app, owner, path, start, stop), status, headers, type)


async def _blocks(app: AppState, owner: Owner, path: str, start: int, stop: int) -> AsyncIterator[bytes]:
    """The bytes from `start` to `stop`, each block read on a place of the owner's: the store may be slow."""
    blocks = app.storage.read(path, start, stop)
    with app.transfers.one(owner.id):
        try:
            while block := await app.storing.run(owner.id, next, blocks, b""):
                yield block
        finally:
            await app.storing.run(owner.id, blocks.close)


def is_one_of(etag: str, if_none_match: str | None) -> bool:
    """Whether the header names the entity tag (weak comparison) or is ``*``."""
    header = (if_none_match or "").strip()
    return header == "*" or etag.removeprefix("W/") in re.findall(r'"[^"]*"', header)


_PAGE = "script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; media-src data:; font-src data:"


def _parsed_range(header: str, size: int) -> tuple[int, int] | None:
    """(start, stop) in bytes; None for a header that is ignored. Raises ``range-invalid`` outside of the file."""
    found = re.fullmatch(r"\s*bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*", header)
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if first == "":
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= size or start >= stop:
        raise ApiError(
            "range-invalid",
            f"The file has {size} bytes; the range {header[:60]!r} is outside of it.",
            "Ask for a part that is there.",
            {"Content-Range": f"bytes */{size}"},
        )
    return start, stop
