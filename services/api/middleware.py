"""What every request passes before its route and every answer after it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from understudy.errors import UnderstudyError
from understudy.services.api import health, problems
from understudy.services.api.auth import PEER, is_loopback
from understudy.services.api.problems import ApiError
from understudy.services.queue.settings import ServerSettings

_METHODS = ("GET", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "PUT")


def behind_proxies(app: ASGIApp, proxies: Sequence[str]) -> ASGIApp:
    """`app` for clients whose address is what one of `proxies` (CIDR) says of them. Whom the request comes from itself
    stays in the scope."""
    inner = ProxyHeadersMiddleware(app, list(proxies))  # type: ignore[arg-type]

    async def known(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["client"]:
            scope[PEER] = scope["client"][0]
        await inner(scope, receive, send)  # type: ignore[arg-type]

    return known


class HeadRequests:
    """Answers HEAD as GET without the content (RFC 9110, 9.3.2). Routes for which the content is work find ``head`` in
    the scope."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        inner = {**scope, "method": "GET", "head": True}

        async def without_content(message: Message) -> None:
            if message["type"] == "http.response.start":
                scope["route"] = inner.get("route")  # for the metrics
                await send(message)
                await send({"type": "http.response.body"})

        await self._app(inner, receive, without_content)


class AnswerHeaders:
    """Headers of every answer.

    Unless its route says otherwise, no cache keeps an answer: it belongs to one owner, and a proxy can't see that where
    a cookie says so. As far as the route has found out how many requests the owner has left, the answer says so
    (draft-ietf-httpapi-ratelimit-headers): ``rate_limit`` in the request's state is the limit per minute, and what is
    left of it. ``headers`` of the state are in every answer of the route, in problems, too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Cache-Control", "no-store")
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.update(state.get("headers", {}))
                if "rate_limit" in state:
                    limit, left = state["rate_limit"]
                    headers["RateLimit-Policy"] = f'"requests";q={int(limit)};w=60'
                    headers["RateLimit"] = f'"requests";r={int(left)};t={math.ceil((limit - left) * 60 / limit)}'
            await send(message)

        await self._app(scope, receive, completed)


class HostGuard:
    """Refuses requests that a foreign web page sends through its visitor's browser.

    A browser lets any page send requests to 127.0.0.1, where the server may be open. Two checks stop that: the ``Host``
    must be a name of this server (a foreign name could be bound to its address: DNS rebinding), and the ``Origin``, if
    there is one, must be this server, a host of the setting ``hosts``, or one of the setting ``origins``.

    A server without keys also refuses what a proxy passes on: everybody who reaches the proxy would own everything."""

    def __init__(self, app: ASGIApp, settings: ServerSettings, keys: bool) -> None:
        self._app, self._hosts, self._keys = app, {host.casefold() for host in settings.hosts}, keys
        self._origins = set(settings.origins)
        # load balancers call these by the server's address
        self._open = {settings.root_path + path for path in ("/healthz", "/readyz")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = None
        if scope["type"] == "http" and scope["path"] not in self._open:
            headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
            refused = self._refused(headers.get(b"host", ""), headers.get(b"origin"))
            if not self._keys and any(name.startswith(_OF_PROXIES) for name in headers):
                text = "This request came through a proxy, and this server asks nobody for a key."
                refused = ApiError(
                    "proxy-refused",
                    text,
                    "Set UNDERSTUDY_SERVER_KEYS=true and make a key: understudy keys create --owner NAME.",
                )
        answer = self._app if refused is None else problems.problem(refused)
        await answer(scope, receive, send)

    def _refused(self, host: str, origin: str | None) -> UnderstudyError | None:
        name = _hostname(f"//{host}")
        known = name in self._hosts or (is_loopback(name) if not self._keys else not self._hosts)
        if not known:
            text = f"The host {host[:80]!r} isn't a name of this server."
            return ApiError("host-refused", text, "Name it in the setting 'hosts'.")
        if origin is not None and not self._takes(origin, host):
            text = f"Web pages of {origin[:80]!r} may not use this server."
            return ApiError("origin-refused", text, "Name its origin in the setting 'origins'.")
        return None

    def _takes(self, origin: str, host: str) -> bool:
        same = origin.partition("://")[2] == host
        return same or _hostname(origin) in self._hosts or origin in self._origins


_OF_PROXIES = (b"forwarded", b"x-forwarded-", b"x-real-ip", b"via")


def _hostname(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").casefold()
    except ValueError:
        return ""


class RequestMetrics:
    """Counts requests and the time until their answer began."""

    def __init__(self, app: ASGIApp, metrics: health.Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "other")
                self._metrics.seconds.labels(route).observe(time.perf_counter() - started)
                method = scope["method"] if scope["method"] in _METHODS else "other"
                self._metrics.requests.labels(method, route, message["status"]).inc()
            await send(message)

        await self._app(scope, receive, counted)
