"""Request headers of our own: the id of a request, and who sent it where that was no user.

The id joins an answer with a label that comes later. A mirrored copy, a replayed row and the
release step's probe are counted apart from what users send. Anybody can write such a header, so its
value is a key that only the rollout knows, made from the service's token. A model server gets
the key's digest alone, which may stand in its command line.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterator

REQUEST_ID = "x-request-id"
"""Names a request; made where a client gives none."""

MAX_ID_LENGTH = 128
"""Characters."""

MIRROR = "x-penstock-mirror"
"""Marks a copy of a request that another version answers."""

REPLAY = "x-penstock-replay"
"""Marks a request that a rollout sends in the place of a user."""

SMOKE = "x-penstock-smoke"
"""Marks the release step's own probe."""

ROLLOUT = (MIRROR, REPLAY, SMOKE)
"""The headers whose value must be the rollout's key."""

_PURPOSE = b"penstock: requests of the rollout's own"


def _new_ids() -> Iterator[str]:
    """Yield ids of 128 random bits, of which the system is asked for 256 at a time.

    A call for random bytes costs more than all the rest of an id.
    """
    while True:
        pool = os.urandom(_POOL)
        for start in range(0, _POOL, _ID):
            yield pool[start : start + _ID].hex()


_ID = 16
_POOL = 256 * _ID
_ids = _new_ids()


def new_request_id() -> str:
    """Return an id that nobody can guess, 32 hexadecimal digits, of this process alone.

    Not for several threads at once, nor for a process that goes on in two after a fork.

    Example:
        >>> len(new_request_id())
        32
    """
    return next(_ids)


def request_id_of(given: bytes) -> str:
    """Return a client's id if it is printable ASCII of at most 128 characters, else nothing."""
    if 0 < len(given) <= MAX_ID_LENGTH and given.isascii():
        text = given.decode("ascii")
        if text.isprintable():
            return text
    return ""


def key_of(token: str) -> str:
    """Return the key that marks requests of a service's rollouts, 64 hexadecimal digits.

    It is the HMAC of a fixed text (RFC 2104, SHA-256), so that it does not reveal the token.

    Example:
        >>> len(key_of("the token of the service"))
        64
    """
    return hmac.new(token.encode(), _PURPOSE, hashlib.sha256).hexdigest()


def digest_of(key: str) -> str:
    """Return what a server is given of a key: `sha256:` and 64 hexadecimal digits."""
    return f"sha256:{_sha256(key.encode())}"


class RolloutKey:
    """Tells the rollout's own requests from others, by the digest of its key.

    Args:
        digest: As `digest_of` returns it; empty: no request is a rollout's.
    """

    def __init__(self, digest: str = "") -> None:
        self._digest = digest.removeprefix("sha256:")

    def matches(self, value: bytes) -> bool:
        """Return whether a header's value is the key; an absent header is an empty one."""
        return bool(value and self._digest and hmac.compare_digest(_sha256(value), self._digest))


def _sha256(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()
