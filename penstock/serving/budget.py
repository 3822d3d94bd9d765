"""A bound on what the bodies of all requests under way take together."""

from __future__ import annotations

from types import TracebackType

from penstock.serving.mistakes import RequestError

FREE = 64 << 10
"""Bytes of each body that count for nothing, so that small requests are answered whatever large
ones are under way; the number of connections bounds them."""

RETRY_AFTER = b"2"
"""Seconds."""


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
        wanted = max(self._size, size - FREE)
        if self._budget.held + wanted - self._size > self._budget.limit:
            raise RequestError(
                "the bodies of other requests take all memory there is for them; ask again later",
                status=503,
                headers=[(b"retry-after", RETRY_AFTER), (b"connection", b"close")],
            )
        self._set(wanted)

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
