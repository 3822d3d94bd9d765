"""Replaying the holdout through the public address, so that a rollout has something to judge."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from penstock.rollout.beside import beside

if TYPE_CHECKING:
    import aiohttp

Ask = Callable[["aiohttp.ClientSession", int], Coroutine[Any, Any, None]]

AGENT = "penstock-replay"

_UNDER_WAY = 64
"""Requests at a time; beyond it one is skipped: replay must not pile up on a slow service."""
_TIMEOUT = 30.0


def predict_url(url: str, service: str) -> str:
    """Return where a service takes KServe v1 predictions."""
    return f"{url}/v1/models/{service}:predict"


def replay(
    address: str, bodies: Sequence[bytes], *, rate: float, headers: Mapping[str, str]
) -> contextlib.AbstractContextManager[None]:
    """Send requests at a steady rate until the block ends.

    What comes of them is counted by the router, not here: it counts users' requests alike.

    Args:
        address: Where a body is posted to.
        bodies: One request each, sent in turn, over and over.
        rate: Requests a second.
        headers: What marks them as a rollout's own.
    """

    async def post(session: aiohttp.ClientSession, number: int) -> None:
        import aiohttp

        # A failed request is evidence that the router has already counted.
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            body = bodies[number % len(bodies)]
            async with session.post(address, data=body, headers=headers) as response:
                await response.read()

    return paced(post, rate=rate)


def paced(ask: Ask, *, rate: float) -> contextlib.AbstractContextManager[None]:
    """Call `ask` at a steady rate, in a thread, until the block ends.

    Args:
        ask: Gets a session and the number of the call, counted from 0. Calls overlap.
        rate: Calls a second.
    """
    return beside(lambda over: asyncio.run(_pace(ask, rate=rate, over=over)), name="replay")


async def _pace(ask: Ask, *, rate: float, over: threading.Event) -> None:
    import aiohttp

    headers = {"content-type": "application/json", "user-agent": AGENT}
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
    clock = asyncio.get_running_loop().time
    under_way: set[asyncio.Task[None]] = set()
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        due, sent = clock(), 0
        while not over.is_set():
            if len(under_way) < _UNDER_WAY:
                task = asyncio.create_task(ask(session, sent))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                sent += 1
            # What a pause of this machine delayed is not made up for by a burst.
            due = max(due + 1 / rate, clock() - 1 / rate)
            await asyncio.sleep(max(0.0, due - clock()))
        if under_way:
            await asyncio.wait(under_way)
