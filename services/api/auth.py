"""Who sends a request: API keys, their scopes, and the rate limit of their owner."""

from __future__ import annotations

import inspect
import ipaddress
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from understudy.errors import UnderstudyError
from understudy.services.api.problems import ApiError
from understudy.services.api.state import App, AppState
from understudy.services.queue import sessions
from understudy.services.queue.owners import Owner, find_owner, note_use

COOKIE = "understudy_session"
PEER = "understudy.peer"
"""In the scope of a request: the address of the connection, where a proxy may have said another."""
_bearer = HTTPBearer(auto_error=False, description="An API key, made with 'understudy keys create'.")


def require(*scopes: str) -> Callable[..., AsyncIterator[Owner]]:
    """A dependency that gives the owner of the request's key. The key must have all `scopes`, and the owner must be
    within its rate limit.

    A route that is a plain function runs in a thread: it waits for a place of its owner's. One that is a coroutine
    takes such a place by itself for whatever it does in threads.
    """

    async def owner_of_request(
        request: Request, app: App, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
    ) -> AsyncIterator[Owner]:
        token = credentials.credentials if credentials else request.cookies.get(COOKIE, client_network(request))
        owner = await app.identifying.run(token, identify, app, request, credentials)
        for scope in scopes:
            if scope not in owner.scopes:
                text = f"This key may not do that: it lacks the scope {scope!r}."
                raise ApiError("scope-missing", text, "Ask for another key.")
        count_request(request, app, owner)
        if inspect.iscoroutinefunction(request.scope["route"].endpoint):
            yield owner
            return
        async with app.requests.place(owner.id):
            yield owner

    return owner_of_request


Reader = Annotated[Owner, Depends(require("read"), scope="function")]
Maker = Annotated[Owner, Depends(require("make"), scope="function")]
VoiceMaker = Annotated[Owner, Depends(require("voices"), scope="function")]
Deleter = Annotated[Owner, Depends(require("delete"), scope="function")]
KeyKeeper = Annotated[Owner, Depends(require("keys"), scope="function")]


def identify(app: AppState, request: Request, credentials: HTTPAuthorizationCredentials | None) -> Owner:
    """The owner of the key in the header or of the session in the cookie; the local owner on a server without keys.

    Raises ``key-missing``, ``key-invalid``, or ``rate-limited`` for an address that sends many wrong keys.
    """
    if (owner := app.open_owner) is not None:
        return owner
    token = request.cookies.get(COOKIE)
    if not credentials and not token:
        raise ApiError("key-missing", "An API key is needed.", "Send it as 'Authorization: Bearer us_...'.")
    with app.database.read() as connection:
        if credentials:
            owner = find_owner(app.database, connection, credentials.credentials)
        else:
            owner = sessions.find_owner(connection, app.database.now(connection), token or "")
    if owner is None:
        check_address(app, request, "guess", 30)
        if credentials:
            raise ApiError("key-invalid", "This API key is wrong, was revoked or has expired.", "Ask for another key.")
        raise ApiError("key-invalid", "This session has ended.", "Sign in again.")
    if not app.rates.take(f"used {owner.key}", 1):  # once a minute
        with suppress(UnderstudyError):  # a failure to store that fails no request
            note_use(app.database, str(owner.key))
    return owner


def count_request(request: Request, app: AppState, owner: Owner) -> None:
    """Count the request among the owner's, and say in the answer how many are left; raise ``rate-limited`` if none."""
    request.state.owner = owner  # for the audit log
    bucket, limit = f"owner {owner.id}", owner.limit("requests_a_minute", app.settings)
    try:
        app.rates.check(bucket, limit)
    finally:
        request.state.rate_limit = limit, app.rates.left(bucket, limit)


def check_address(app: AppState, request: Request, what: str, limit: int) -> None:
    """Count what somebody without a key did; raise ``rate-limited`` from `limit` a minute on. Who is in the network of
    the proxies may claim any address as they do, so that through each of them only ten times as much counts."""
    app.rates.check(f"{what} {client_network(request)}", limit)
    if PEER in request.scope:
        app.rates.check(f"{what} through {request.scope[PEER]}", 10 * limit)


def client_network(request: Request) -> str:
    """The address that a request comes from, for limits of those without a key. Of an IPv6 address it is the network:
    one sender has all addresses of it. A proxy's word counts only if the setting ``proxies`` names the proxy."""
    host = request.client.host if request.client else ""
    with suppress(ValueError):
        ip = ipaddress.ip_address(host.partition("%")[0])
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is None:
            return str(ipaddress.ip_network((ip, 64), strict=False))
    return host


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
