"""The body of a request: taken from its connection within limits, and decompressed."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping
from types import TracebackType

from penstock.serving.asgi import Receive
from penstock.serving.binary_tensors import HEADER_LENGTH
from penstock.serving.request_errors import RequestError

ENCODINGS = ("gzip", "x-gzip", "deflate")
"""Values of `Content-Encoding` that are taken."""

FREE = 64 << 10
"""Bytes of each body that count for nothing, so that small requests are answered whatever large
ones are under way; the number of connections bounds them."""

RETRY_AFTER = b"2"
"""Seconds."""

MAX_ROW = 1 << 31
"""The indices by which rows of a request are named lie below it."""

_PARQUET = "application/vnd.apache.parquet"
_UTF8 = ("utf-8", "utf8", "us-ascii")
# Reads the header of gzip or of zlib, whichever is there; HTTP's "deflate" is zlib's format.
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_LARGEST_RATIO = 1032


class Budget:
    """Bytes of bodies that may be held at a time. For use by one thread.

    Args:
        limit: Bytes.

    Example:
        >>> budget = Budget(1_000_000)
        >>> with budget.share() as share:
        ...     share.grow_to(500_000)
        >>> budget.held
        0
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    def share(self) -> Share:
        """Return a request's share, empty; it is given back at the end of its `with` block."""
        return Share(self)


class Share:
    """What one request holds of a budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._size = 0

    def grow_to(self, size: int) -> None:
        """Hold `size` bytes in all.

        Raises:
            RequestError: 503 with `Retry-After`, if all requests together would hold too much.
        """
        needed = max(self._size, size - FREE)
        if self._budget.held + needed - self._size > self._budget.limit:
            raise RequestError(
                "the memory for request bodies is used up; try again later",
                status=503,
                headers=[(b"retry-after", RETRY_AFTER), (b"connection", b"close")],
            )
        self._set(needed)

    def shrink_to(self, size: int) -> None:
        """Hold no more than `size` bytes."""
        self._set(min(self._size, max(0, size - FREE)))

    def __enter__(self) -> Share:
        """Begin to hold."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give everything back."""
        self._set(0)

    def _set(self, size: int) -> None:
        self._budget.held += size - self._size
        self._size = size


async def receive(
    headers: Mapping[bytes, bytes],
    receive: Receive,
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
        raise too_large(limit)
    blocks, size, more = [], 0, True
    try:
        async with asyncio.timeout(seconds):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RequestError("the client closed the connection", status=400)
                block = message.get("body", b"")
                size += len(block)
                if size > limit:
                    raise too_large(limit)
                share.grow_to(size)
                blocks.append(block)
                more = message.get("more_body", False)
    except TimeoutError as error:
        raise too_slow(seconds) from error
    return b"".join(blocks)


def encoding_of(headers: Mapping[bytes, bytes]) -> str:
    """Return how a body is compressed; empty: it is not.

    Raises:
        RequestError: 415, naming what is taken, for another encoding.
    """
    named = headers.get(b"content-encoding", b"").decode("latin-1").strip().lower()
    if named in ("", "identity"):
        return ""
    if named not in ENCODINGS:
        raise RequestError(
            f"the content encoding {named[:40]!r} is not supported; use gzip or deflate",
            status=415,
            headers=[(b"accept-encoding", b"gzip, deflate")],
        )
    return named


def decompressed(body: bytes, *, limit: int) -> bytes:
    """Return a body that gzip or deflate compressed, as it was before.

    Args:
        body: The compressed body, one stream.
        limit: Bytes that are taken at most. Never much more than that is held in memory.

    Raises:
        RequestError: If it is damaged, ends too soon or is followed by something; 413 if it is
            larger than `limit`.
    """
    stream = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        found = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise RequestError(f"the compressed body cannot be read: {error}") from error
    if len(found) > limit:
        raise too_large(limit)
    if not stream.eof:
        raise RequestError("the compressed body ends too soon")
    if stream.unused_data:
        raise RequestError(f"{len(stream.unused_data):,} bytes follow the compressed body")
    return found


def header_length_of(headers: Mapping[bytes, bytes]) -> int | None:
    """Return how many bytes of the body are JSON, the rest being binary tensors; None: all.

    Raises:
        RequestError: If the header is no such number.
    """
    given = headers.get(HEADER_LENGTH.encode())
    if given is None:
        return None
    # A body has far less than ten digits of bytes; Python refuses to read a number of thousands.
    if not given.isdigit() or len(given) > 10:
        shown = given[:40].decode("ascii", "backslashreplace")
        raise RequestError(f"the header {HEADER_LENGTH} must be a number of bytes, got {shown!r}")
    return int(given)


def is_csv(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a body of MLflow's `/invocations` is CSV; else it is JSON.

    Raises:
        RequestError: 415 for MLflow's Parquet, and for CSV in another charset than UTF-8.
    """
    media, *rest = headers.get(b"content-type", b"").decode("latin-1").lower().split(";")
    if media.strip() == _PARQUET:
        raise RequestError("a Parquet body is not supported; send JSON or CSV", status=415)
    if media.strip() != "text/csv":
        return False
    pairs = (parameter.partition("=") for parameter in rest)
    charset = {name.strip(): value.strip(' "') for name, _, value in pairs}.get("charset", "utf-8")
    if charset not in _UTF8:
        raise RequestError(
            f"a CSV body in {charset[:40]!r} is not supported; send UTF-8", status=415
        )
    return True


def largest(body: bytes, *, limit: int) -> int:
    """Return the bytes that a compressed body may hold at most, without looking into it.

    Deflate codes no more than 1,032 bytes by one (RFC 1951: 258 by two bits).

    Args:
        body: The compressed body.
        limit: Bytes that are taken at most.
    """
    return min(limit + 1, _LARGEST_RATIO * len(body))


def too_large(limit: int) -> RequestError:
    """Return the refusal of a body of more bytes than are taken."""
    return RequestError(
        f"the body is larger than the limit of {limit:,} bytes",
        status=413,
        headers=[(b"connection", b"close")],
    )


def too_slow(seconds: float) -> RequestError:
    """Return the refusal of a body that takes too long to come."""
    return RequestError(
        f"the body did not arrive within {seconds:g} s",
        status=408,
        headers=[(b"connection", b"close")],
    )
