"""One file from the network to the disk: resumed where it broke off, checked before it gets its name.

HTTP as in RFC 9110: ``Range`` with ``If-Range`` (section 13.1.5, 14) goes on with what an earlier attempt left in
``FILE.part``, as long as the server vouches with the same strong validator or the whole is checked against a hash.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from understudy.context import Context
from understudy.disk import explained
from understudy.errors import Cancelled, UnderstudyError
from understudy.models.catalogue import LOOPBACK, File, check_url
from understudy.models.hashes import file_hash

LARGEST = 20 << 30  # bytes of any model
RESERVE = 256 << 20  # bytes that stay free on the disk
TIMEOUT = 20.0  # seconds without a byte after which a connection counts as cut
PAUSES = (1.0, 2.0, 4.0)  # seconds before another attempt, as long as none brings anything new
BLOCK = 1 << 16  # bytes at most between two looks at progress and cancellation


class _Cut(Exception):
    """The connection broke off; what came is kept."""


class _Unreachable(Exception):
    """There was no connection."""


def download(file: File, target: Path, context: Context, by_hand: str) -> str:
    """Bring `file` to the path `target` (its folder exists) and return its SHA-256 in hex.

    The bytes gather in ``TARGET.part``, which stays when the work is cancelled or the network fails, and is gone on
    with next time. `by_hand` is the hint for whoever can't reach the source. Raises `UnderstudyError`:
    ``model-address``, ``model-offline``, ``model-source`` (the server doesn't have it or has something else),
    ``model-interrupted``, ``model-hash``, ``disk-full``.
    """
    if file.url is None:
        raise UnderstudyError("model-source", f"Nobody publishes {file.file} at a fixed address.", by_hand)
    part = _beside(target, ".part")
    resumed = part.exists()
    while True:
        _receive_all(file, file.url, part, context.part(0.0, 0.97), by_hand)
        found = file_hash(part, context.part(0.97, 1.0))
        if file.fits(found) is not False:
            break
        _discard(part)
        if not resumed:
            wanted = file.sha256 or f"{file.sha256_starts}..."
            raise UnderstudyError(
                "model-hash",
                f"What {file.url} gave is not {file.file}: its SHA-256 is {found} instead of {wanted}.",
                f"Nothing of it was kept. Try again later, or {by_hand}",
            )
        resumed = False  # two halves of different files: once more from the beginning
    try:
        os.replace(part, target)
    except OSError as error:
        raise explained(target, error) from error
    _discard(part)
    return found


def _receive_all(file: File, url: str, part: Path, context: Context, by_hand: str) -> None:
    """Attempts until the part is whole. Each that brings something new earns another."""
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
                f"The download of {file.file} broke off again and again ({reason}).",
                f"{reached / 1e6:.1f} MB are kept: run the same command again to go on from there. Or {by_hand}",
            )
        _wait(PAUSES[max(0, fruitless - 1)], context)


def _attempt(file: File, url: str, part: Path, context: Context, by_hand: str) -> None:
    """One connection. Raises `_Cut` if it ended before the part was whole, `_Unreachable` if there was none."""
    have, validator = _size(part), _validator(part)
    if have and file.sha256 is None and validator is None:
        have = 0  # nothing would tell that the two halves belong together
    if file.size is not None and have >= file.size:
        if have == file.size:
            return
        _discard(part)
        have = 0
    request = Request(check_url(url), headers={"User-Agent": "understudy", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        if validator:
            request.add_header("If-Range", validator)
    try:
        response = _opener(url).open(request, timeout=TIMEOUT)
    except HTTPError as error:
        if error.code == 416 and have:
            _discard(part)
            raise _Cut("the server had no such part") from error
        if error.code in (408, 429) or error.code >= 500:
            raise _Cut(f"the server answered {error.code}") from error
        raise _wrong_source(url, f"the server answered {error.code} {error.reason}", by_hand) from error
    except (URLError, OSError, HTTPException) as error:
        if isinstance(error, URLError):
            raise _Unreachable(getattr(error.reason, "strerror", None) or error.reason) from error
        raise _Cut(str(error) or type(error).__name__) from error
    with response:
        start, total = _extent(response, have)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise _wrong_source(url, "the server sent it packed", by_hand)
        if file.sha256 is None and response.headers.get_content_type() == "text/html":
            raise _wrong_source(url, "the server sent a web page", by_hand)
        expected = file.size if total is None else total
        if expected is None:
            raise _wrong_source(url, "the server doesn't say how long it is", by_hand)
        if expected != (file.size or expected) or expected > LARGEST:
            known = f"{file.size:,}" if file.size else f"at most {LARGEST:,}"
            raise _wrong_source(url, f"it holds {expected:,} bytes there instead of {known}", by_hand)
        if start not in (0, have):
            raise _wrong_source(url, "the server sent another part than was asked for", by_hand)
        _check_room(part, expected - start)
        _keep_validator(part, response)
        _write(response, part, start, expected, context)


def _write(response: HTTPResponse, part: Path, start: int, expected: int, context: Context) -> None:
    """Append what comes to the part, from byte `start` on, until there are `expected`."""
    try:
        out = part.open("r+b" if start else "wb")
    except OSError as error:
        raise explained(part, error) from error
    with out:
        out.seek(start)
        while (done := out.tell()) < expected:
            context.progress(done / expected)
            try:
                block = response.read1(min(BLOCK, expected - done))
            except (OSError, HTTPException) as error:
                raise _Cut(str(error) or type(error).__name__) from error
            if not block:
                raise _Cut("the connection was closed")
            try:
                out.write(block)
            except OSError as error:
                raise explained(part, error) from error


def _extent(response: HTTPResponse, have: int) -> tuple[int, int | None]:
    """Where the response's bytes begin in the file, and the file's whole length if it is said."""
    if response.status == 206:
        unit, _, extent = response.headers.get("Content-Range", "").partition(" ")
        reach, _, total = extent.partition("/")
        first = reach.partition("-")[0]
        if unit == "bytes" and first.isdigit():
            return int(first), int(total) if total.isdigit() else None
        return -1, None
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _check_room(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < needed + RESERVE:
        raise UnderstudyError(
            "disk-full",
            f"The disk has {free / 1e9:.1f} GB free in {part.parent}; {(needed + RESERVE) / 1e9:.1f} GB are needed.",
            "Free some space, or name another folder with UNDERSTUDY_MODELS.",
        )


class _Redirects(HTTPRedirectHandler):
    """Follows a few redirections, and none that leaves https (or leads back onto this machine)."""

    max_redirections = 6
    max_repeats = 2

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        check_url(newurl)
        if _loopback(newurl) and not _loopback(req.full_url):
            raise UnderstudyError(
                "model-address",
                f"{req.full_url} leads back to this very machine ({newurl}).",
                "Download the file by other means and give it to 'understudy models add PATH'.",
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(url: str) -> OpenerDirector:
    """What opens `url`: http and https and nothing else, through the user's proxy except on this machine."""
    opener = OpenerDirector()
    proxies = ProxyHandler({}) if _loopback(url) else ProxyHandler()
    handlers = (proxies, HTTPHandler(), HTTPSHandler(), _Redirects(), HTTPDefaultErrorHandler(), HTTPErrorProcessor())
    for handler in handlers:
        opener.add_handler(handler)
    return opener


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


def _keep_validator(part: Path, response: HTTPResponse) -> None:
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
