"""Which different values a column has, beside a set of expected ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.data import arrow
from penstock.quality.outcome import MAX_SAMPLES
from penstock.quality.states.base import OnePass, Rows, plain
from penstock.quality.values import Members

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class Seen(OnePass):
    """Keeps which expected values were seen, and the smallest of the others.

    Args:
        members: The column and its expected values.
        seen: Positions of the expected values that were seen.
        others: The 20 smallest different values that are not expected, in order.
    """

    members: Members
    seen: set[int] = field(default_factory=set)
    others: list[Any] = field(default_factory=list)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.members.column,)

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        import pyarrow.compute as pc

        values = rows.values(self.members.column).unique()
        at = pc.index_in(values, value_set=self.members.array())
        self.seen.update(arrow.numbers(at.drop_null()).tolist())
        unknown = values.filter(at.is_null())
        if len(unknown):
            self._keep(_smallest(unknown))

    def merge(self, other: Seen) -> None:
        """Take in what another state saw."""
        self.seen |= other.seen
        self._keep(other.others)

    def finish(self) -> Seen:
        """Return what was seen."""
        return self

    def missing(self) -> bool:
        """Return whether an expected value was not seen."""
        return len(self.seen) < len(self.members.array()) or self.members.impossible

    def _keep(self, others: list[Any]) -> None:
        self.others = sorted({*self.others, *others})[:MAX_SAMPLES]


def _smallest(values: pa.Array) -> list[Any]:
    import pyarrow.compute as pc

    order = arrow.numbers(pc.array_sort_indices(values))[:MAX_SAMPLES]
    return [plain(values[int(at)]) for at in np.asarray(order)]
