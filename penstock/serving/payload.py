"""What the headers of a request say of its body, and the body as its sender had it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from penstock.serving.binary import HEADER_LENGTH
from penstock.serving.mistakes import RequestError

ENCODINGS = ("gzip", "x-gzip", "deflate")
"""Values of `Content-Encoding` that are taken."""

_PARQUET = "application/vnd.apache.parquet"
_UTF8 = ("utf-8", "utf8", "us-ascii")
# Reads the header of gzip or of zlib, whichever is there; HTTP's "deflate" is zlib's format.
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_LARGEST_RATIO = 1032


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
            f"a body compressed by {named[:40]!r} is not taken; use gzip or deflate, or none",
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
        raise RequestError("a Parquet body is not taken; send JSON or CSV", status=415)
    if media.strip() != "text/csv":
        return False
    pairs = (parameter.partition("=") for parameter in rest)
    charset = {name.strip(): value.strip(' "') for name, _, value in pairs}.get("charset", "utf-8")
    if charset not in _UTF8:
        raise RequestError(f"a CSV body in {charset[:40]!r} is not taken; send UTF-8", status=415)
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
        f"the body is larger than the {limit:,} bytes taken",
        status=413,
        headers=[(b"connection", b"close")],
    )


def too_slow(seconds: float) -> RequestError:
    """Return the refusal of a body that takes too long to come."""
    return RequestError(
        f"the body did not come within {seconds:g} s",
        status=408,
        headers=[(b"connection", b"close")],
    )
