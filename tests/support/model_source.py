"""A real HTTP server on this machine that publishes a file, well or badly, and a catalogue that names it."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

CONTENT = bytes(range(256)) * 4000  # 1 MB, and no part of it like another of the same length at another place
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Source:
    """What the server does, request by request: the first of `manners` for the first, the last for all that follow.

    ``well``; ``cut N`` (the connection ends after N bytes of the body); ``no-range`` (always everything;
    ``cut-whole N`` cuts that, too); ``wrong-range`` (a part that wasn't asked for); ``slow``; ``stall N`` (nothing
    after N bytes); ``packed``; ``page``; ``no-length``; a status code; ``to URL`` (redirection).
    """

    content: bytes = CONTENT
    manners: list[str] = field(default_factory=lambda: ["well"])
    etag: str | None = '"one"'
    port: int = 0
    requests: list[dict[str, str]] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/weights.pt"

    @property
    def ranges(self) -> list[str | None]:
        """The Range of every request so far."""
        return [request.get("range") for request in self.requests]


@contextmanager
def served(source: Source) -> Iterator[Source]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None:
            pass

        def do_GET(self) -> None:
            source.requests.append({name.lower(): value for name, value in self.headers.items()})
            manner = source.manners[0] if len(source.manners) == 1 else source.manners.pop(0)
            _answer(self, source, *manner.split())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    source.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield source
    finally:
        source.done.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(request: BaseHTTPRequestHandler, source: Source, manner: str, more: str = "") -> None:
    content = source.content
    if manner.isdigit() or manner == "to":
        request.send_response(302 if manner == "to" else int(manner))
        if manner == "to":
            request.send_header("Location", more)
        request.send_header("Content-Length", "0")
        request.end_headers()
        return
    start, wanted, condition = 0, request.headers.get("Range"), request.headers.get("If-Range")
    if wanted and manner not in ("no-range", "cut-whole") and condition in (None, source.etag):
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= len(content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(content)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        start += 7 if manner == "wrong-range" else 0
        request.send_response(206)
        request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    else:
        request.send_response(200)
    body = content[start:]
    if manner == "no-length":
        request.close_connection = True
    else:
        request.send_header("Content-Length", str(len(body)))
    if source.etag:
        request.send_header("ETag", source.etag)
    if manner == "packed":
        request.send_header("Content-Encoding", "gzip")
    request.send_header("Content-Type", "text/html" if manner == "page" else "application/octet-stream")
    request.end_headers()
    if manner in ("cut", "cut-whole", "stall"):
        request.wfile.write(body[: int(more)])
        request.wfile.flush()
        if manner == "stall":
            source.done.wait()
        request.close_connection = True
        return
    step = 20_000 if manner == "slow" else len(body)
    for place in range(0, len(body), step):
        try:
            request.wfile.write(body[place : place + step])
        except OSError:
            return  # the client has gone
        if manner == "slow":
            time.sleep(0.01)


def catalogue_file(folder: Path, url: str | None, **changes: Any) -> Path:
    """A catalogue with the one model ``thing``, published as ``weights.pt``; `changes` go into its only variant."""
    variant = {
        "file": "thing.pt",
        "known_as": "weights.pt",
        "format": "torch",
        "size": len(CONTENT),
        "sha256": SHA256,
        "url": url,
        **changes,
    }
    entry = {
        "purpose": "tests",
        "architecture": "none",
        "licence": "MIT",
        "page": "https://example.org/thing",
        "variants": [variant],
    }
    path = folder / f"catalogue-{abs(hash((url, str(changes))))}.yaml"
    path.write_text(yaml.safe_dump({"thing": entry}))
    return path
