"""Serving the page and the reference of the API: a few small files, held in memory, compressed once."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response

from understudy.services.api.files import is_one_of

STATIC = Path(__file__).parent / "static"

_NAMES = {"/": "index.html", "/docs": "docs.html"}
_HEADERS = {
    # the page talks to its own server only. Styles: wavesurfer and Swagger UI write their own. WASM: key and speed
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; "
    "media-src 'self' blob:; img-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}
_NOT_BUILT = (
    "The API runs, but the web page was not built into this installation. In a checkout: make page (needs Node).\n"
)


def add_page(app: FastAPI, folder: Path = STATIC) -> None:
    """Serve the page built into `folder` at ``/``, and the reference of the API at ``/docs``. If they were not built,
    both say so; the API works without them."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    packed = {name: gzip.compress(content, mtime=0) for name, content in files.items() if not _is_sound(name)}
    etags = {name: f'W/"{hashlib.sha256(content).hexdigest()[:32]}"' for name, content in files.items()}

    @app.get("/", include_in_schema=False)
    @app.get("/docs", include_in_schema=False)
    @app.get("/icon.svg", include_in_schema=False)
    @app.get("/icon-180.png", include_in_schema=False)
    @app.get("/icon-maskable.svg", include_in_schema=False)
    @app.get("/manifest.webmanifest", include_in_schema=False)
    @app.get("/worker.js", include_in_schema=False)
    @app.get("/licenses.md", include_in_schema=False)
    @app.get("/assets/{rest:path}", include_in_schema=False)
    @app.get("/demo/{rest:path}", include_in_schema=False)
    def page(request: Request) -> Response:
        path = request.url.path.removeprefix(request.scope.get("root_path", ""))
        name = _NAMES.get(path, path.removeprefix("/"))
        if name not in files:
            return PlainTextResponse(_NOT_BUILT if not files else "There is no such file.\n", 404)
        lasting = name.startswith("assets/")  # their names hold their hashes
        headers = _HEADERS | {
            "Cache-Control": "public, max-age=31536000, immutable" if lasting else "no-cache",
            "ETag": etags[name],
            "Vary": "Accept-Encoding",
        }
        if is_one_of(etags[name], request.headers.get("if-none-match")):
            return Response(None, 304, headers)
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        if name in packed and "gzip" in request.headers.get("accept-encoding", ""):
            return Response(packed[name], headers=headers | {"Content-Encoding": "gzip"}, media_type=kind)
        return Response(files[name], headers=headers, media_type=kind)


def _is_sound(name: str) -> bool:
    """Whether the file is compressed already."""
    return (mimetypes.guess_type(name)[0] or "").startswith("audio/")
