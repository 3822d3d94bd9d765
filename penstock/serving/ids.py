"""Ids of requests, by which labels find their answer later."""

from __future__ import annotations

HEADER = "x-request-id"

MAX_LENGTH = 128
"""Characters."""


def request_id_of(given: bytes) -> str:
    """Return a client's id if it is printable ASCII of at most 128 characters, else nothing."""
    if 0 < len(given) <= MAX_LENGTH and given.isascii():
        text = given.decode("ascii")
        if text.isprintable():
            return text
    return ""
