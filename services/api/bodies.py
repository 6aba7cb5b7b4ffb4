"""What is refused of a request before a route sees it: bodies that are too large or too slow, and text that no database
takes.

FastAPI reads a body before it asks for a key. So every body is small and comes at once, unless the route says that it
takes more: `allow`.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from understudy.services.api.problems import ApiError, problem

TEXT_LIMIT = 64 << 10
"""Bytes of JSON, or of all text fields of a form."""
SECONDS = 30.0
"""In which a small body must be there."""
_SCOPE = "understudy.body"


@dataclass
class _Bound:
    """`most` bytes by the time `end`; None: the route takes care of both itself."""

    most: int | None = TEXT_LIMIT
    end: float = 0.0


def allow(request: Request) -> None:
    """Let the route read a body of any size and pace, which it bounds by itself."""
    request.scope[_SCOPE].most = None


class Bounds:
    """The middleware. Answers 413 and 408 in the words of the problems."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if b"\0" in scope["path"].encode("utf-8", "replace") + unquote_to_bytes(scope["query_string"]):
            await problem(malformed("address"))(scope, receive, send)
            return
        bound = scope[_SCOPE] = _Bound(end=time.monotonic() + SECONDS)
        size, complete = 0, False

        async def bounded() -> Message:
            nonlocal size, complete
            if complete or bound.most is None:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), bound.end - time.monotonic())
            except TimeoutError:
                raise HTTPException(408) from None
            size += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if size > bound.most:
                raise HTTPException(413)
            return message

        await self._app(scope, bounded, send)


def malformed(where: str) -> ApiError:
    return ApiError("request-malformed", f"The {where} holds characters that no text can have.", "Send text as UTF-8.")


def check_text(value: Any, where: str) -> None:
    """Raise ``request-malformed`` if JSON holds text with NUL, which PostgreSQL can't store, or with half of a
    surrogate pair, which UTF-8 can't."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str() as text:
                if "\0" in text or (not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text)):
                    raise malformed(where)
            case dict() as fields:
                waiting += [*fields.keys(), *fields.values()]
            case list() as items:
                waiting += items
