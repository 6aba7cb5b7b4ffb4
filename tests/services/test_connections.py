"""Connections that send no request: closed in time, and out of the way of those that do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvicorn

from understudy.services import connections

Check = Callable[[uvicorn.Server, int], Awaitable[None]]
GET = b"GET / HTTP/1.1\r\nHost: x\r\n"


async def answer(scope, receive, send) -> None:
    if scope["path"] != "/large":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100000000")]})
    for _ in range(1000):
        await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})
    await send({"type": "http.response.body"})


@asynccontextmanager
async def serving(most: int) -> AsyncIterator[tuple[uvicorn.Server, int]]:
    """A server with `most` connections, and its port."""
    config = uvicorn.Config(answer, "127.0.0.1", 0, http=connections.bounded(most), log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield server, server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await task


async def status(reader: asyncio.StreamReader) -> int:
    """Of the next answer; 0 where the connection was cut instead."""
    try:
        return int((await reader.readuntil(b"\r\n\r\n")).split()[1])
    except (ConnectionError, asyncio.IncompleteReadError):
        return 0


def run(check: Check, most: int = 100) -> None:
    async def all_of_it() -> None:
        async with serving(most) as (server, port):
            await check(server, port)

    asyncio.run(all_of_it())


def test_half_a_header_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connections, "FIRST", 0.05)

    async def check(server: uvicorn.Server, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        assert await status(reader) == 0

    run(check)


def test_after_an_answer_the_next_header_has_its_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connections, "NEXT", 0.05)

    async def check(server: uvicorn.Server, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET + b"\r\n" + GET)
        assert (await status(reader), await status(reader)) == (204, 0)

    run(check)


def test_the_oldest_without_a_request_gives_way():
    async def check(server: uvicorn.Server, port: int) -> None:
        half = [await asyncio.open_connection("127.0.0.1", port) for _ in range(30)]
        for _, writer in half:
            writer.write(GET)
        assert [await status(reader) for reader, _ in half[:20]] == [0] * 20
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET + b"\r\n")
        assert await status(reader) == 204
        reader, writer = half[-1]
        writer.write(b"\r\n")
        assert await status(reader) == 204, "the youngest was left alone"

    run(check, most=10)


def test_a_header_without_end_is_cut():
    async def check(server: uvicorn.Server, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET + b"X: " + b"x" * (2 * connections.LONGEST))
        assert await status(reader) == 0

    run(check)


def test_a_reader_that_takes_nothing_is_cut(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connections, "STALLED", 0.05)

    async def check(server: uvicorn.Server, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await status(reader) == 200
        while server.server_state.connections:
            await asyncio.sleep(0.01)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(100_000_000)

    run(check)
