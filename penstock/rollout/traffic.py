"""Replaying the holdout through the public address, so that a rollout has something to judge."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence

REPLAY_HEADER = "x-penstock-replay"
AGENT = "penstock-replay"

_UNDER_WAY = 64
"""Requests at a time; beyond it one is skipped: replay must not pile up on a slow service."""


def predict_url(url: str, service: str) -> str:
    """Return where a service takes KServe v1 predictions."""
    return f"{url}/v1/models/{service}:predict"


@contextlib.contextmanager
def replay(address: str, bodies: Sequence[bytes], *, rate: float) -> Iterator[None]:
    """Send requests at a steady rate until the block ends.

    What comes of them is counted by the router, not here: it counts users' requests alike.

    Args:
        address: Where a body is posted to.
        bodies: One request each, sent in turn, over and over.
        rate: Requests a second.
    """
    stopped = threading.Event()
    sender = threading.Thread(
        target=lambda: asyncio.run(_send(address, bodies, rate=rate, stopped=stopped)),
        name="replay",
        daemon=True,
    )
    sender.start()
    try:
        yield
    finally:
        stopped.set()
        sender.join()


async def _send(
    address: str, bodies: Sequence[bytes], *, rate: float, stopped: threading.Event
) -> None:
    import aiohttp

    headers = {"content-type": "application/json", "user-agent": AGENT, REPLAY_HEADER: "1"}
    timeout = aiohttp.ClientTimeout(total=30)
    clock = asyncio.get_running_loop().time
    under_way: set[asyncio.Task[None]] = set()
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        due, sent = clock(), 0
        while not stopped.is_set():
            if len(under_way) < _UNDER_WAY:
                task = asyncio.create_task(_post(session, address, bodies[sent % len(bodies)]))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                sent += 1
            # What a pause of this machine delayed is not made up for by a burst.
            due = max(due + 1 / rate, clock() - 1 / rate)
            await asyncio.sleep(max(0.0, due - clock()))
        if under_way:
            await asyncio.wait(under_way)


async def _post(session: object, address: str, body: bytes) -> None:
    import aiohttp

    assert isinstance(session, aiohttp.ClientSession)
    # A failed request is evidence that the router has already counted.
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        async with session.post(address, data=body) as response:
            await response.read()
