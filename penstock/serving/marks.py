"""Headers that mark a rollout's own requests, and what tells them from anybody's.

A copy, a replayed row and the release step's probe are counted apart from what users send. Anybody
can write such a header, so its value is a key that only the rollout knows, made from the service's
token. A model server is told the key's digest alone, which may stand in its command line.
"""

from __future__ import annotations

import hashlib
import hmac

MIRROR = "x-penstock-mirror"
"""Marks a copy of a request that another version answers."""

REPLAY = "x-penstock-replay"
"""Marks a request that a rollout sends in the place of a user."""

SMOKE = "x-penstock-smoke"
"""Marks the release step's own probe."""

ALL = (MIRROR, REPLAY, SMOKE)

_PURPOSE = b"penstock: requests of the rollout's own"


def key_of(token: str) -> str:
    """Return the key that marks requests of a service's rollouts, 64 hexadecimal digits.

    It is the HMAC of a fixed text (RFC 2104, SHA-256), so that it does not tell the token.

    Example:
        >>> len(key_of("the token of the service"))
        64
    """
    return hmac.new(token.encode(), _PURPOSE, hashlib.sha256).hexdigest()


def digest_of(key: str) -> str:
    """Return what a server is told of a key: `sha256:` and 64 hexadecimal digits."""
    return f"sha256:{_sha256(key.encode())}"


class Marks:
    """Decides whether a mark is genuine.

    Args:
        digest: As `digest_of` returns it; empty: no mark is.
    """

    def __init__(self, digest: str = "") -> None:
        self._digest = digest.removeprefix("sha256:")

    def genuine(self, value: bytes) -> bool:
        """Return whether a header's value is the key; an absent header is an empty one."""
        return bool(value and self._digest and hmac.compare_digest(_sha256(value), self._digest))


def _sha256(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()
