"""The body of a request, taken from its connection within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from penstock.serving import payload
from penstock.serving.budget import Share
from penstock.serving.mistakes import RequestError


async def received(
    headers: Mapping[bytes, bytes],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    share: Share,
    *,
    limit: int,
    seconds: float,
) -> bytes:
    """Return a body as it came.

    Args:
        headers: The request's.
        receive: Returns the next event, as ASGI has it.
        share: Of the memory for bodies; it grows with this one.
        limit: Bytes that are taken at most.
        seconds: How long all of it may take to come.

    Raises:
        RequestError: 413 if it is larger, 408 if it takes longer, 503 if other requests take all
            memory there is, 400 if the client leaves.
    """
    if int(headers.get(b"content-length", 0)) > limit:
        raise payload.too_large(limit)
    blocks, size, more = [], 0, True
    try:
        async with asyncio.timeout(seconds):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RequestError("the client went away", status=400)
                block = message.get("body", b"")
                size += len(block)
                if size > limit:
                    raise payload.too_large(limit)
                share.grow_to(size)
                blocks.append(block)
                more = message.get("more_body", False)
    except TimeoutError as error:
        raise payload.too_slow(seconds) from error
    return b"".join(blocks)
