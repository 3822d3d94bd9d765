"""The proxy's own HTTP client, against servers that answer in every way that HTTP/1.1 allows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from multidict import CIMultiDict

from penstock.rollout.proxy.upstream import (
    NoAnswerError,
    Reply,
    TooLargeError,
    UnreachableError,
    Upstream,
)

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def asked(answer: Answer | bytes, *, times: int = 1, **request: Any) -> list[tuple[Any, ...]]:
    """Ask a server, some times in turn; return status, body and connections so far of each."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        if not isinstance(answer, bytes):
            await answer(reader, writer)
        elif answer:
            while await _request(reader):
                writer.write(answer)
                if b"length" not in answer.lower() and b"chunked" not in answer:
                    break
        writer.close()

    async def run() -> list[tuple[Any, ...]]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        upstream, found = Upstream(), []
        given = {"method": "POST", "body": b"{}"} | request
        for _ in range(times):
            reply = await asyncio.wait_for(
                upstream.ask(
                    ("127.0.0.1", port), target="/x", headers=CIMultiDict({"host": "h"}), **given
                ),
                10,
            )
            found.append((reply.status, await _body(reply), connections))
        upstream.close()
        server.close()
        return found

    return asyncio.run(run())


async def _request(reader: asyncio.StreamReader) -> bytes:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return head + await reader.readexactly(int(length or 0))


async def _body(reply: Reply) -> bytes:
    if reply.body is not None:
        return reply.body
    assert reply.rest is not None
    return b"".join([block async for block in reply.rest])


@pytest.mark.parametrize(
    ("answer", "status", "body", "connections"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", 1),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, b"", 1),
        (b"HTTP/1.1 204 No\r\ncontent-length: 0\r\n\r\n", 204, b"", 1),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            200,
            b"ok",
            1,
        ),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", 2),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", 2),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, b"until the end", 2),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Made\r\ncontent-length: 1\r\n\r\n!",
            201,
            b"!",
            1,
        ),
    ],
)
def test_answers_of_every_form_are_taken(
    answer: bytes, status: int, body: bytes, connections: int
) -> None:
    assert asked(answer, times=2)[-1] == (status, body, connections)


def test_an_answer_in_pieces_and_a_large_one() -> None:
    async def in_pieces(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await _request(reader):
            head = b"HTTP/1.1 200 OK\r\ncontent-length: 5000000\r\n\r\n"
            for place in range(len(head)):
                writer.write(head[place : place + 1])
                await writer.drain()
                await asyncio.sleep(0)
            writer.write(b"x" * 5_000_000)
            await writer.drain()

    found = asked(in_pieces, times=2)
    assert [(status, len(body), made) for status, body, made in found] == [(200, 5_000_000, 1)] * 2


def test_an_answer_to_head_has_no_body() -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n"
    found = asked(answer, times=2, method="HEAD", body=None)
    assert [each[:2] for each in found] == [(200, b"")] * 2


def test_an_answer_before_all_was_sent_is_taken() -> None:
    async def refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Large\r\ncontent-length: 2\r\n\r\nno")
        await writer.drain()
        await asyncio.sleep(0.2)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100_000
            await asyncio.sleep(0.01)

    assert asked(refuses, body=None, stream=endless()) == [(413, b"no", 1)]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"not HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.1 200 OK\r\nconnection: length\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_answer_is_told(answer: bytes) -> None:
    with pytest.raises(NoAnswerError):
        asked(answer)


def test_an_answer_that_breaks_off_is_told() -> None:
    async def breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")

    with pytest.raises(NoAnswerError, match="closed the connection"):
        asked(breaks)


def test_a_connection_that_was_closed_meanwhile_is_not_used() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # It ends the connection without having said so.
        await _request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    async def run() -> list[bytes | None]:
        server = await asyncio.start_server(once, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        upstream, found = Upstream(), []
        for _ in range(3):
            address = ("127.0.0.1", port)
            found.append((await upstream.ask(address, "GET", "/", CIMultiDict({"host": "h"}))).body)
            await asyncio.sleep(0.05)
        server.close()
        return found

    assert asyncio.run(run()) == [b"ok"] * 3


def test_what_a_body_raises_while_it_is_sent_comes_out() -> None:
    async def waits(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async def too_large() -> AsyncIterator[bytes]:
        yield b"x"
        raise TooLargeError

    with pytest.raises(TooLargeError):
        asked(waits, body=None, stream=too_large())


def test_a_port_where_nobody_listens_is_told() -> None:
    async def run() -> None:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        await Upstream().ask(("127.0.0.1", port), "GET", "/", CIMultiDict({"host": "h"}))

    with pytest.raises(UnreachableError):
        asyncio.run(run())
