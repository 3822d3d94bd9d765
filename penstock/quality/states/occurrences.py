"""Different values and how often each is there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from penstock.data import arrow

if TYPE_CHECKING:
    import pyarrow as pa

_PENDING = 1 << 20
"""Values that are gathered before equal ones are put together."""


@dataclass
class Occurrences:
    """Counts values: memory grows with the different ones, and not with the rows.

    Args:
        values: Different values, list by list; after `compact` one list at most.
        counts: How often each is there.
    """

    values: list[pa.Array] = field(default_factory=list)
    counts: list[npt.NDArray[np.int64]] = field(default_factory=list)

    def add(self, found: pa.StructArray) -> None:
        """Take in what Arrow's `value_counts` returned."""
        self._append(found.field("values"), arrow.numbers(found.field("counts")))

    def merge(self, other: Occurrences) -> None:
        """Take in what others have counted."""
        for values, counts in zip(other.values, other.counts, strict=True):
            self._append(values, counts)

    def compact(self) -> None:
        """Put equal values together."""
        import pyarrow as pa

        if len(self.values) > 1:
            coded = pa.concat_arrays(self.values).dictionary_encode()
            counts = np.concatenate(self.counts)
            # Sums of whole numbers, exact up to 2^53 rows.
            sums = np.bincount(arrow.numbers(coded.indices), weights=counts)
            self.values, self.counts = [coded.dictionary], [sums.astype(np.int64)]

    def _append(self, values: pa.Array, counts: npt.NDArray[np.int64]) -> None:
        self.values.append(values)
        self.counts.append(counts)
        if sum(map(len, self.values[1:])) > _PENDING + len(self.values[0]):
            self.compact()
