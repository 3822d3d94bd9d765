"""Which values of a column occur most often."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from penstock.data import arrow
from penstock.quality.states.base import OnePass, Rows, plain
from penstock.quality.states.occurrences import Occurrences


@dataclass
class Commonest(OnePass):
    """Counts the different values of a column: memory grows with them, and not with the rows.

    Args:
        column: Its name.
        found: Its values.
    """

    column: str
    found: Occurrences = field(default_factory=Occurrences)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.column,)

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        self.found.add(rows.exact(self.column).drop_null().value_counts())

    def merge(self, other: Commonest) -> None:
        """Take in what another state saw."""
        self.found.merge(other.found)

    def finish(self) -> list[Any]:
        """Return the values that occur most often, in order."""
        self.found.compact()
        (values,), (counts,) = self.found.values, self.found.counts
        if not len(counts):
            return []
        most = counts == counts.max()
        return sorted(map(plain, values.filter(arrow.booleans(most))))
