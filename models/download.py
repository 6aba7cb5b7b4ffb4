"""Downloads one file: resumed where it broke off, checked before it gets its name.

HTTP as in RFC 9110: ``Range`` with ``If-Range`` (sections 13.1.5 and 14) goes on with what an earlier attempt left in
``FILE.part``, as long as the server vouches with the same strong validator or the whole is checked against a hash.
"""

from __future__ import annotations

import json
import os
import shutil
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx

from understudy.context import Context
from understudy.disk import explained
from understudy.errors import Cancelled, UnderstudyError
from understudy.models.catalogue import LOOPBACK, File, check_url
from understudy.models.hashes import file_hash

LARGEST = 20 << 30  # bytes of any model
RESERVE = 256 << 20  # bytes that stay free on the disk
TIMEOUT = 20.0  # seconds without a byte after which a connection counts as cut
PAUSES = (1.0, 2.0, 4.0)  # seconds before another attempt, as long as none brings anything new
REDIRECTIONS = 6


class _Cut(Exception):
    """The connection was interrupted; the bytes received stay in the part."""


class _Unreachable(Exception):
    """There was no connection."""


def download(file: File, target: Path, context: Context, by_hand: str) -> str:
    """Download `file` to the path `target` (its folder exists) and return its SHA-256 in hex.

    The bytes are collected in ``TARGET.part``, which stays when the work is cancelled or the network fails, and is
    continued next time. `by_hand` is the hint for users who can't reach the source. Raises `UnderstudyError`:
    ``model-address``, ``model-offline``, ``model-source`` (the server doesn't have it or has something else),
    ``model-interrupted``, ``model-hash``, ``disk-full``.
    """
    if file.url is None:
        raise UnderstudyError("model-source", f"{file.file} is not published at a fixed address.", by_hand)
    part = _beside(target, ".part")
    resumed = part.exists()
    while True:
        _receive_all(file, file.url, part, context.part(0.0, 0.97), by_hand)
        found = file_hash(part, context.part(0.97, 1.0))
        if file.fits(found) is not False:
            break
        _discard(part)
        if not resumed:
            expected = file.sha256 or f"{file.sha256_starts}..."
            raise UnderstudyError(
                "model-hash",
                f"The file at {file.url} is not {file.file}: its SHA-256 is {found} instead of {expected}.",
                f"It was deleted. Try again later, or {by_hand}",
            )
        resumed = False  # the parts may be of different files: start again from the beginning
    try:
        os.replace(part, target)
    except OSError as error:
        raise explained(target, error) from error
    _discard(part)
    return found


def _receive_all(file: File, url: str, part: Path, context: Context, by_hand: str) -> None:
    """Repeat attempts until the part is complete; give up after several in a row that brought no new bytes."""
    furthest, fruitless, connected = _size(part), 0, False
    while True:
        try:
            _attempt(file, url, part, context, by_hand)
            return
        except _Unreachable as error:
            if connected:
                reason = str(error)
            else:
                message = f"{url} can't be reached ({error})."
                raise UnderstudyError("model-offline", message, _sentence(by_hand)) from error
        except _Cut as error:
            reason, connected = str(error), True
        reached = _size(part)
        fruitless = 0 if reached > furthest else fruitless + 1
        furthest = max(furthest, reached)
        if fruitless > len(PAUSES):
            raise UnderstudyError(
                "model-interrupted",
                f"The download of {file.file} was interrupted repeatedly ({reason}).",
                f"{reached / 1e6:.1f} MB are stored: run the same command again to continue. Or {by_hand}",
            )
        _wait(PAUSES[max(0, fruitless - 1)], context)


def _attempt(file: File, url: str, part: Path, context: Context, by_hand: str) -> None:
    """One connection. Raises `_Cut` if it ended before the part was complete, `_Unreachable` if there was none."""
    have, validator = _size(part), _validator(part)
    if have and file.sha256 is None and validator is None:
        have = 0  # nothing would prove that the two parts are of one file
    if file.size is not None and have >= file.size:
        if have == file.size:
            return
        _discard(part)
        have = 0
    headers = {"User-Agent": "understudy", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator:
            headers["If-Range"] = validator
    try:
        with _response(url, headers, by_hand) as response:
            if response.status_code == 416 and have:
                _discard(part)
                raise _Cut("the server had no such part")
            start, expected = _extent(file, response, url, have, by_hand)
            _check_room(part, expected - start)
            _keep_validator(part, response)
            _write(response, part, start, expected, context)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        raise _Unreachable(str(error)) from error
    except httpx.TransportError as error:
        raise _Cut(str(error) or type(error).__name__) from error
    except httpx.InvalidURL as error:
        raise _wrong_source(url, f"it is no valid address ({error})", by_hand) from error


@contextmanager
def _response(url: str, headers: dict[str, str], by_hand: str) -> Iterator[httpx.Response]:
    """The answer to a GET, after redirections: none leaves https or leads back onto this machine. The user's proxy is
    used except for addresses on this machine. Raises `_Cut` for a server that may answer later."""
    address = check_url(url)
    for _ in range(REDIRECTIONS):
        with (
            httpx.Client(
                timeout=TIMEOUT, trust_env=not _loopback(address), verify=ssl.create_default_context()
            ) as client,
            client.stream("GET", address, headers=headers) as response,
        ):
            status = response.status_code
            if not response.has_redirect_location:
                if status in (408, 429) or status >= 500:
                    raise _Cut(f"the server answered {status}")
                if status not in (200, 206, 416):
                    raise _wrong_source(url, f"the server answered {status} {response.reason_phrase}", by_hand)
                yield response
                return
            target = check_url(urljoin(address, response.headers["Location"]))
        if _loopback(target) and not _loopback(address):
            raise UnderstudyError(
                "model-address",
                f"{address} leads back to this very machine ({target}).",
                "Download the file by other means and give it to 'understudy models add PATH'.",
            )
        address = target
    raise _wrong_source(url, "it leads from one address to another without end", by_hand)


def _extent(file: File, response: httpx.Response, url: str, have: int, by_hand: str) -> tuple[int, int]:
    """Where the response's bytes begin in the file, and the file's whole length. Raises ``model-source`` where the
    response can't be the file or the part of it that was requested."""
    headers = response.headers
    start, total = 0, headers.get("Content-Length", "")
    if response.status_code == 206:
        unit, _, extent = headers.get("Content-Range", "").partition(" ")
        reach, _, total = extent.partition("/")
        first = reach.partition("-")[0]
        start = int(first) if unit == "bytes" and first.isdigit() else -1
    expected = int(total) if total.isdigit() else file.size
    reason = None
    if response.status_code == 416:
        reason = "the server answered 416"
    elif headers.get("Content-Encoding", "identity") != "identity":
        reason = "the server sent it packed"
    elif file.sha256 is None and headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/html":
        reason = "the server sent a web page"
    elif expected is None:
        reason = "the server doesn't say how long it is"
    elif expected != (file.size or expected) or expected > LARGEST:
        known = f"{file.size:,}" if file.size else f"at most {LARGEST:,}"
        reason = f"it holds {expected:,} bytes there instead of {known}"
    elif start not in (0, have):
        reason = "the server sent another part than was requested"
    if reason is not None or expected is None:
        raise _wrong_source(url, reason or "", by_hand)
    return start, expected


def _write(response: httpx.Response, part: Path, start: int, expected: int, context: Context) -> None:
    """Write the response's bytes to the part, from byte `start` on, until there are `expected`."""
    blocks = response.iter_raw()
    try:
        with part.open("r+b" if start else "wb") as out:
            out.seek(start)
            while (done := out.tell()) < expected:
                context.progress(done / expected)
                block = next(blocks, b"")
                if not block:
                    raise _Cut("the connection was closed")
                out.write(block[: expected - done])
    except OSError as error:
        raise explained(part, error) from error


def _check_room(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < needed + RESERVE:
        raise UnderstudyError(
            "disk-full",
            f"The disk has {free / 1e9:.1f} GB free in {part.parent}; {(needed + RESERVE) / 1e9:.1f} GB are needed.",
            "Free some space, or name another folder with UNDERSTUDY_MODELS.",
        )


def _loopback(url: str) -> bool:
    return urlsplit(url).hostname in LOOPBACK


def _wrong_source(url: str, reason: str, by_hand: str) -> UnderstudyError:
    return UnderstudyError("model-source", f"{url} can't be used: {reason}.", _sentence(by_hand))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _wait(seconds: float, context: Context) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if context.cancelled.wait(min(left, 0.2)):
            break
    if context.cancelled.is_set():
        raise Cancelled


def _validator(part: Path) -> str | None:
    """The strong validator under which the part's bytes came."""
    try:
        validator = json.loads(_beside(part, ".json").read_text("utf-8"))["etag"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return validator if isinstance(validator, str) else None


def _keep_validator(part: Path, response: httpx.Response) -> None:
    etag = response.headers.get("ETag", "")
    place = _beside(part, ".json")
    try:
        if etag.startswith('"'):  # a weak one says nothing of the bytes
            place.write_text(json.dumps({"etag": etag}), "utf-8")
        else:
            place.unlink(missing_ok=True)
    except OSError as error:
        raise explained(place, error) from error


def _discard(part: Path) -> None:
    for path in (part, _beside(part, ".json")):
        path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _beside(path: Path, extension: str) -> Path:
    return path.with_name(path.name + extension)
