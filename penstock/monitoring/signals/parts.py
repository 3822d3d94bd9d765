"""To which part of a reference's column a value belongs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from penstock.data import arrow
from penstock.data.profile.counting import MAX_LEVEL
from penstock.data.types.storage import doubles
from penstock.monitoring.signals.definitions import is_exact, known_rows
from penstock.records.reference import ReferenceColumn

if TYPE_CHECKING:
    import pyarrow as pa

Codes = npt.NDArray[np.intp]


class Coder:
    """Brings values to the parts of a reference: 0 and up, then any other, then `missing`.

    Of a column whose values are not compared, every value is of part 0.
    """

    def __init__(self, column: ReferenceColumn) -> None:
        self.counted = known_rows(column) > 0 and column.type != "datetime"
        self.exact = is_exact(column)
        self.edges = np.asarray(column.edges)
        self.levels = [level.value for level in column.levels]
        self.long = any(len(level) > MAX_LEVEL for level in self.levels)
        self.missing = len(self.edges if column.edges else self.levels) + 1 if self.counted else 1

    def codes(self, values: pa.Array) -> tuple[Codes, int]:
        """Return the part of each row, and how many numbers are infinite."""
        import pyarrow as pa

        if pa.types.is_dictionary(values.type):
            return self._by_dictionary(values)
        if not self.counted:
            return self._present(values), 0
        return self._numbers(values) if len(self.edges) else (self._texts(values), 0)

    def _by_dictionary(self, values: pa.DictionaryArray) -> tuple[Codes, int]:
        codes, _ = self.codes(values.dictionary)
        place = arrow.numbers(values.indices, null=len(codes)).astype(np.intp)
        return np.append(codes, self.missing)[place], 0

    def _present(self, values: pa.Array) -> Codes:
        there = values.is_valid() if not _floating(values) else values.is_null(nan_is_null=True)
        flags = arrow.flags(there)
        return (flags if _floating(values) else ~flags).astype(np.intp)

    def _numbers(self, values: pa.Array) -> tuple[Codes, int]:
        import pyarrow as pa

        if pa.types.is_null(values.type):
            return np.full(len(values), self.missing, np.intp), 0
        if pa.types.is_decimal(values.type):
            values = doubles(values)
        numbers = arrow.numbers(values.cast(pa.float64(), safe=False), null=np.nan)
        codes = np.searchsorted(self.edges, numbers, side="left")
        if self.exact:
            near = np.minimum(codes, len(self.edges) - 1)
            codes = np.where(self.edges[near] == numbers, near, len(self.edges))
        nothing = np.isnan(numbers)
        if nothing.any():
            codes[nothing] = self.missing
        return codes, int(np.isinf(numbers).sum())

    def _texts(self, values: pa.Array) -> Codes:
        import pyarrow as pa
        import pyarrow.compute as pc

        if values.type != pa.string():
            values = values.cast(pa.string())
        if self.long:
            values = _cut(values)
        found = pc.index_in(values, value_set=arrow.texts(self.levels))
        codes = arrow.numbers(found, null=len(self.levels)).astype(np.intp)
        if values.null_count:
            codes[~arrow.flags(values.is_valid())] = self.missing
        return codes


def _floating(values: pa.Array) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_floating(values.type))


def _cut(values: pa.Array) -> pa.Array:
    """Return texts as `level_text` writes them."""
    import pyarrow.compute as pc

    start = pc.utf8_slice_codeunits(values, 0, MAX_LEVEL)
    short = pc.binary_join_element_wise(start, "\u2026", "")
    return pc.if_else(pc.greater(pc.utf8_length(values), MAX_LEVEL), short, values)
