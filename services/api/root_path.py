"""The path below which a proxy shows the server (setting ``root_path``): requests may have it, answers name it."""

from __future__ import annotations

from contextvars import ContextVar

from starlette.types import ASGIApp, Receive, Scope, Send

_root: ContextVar[str] = ContextVar("root_path", default="")


def href(path: str) -> str:
    """`path` of the API as a client of the request in hand has to ask for it: below the server's root path."""
    return _root.get() + path


class RootPath:
    """Serves everything below the path `root`, whether or not the proxy in front takes it away from the request."""

    def __init__(self, app: ASGIApp, root: str) -> None:
        self._app, self._root = app, root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            _root.set(self._root)
            path = scope["path"]
            below = path == self._root or path.startswith(f"{self._root}/")
            scope = {**scope, "root_path": self._root, "path": path if below else self._root + path}
        await self._app(scope, receive, send)
