"""Which servers of each version are ready, from look to look: how many, and how many have gone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from penstock.rollout.router import ServerCount

Ready = Callable[[int], Collection[str]]
"""Returns the names of a version's pods that are ready."""


class Attendance:
    """Counts the ready servers of versions, and those that were ready and are gone."""

    def __init__(self) -> None:
        self._last: dict[int, frozenset[str]] = {}
        self._ended: dict[int, int] = {}

    def look(self, versions: Iterable[int], ready: Ready) -> dict[int, ServerCount]:
        """Return the counts of some versions as they are now.

        Args:
            versions: Those that are up.
            ready: Names their pods.
        """
        counts = {}
        for version in versions:
            now = frozenset(ready(version))
            gone = self._last.get(version, now) - now
            self._last[version] = now
            self._ended[version] = self._ended.get(version, 0) + len(gone)
            counts[version] = ServerCount(ready=len(now), ended=self._ended[version])
        return counts
