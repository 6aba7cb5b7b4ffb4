"""Uploads: multipart bodies streamed to disk, with limits on everything that their sender chooses.

The body is parsed block by block as it arrives: files go to disk and are hashed on the way, so that memory doesn't grow
with their size. That happens in a thread, in pieces of about a megabyte, so that a slow disk doesn't stop the event
loop. What a sender has on disk is counted as it grows: it is never more than its room.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
import unicodedata
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from email.message import Message
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from understudy.disk import is_full
from understudy.errors import UnderstudyError
from understudy.services.api.bodies import TEXT_LIMIT, allow, check_text
from understudy.services.api.problems import ApiError
from understudy.services.api.state import AppState
from understudy.services.queue.owners import Owner, stored_bytes
from understudy.wording import counted

_HEADER_LIMIT = 8 << 10
_OVERHEAD = 1 << 20  # bytes of a form that are no files, at most
_BLOCK = 1 << 20
_SILENCE = 30.0  # seconds without a byte after which an upload counts as stalled
_SLOWEST = 4096  # bytes per second that an upload must reach on average, after its first minute


class Upload:
    """A file that was sent: the form's `field`, the sender's `name` for it (made harmless), its `path` here, and its
    size in `bytes`."""

    def __init__(self, field: str, name: str, path: Path) -> None:
        self.field, self.name, self.path = field, name, path
        self.bytes = 0
        self._digest = hashlib.sha256()
        self._file = path.open("xb")

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.bytes += len(data)

    def close(self) -> None:
        self._file.close()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


@dataclass
class Form:
    """The contents of a body. `fingerprint` is the same for the same path, fields and file contents."""

    path: str
    fields: dict[str, Any] = field(default_factory=dict)
    files: list[Upload] = field(default_factory=list)

    @property
    def fingerprint(self) -> str:
        parts = [self.path, self.fields, [[file.field, file.name, file.sha256] for file in self.files]]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True)
class FormRules:
    """What a form may hold: at most `most` files of at most `limit` bytes each, in the fields `files`. The fields in
    `json` hold JSON; those in `repeated` may come several times and become lists."""

    files: Collection[str]
    limit: int
    most: int
    json: Collection[str] = ()
    repeated: Collection[str] = ()


@dataclass(frozen=True)
class Sender:
    """Who sends a body: an owner, or an address. It may have `transfers` uploads and downloads at a time, and `room`
    bytes of uploads on disk."""

    id: str
    transfers: int
    room: float


async def owner_as_sender(app: AppState, owner: Owner, key: str | None) -> Sender:
    """The room is what is left of the owner's storage; all of it for a request with an idempotency `key`, which may
    repeat one whose files are stored already."""

    def stored() -> int:
        with app.database.read() as connection:
            return stored_bytes(connection, owner.id)

    used = 0 if key else await app.requests.run(owner.id, stored)
    room = owner.limit("storage_bytes", app.settings) - used
    return Sender(owner.id, owner.limit("transfers", app.settings), room)


@asynccontextmanager
async def received(request: Request, app: AppState, sender: Sender, rules: FormRules) -> AsyncIterator[Form]:
    """The body of `request`: a JSON object, or a form that keeps the `rules`, whose files are in the folder of uploads
    in progress.

    Files that the ``with`` block doesn't move out of there are deleted at its end, whatever happens. Raises
    ``too-many-transfers`` and ``storage-used-up`` for more than the `sender` may have at a time.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind == b"application/json":
        yield Form(request.url.path, await _json(request))
        return
    if kind != b"multipart/form-data":
        text = "Send multipart/form-data or application/json."
        raise ApiError("media-type", "The body has the wrong content type.", text)
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 200:
        raise ApiError("upload-malformed", "The multipart body names no boundary.", "Let the HTTP library set it.")
    length = request.headers.get("content-length", "")
    size = int(length) - _OVERHEAD if length.isascii() and length.isdigit() else 0
    if size > rules.most * rules.limit:
        raise too_big(rules.limit)
    allow(request)
    app.transfers.check(sender.id, sender.transfers)
    app.transfers.check_room(sender.id, size, sender.room)
    hold = partial(app.transfers.hold, sender.id, room=sender.room)
    reader = _FormReader(request.url.path, app.incoming, boundary, rules, hold)
    with app.transfers.one(sender.id):
        try:
            await _receive(request, app, sender, reader)
            for name in rules.json:
                if name in reader.form.fields:
                    reader.form.fields[name] = _object(reader.form.fields[name], name)
            yield reader.form
        finally:
            app.transfers.release(sender.id, reader.discard())


async def _json(request: Request) -> dict[str, Any]:
    try:
        return _object(await request.body(), "body")
    except ClientDisconnect:
        raise _truncated() from None


def _object(text: str | bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ApiError("request-malformed", f"The {name} is no JSON: {error}.", "Send a JSON object.") from None
    if not isinstance(value, dict):
        raise ApiError("request-invalid", f"The {name} is no JSON object.", "Send a JSON object.")
    check_text(value, name)
    return value


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no number in JSON")


async def blocks(request: Request) -> AsyncIterator[bytes]:
    """The body in large blocks, as it arrives. Raises an error if it stops for long, comes too slowly or breaks off,
    and if the server is about to stop; what had arrived by then comes before that error."""
    waiting = bytearray()
    try:
        async for block in _blocks(request):
            waiting += block
            if len(waiting) >= _BLOCK:
                yield bytes(waiting)
                waiting.clear()
    except ApiError:
        if waiting:
            yield bytes(waiting)
        raise
    if waiting:
        yield bytes(waiting)


async def _blocks(request: Request) -> AsyncIterator[bytes]:
    """The blocks of the body as they arrive."""
    stream, begun, received = request.stream().__aiter__(), time.monotonic(), 0
    stopping = asyncio.ensure_future(request.app.state.services.stopping.wait())
    try:
        while True:
            block = asyncio.ensure_future(anext(stream))
            await asyncio.wait((block, stopping), timeout=_SILENCE, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done() or not block.done():
                block.cancel()
            if stopping.done():
                raise ApiError("server-stopping", "The server is about to stop.", "Send it again in a minute.")
            if not block.done():
                raise TimeoutError
            received += len(block.result())
            if time.monotonic() - begun > 60 + received / _SLOWEST:
                raise TimeoutError
            yield block.result()
    except StopAsyncIteration:
        return
    except TimeoutError:
        raise ApiError("upload-too-slow", "The upload stalled.", "Send it again.") from None
    except ClientDisconnect:
        raise _truncated() from None
    finally:
        stopping.cancel()


async def _receive(request: Request, app: AppState, sender: Sender, reader: _FormReader) -> None:
    with explained_when_full():
        async for block in blocks(request):
            await app.storing.run(sender.id, reader.feed, block)
        if not reader.complete:
            raise _truncated()


@contextmanager
def explained_when_full() -> Iterator[None]:
    """A full disk becomes ``disk-full``."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise UnderstudyError(
                "disk-full", "The server's disk is full.", "Try again later, or delete what you no longer need."
            ) from error
        raise


class _FormReader:
    """Collects the parts of a multipart body: fields in `form`, files on disk."""

    def __init__(self, path: str, folder: Path, boundary: bytes, rules: FormRules, hold: Callable[[int], None]) -> None:
        self.form = Form(path)
        self._folder, self._rules, self._hold = folder, rules, hold
        self.complete = False
        self._headers: dict[str, str] = {}
        self._name, self._value = bytearray(), bytearray()
        self._size = 0
        self._texts = 0  # bytes of all text fields
        self._held = 0  # bytes on disk
        self._fields = 0
        self._text: bytearray | None = None
        self._file: Upload | None = None
        self._field = ""
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": partial(self._header, self._name),
                "on_header_value": partial(self._header, self._value),
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_end,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_end": self._on_end,
            },
        )

    def feed(self, block: bytes) -> None:
        try:
            self._parser.write(block)
        except MultipartParseError as error:
            raise ApiError("upload-malformed", f"The multipart body is broken: {error}.", "Send it again.") from None

    def discard(self) -> int:
        """Delete the files that are still there. Returns the bytes that were held for all of them."""
        for upload in self.form.files:
            upload.close()
            upload.path.unlink(missing_ok=True)
        return self._held

    def _begin(self) -> None:
        self._fields += 1
        if self._fields > self._rules.most + 50:
            raise ApiError("upload-malformed", "The form has too many fields.", "Send only those that are needed.")
        self._headers, self._size = {}, 0
        self._text = self._file = None

    def _header(self, text: bytearray, data: bytes, start: int, end: int) -> None:
        text += data[start:end]
        self._size += end - start
        if self._size > _HEADER_LIMIT:
            raise ApiError("upload-malformed", "A part has too long headers.", "Send shorter names.")

    def _header_end(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._name.clear()
        self._value.clear()

    def _headers_end(self) -> None:
        disposition = self._headers.get("content-disposition", "")
        kind, options = parse_options_header(disposition)
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        if kind != b"form-data" or not self._field:
            raise ApiError("upload-malformed", "A part of the form has no name.", "Name every field.")
        self._size = 0
        file_name = sent_name(disposition)
        is_file = b"filename" in options or file_name is not None
        if self._field in self._rules.files and is_file:
            if len(self.form.files) >= self._rules.most:
                text = f"The form has more than {counted(self._rules.most, 'file')}."
                raise ApiError("too-many-files", text, "Send fewer.")
            name = harmless(file_name or "", self._field)
            self._file = Upload(self._field, name, self._folder / uuid4().hex)
            self.form.files.append(self._file)
        elif is_file:
            text = f"No file is expected in the field {self._field[:80]!r}."
            raise ApiError("request-invalid", text, f"Files go into: {', '.join(sorted(self._rules.files))}.")
        elif self._field in self.form.fields and self._field not in self._rules.repeated:
            raise ApiError("request-invalid", f"The field {self._field[:80]!r} is there twice.", "Send it once.")
        else:
            self._text = bytearray()

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._file is not None:
            if self._size > self._rules.limit:
                raise too_big(self._rules.limit)
            self._hold(end - start)
            self._held += end - start
            self._file.write(data[start:end])
        elif self._text is not None:
            self._texts += end - start
            if self._texts > TEXT_LIMIT:
                raise ApiError("body-too-large", f"The field {self._field[:80]!r} is too long.", "Shorten it.")
            self._text += data[start:end]

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()
        elif self._text is not None:
            try:
                text = self._text.decode("utf-8")
                check_text([self._field, text], "form")
                if self._field in self._rules.repeated:
                    self.form.fields.setdefault(self._field, []).append(text)
                else:
                    self.form.fields[self._field] = text
            except UnicodeDecodeError:
                text = f"The field {self._field[:80]!r} is not UTF-8."
                raise ApiError("request-malformed", text, "Send text as UTF-8.") from None

    def _on_end(self) -> None:
        self.complete = True


def sent_name(disposition: str) -> str | None:
    """The name in a header ``Content-Disposition``: in ``filename``, or in ``filename*`` (RFC 8187), which some clients
    send alone; None if there is none."""
    if name := parse_options_header(disposition)[1].get(b"filename", b"").decode("utf-8", "replace"):
        return name
    header = Message()
    header["Content-Disposition"] = disposition
    try:
        return header.get_filename()
    except ValueError:  # there is one, in an encoding that can't be
        return ""


def harmless(name: str, default: str) -> str:
    """A file name as a plain name: its last part, printable, no leading dots, at most 120 characters and 200 bytes."""
    name = unicodedata.normalize("NFC", name.replace("\\", "/").rsplit("/", 1)[-1])
    name = "".join(letter if letter.isprintable() and letter not in '<>:"|?*' else "_" for letter in name)
    name = name.strip().lstrip(".")
    stem, dot, suffix = name.rpartition(".")
    if dot and len(suffix) <= 8:
        stem, suffix = stem[:110], f".{suffix}"
    else:
        stem, suffix = name[:110], ""
    while len(stem.encode("utf-8", "replace")) > 180:
        stem = stem[:-1]
    return (stem.strip() or default) + suffix


def too_big(limit: int) -> ApiError:
    shown = f"{limit >> 20} MB" if limit >= 1 << 20 else f"{limit} bytes"
    return ApiError("file-too-big", f"A file is larger than {shown}.", "Send a compressed format: flac, m4a or mp3.")


def _truncated() -> ApiError:
    return ApiError("upload-truncated", "The upload broke off before its end.", "Send it again.")
