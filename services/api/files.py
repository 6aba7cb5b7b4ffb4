"""Sending stored files, whole or in part: ``Range`` with one range, strong entity tags (RFC 9110)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Header
from fastapi.responses import Response, StreamingResponse

from understudy.errors import UnderstudyError
from understudy.services.api.problems import ApiError
from understudy.services.api.state import AppState
from understudy.services.queue.owners import Owner

Range = Annotated[str | None, Header(description="bytes=0-999: a part of the file")]


_BINARY = {"schema": {"type": "string", "format": "binary"}}
# the first type is for client generators, which recognise files only by it
_CONTENT = {"application/octet-stream": _BINARY, "*/*": _BINARY}
FILE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file", "content": _CONTENT},
    206: {"description": "A part of it", "content": _CONTENT},
}


def send(app: AppState, owner: Owner, path: str, name: str, type: str, range: str | None, tag: str) -> Response:
    """The owner's file at `path` of the storage, sent as `name`. A ``Range`` that isn't understood is ignored
    (RFC 9110)."""
    app.transfers.check(owner.id, owner.limit("transfers", app.settings))
    size = app.storage.size(path)
    if size is None:
        raise UnderstudyError("storage-missing", f"The file {name} is gone.", "Make it again.")
    start, stop, status = 0, size, 200
    if range is not None and (part := _parsed_range(range, size)) is not None:
        (start, stop), status = part, 206
    ascii_name = name.encode("ascii", "replace").decode().replace('"', "'").replace("\\", "_").replace("?", "_")
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Length": str(stop - start),
        "Content-Disposition": f"inline; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(name, safe='')}",
        "ETag": f'"{tag[:32]}"',
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    if type.startswith("text/html"):
        headers["Content-Security-Policy"] = "sandbox allow-scripts; default-src 'none'; " + _PAGE
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
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
