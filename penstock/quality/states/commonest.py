"""Which values of a column occur most often."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from penstock.data import arrow
from penstock.quality.states.base import OnePass, Rows, plain

if TYPE_CHECKING:
    import pyarrow as pa

_PENDING = 1 << 20


@dataclass
class Commonest(OnePass):
    """Counts the different values of a column: memory grows with them, and not with the rows.

    Args:
        column: Its name.
        values: Different values, list by list.
        counts: How often each is there.
    """

    column: str
    values: list[pa.Array] = field(default_factory=list)
    counts: list[npt.NDArray[np.int64]] = field(default_factory=list)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.column,)

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        found = rows.exact(self.column).drop_null().value_counts()
        self._append(found.field("values"), arrow.numbers(found.field("counts")))

    def merge(self, other: Commonest) -> None:
        """Take in what another state saw."""
        for values, counts in zip(other.values, other.counts, strict=True):
            self._append(values, counts)

    def finish(self) -> list[Any]:
        """Return the values that occur most often, in order."""
        self._compact()
        if not len(self.counts[0]):
            return []
        most = self.counts[0] == self.counts[0].max()
        return sorted(map(plain, self.values[0].filter(arrow.booleans(most))))

    def _append(self, values: pa.Array, counts: npt.NDArray[np.int64]) -> None:
        self.values.append(values)
        self.counts.append(counts)
        if sum(map(len, self.values[1:])) > _PENDING + len(self.values[0]):
            self._compact()

    def _compact(self) -> None:
        import pyarrow as pa

        if len(self.values) > 1:
            coded = pa.concat_arrays(self.values).dictionary_encode()
            counts = np.concatenate(self.counts)
            sums = np.bincount(arrow.numbers(coded.indices), weights=counts)
            self.values, self.counts = [coded.dictionary], [sums.astype(np.int64)]
