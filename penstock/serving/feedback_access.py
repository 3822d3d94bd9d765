"""Who may send labels: whoever shows a token, or anybody where nobody else reaches the server."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from penstock.serving.request_errors import RequestError

_SCHEME = b"bearer "
_OWN = b"x-penstock-feedback-token"
"""For clients of a gateway that takes `authorization` for itself."""
_SHORTEST = 16


@dataclass(frozen=True)
class FeedbackAccess:
    """Lets labels in.

    Labels decide on what is rolled back, so on an address that others reach they take a token.

    Attributes:
        token_file: File with the token, read anew each time, so that it may change or come later;
            None: none is required.
        loopback: Whether the server listens on loopback alone.
    """

    token_file: Path | None = None
    loopback: bool = True

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Return if labels with these headers are taken.

        Raises:
            RequestError: 403 where labels are off; 401 where the token is missing or wrong.
        """
        if self.token_file is None and self.loopback:
            return
        token = self._token()
        if not token:
            raise RequestError(f"feedback is off: {self._why_off()}", status=403)
        if not hmac.compare_digest(_shown(headers), token):
            raise RequestError(
                "feedback needs the header `authorization: Bearer TOKEN`, or "
                f"`{_OWN.decode()}: TOKEN` where a gateway takes that one for itself",
                status=401,
                headers=[(b"www-authenticate", b"Bearer")],
            )

    def _why_off(self) -> str:
        if self.token_file is None:
            return (
                "the server listens on an address that others reach, and has no token for "
                "feedback; start it with --feedback-token-file"
            )
        return (
            f"the file of --feedback-token-file is missing, or holds fewer than {_SHORTEST} "
            "characters; on a cluster it is the key `token` of the Secret penstock-feedback"
        )

    def _token(self) -> bytes:
        try:
            token = self.token_file.read_bytes().strip() if self.token_file else b""
        except OSError:
            return b""
        # A file that is empty or half written must not let anybody in.
        return token if len(token) >= _SHORTEST else b""


def _shown(headers: Mapping[bytes, bytes]) -> bytes:
    """Return the token that a request shows; empty: none."""
    if own := headers.get(_OWN, b"").strip():
        return own
    given = headers.get(b"authorization", b"")
    return given[len(_SCHEME) :].strip() if given.lower().startswith(_SCHEME) else b""


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on is reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
