"""What is to be unique, its keys of 64 bits, and what is known of it in the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from penstock.data import arrow
from penstock.data.hashing.digest import CellHasher, mix
from penstock.quality.states.base import Rows
from penstock.records.dataset import Column

if TYPE_CHECKING:
    import pyarrow as pa

Keys: TypeAlias = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Slice:
    """One of so many parts of all 64-bit keys.

    Args:
        at: Which, from 0.
        of: How many there are.
    """

    at: int = 0
    of: int = 1

    def holds(self, keys: Keys) -> npt.NDArray[np.bool_]:
        """Return which keys are in it."""
        if self.of == 1:
            return np.ones(len(keys), dtype=bool)
        # Lemire's reduction: keys are hashes, of which every part has as many.
        parts = (keys >> np.uint64(32)) * np.uint64(self.of) >> np.uint64(32)
        return np.asarray(parts == self.at, dtype=bool)

    def next(self) -> Slice | None:
        """Return the slice after it, None if it is the last."""
        return Slice(self.at + 1, self.of) if self.at + 1 < self.of else None


@dataclass(frozen=True)
class Key:
    """What is to be unique: the values of a column, or rows by several columns.

    Args:
        of: The columns.
        ignore: Which rows do not count: those where `all` or `any` of the values are missing, or
            `none`.
        part: Of which keys rows count.
    """

    of: tuple[Column, ...]
    ignore: str = "any"
    part: Slice = Slice()

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(column.name for column in self.of)

    @property
    def exact(self) -> bool:
        """Whether equal keys are equal values."""
        return len(self.of) == 1 and self.of[0].type != "string"

    def keys(self, rows: Rows) -> tuple[Keys, npt.NDArray[np.bool_]]:
        """Return a key for each row, and which rows count."""
        sums = np.zeros(len(rows), np.uint64)
        absent = []
        for number, column in enumerate(self.of):
            array = rows.column(column.name)
            # Places count: (1, 2) is not (2, 1).
            hashed = CellHasher(Column(name=str(number), type=column.type)).hashes(array)
            np.add(sums, hashed, out=sums)
            absent.append(arrow.flags(array.is_null()))
        keys = sums if self.exact else mix(sums)
        return keys, self._counts(absent, len(rows)) & self.part.holds(keys)

    def texts(self, rows: Rows, which: npt.NDArray[np.bool_] | None) -> pa.StringArray:
        """Return a text for each row that is the same for the same values only.

        Args:
            rows: The batch.
            which: The rows that are needed; None for all that count.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        arrays = [rows.column(name) for name in self.names]
        if which is None:
            absent = [arrow.flags(array.is_null()) for array in arrays]
            which = self._counts(absent, len(rows))
        if not which.all():
            selected = arrow.booleans(which)
            arrays = [array.filter(selected) for array in arrays]
        if len(arrays) == 1 and pa.types.is_string(arrays[0].type) and self.ignore == "any":
            return arrays[0]
        return pc.binary_join_element_wise(*map(_written, arrays), arrow.texts(["|"])[0])

    def _counts(self, absent: list[npt.NDArray[np.bool_]], rows: int) -> npt.NDArray[np.bool_]:
        if self.ignore == "none":
            return np.ones(rows, dtype=bool)
        gather = np.logical_or if self.ignore == "any" else np.logical_and
        counted: npt.NDArray[np.bool_] = ~gather.reduce(absent)
        return counted


@dataclass(frozen=True)
class Uniqueness:
    """What is known of repeats.

    Args:
        checked: Rows that count.
        distinct: Different values among them.
        unexpected: Rows whose value occurs more than once.
        drawn: The first 200 of these: number of the row and its values.
    """

    checked: int
    distinct: int
    unexpected: int
    drawn: list[tuple[int, Any]]


def _written(array: pa.Array) -> pa.StringArray:
    """Return values as texts, one for each, that mark where they end."""
    import pyarrow as pa
    import pyarrow.compute as pc

    empty, mark = arrow.texts(["", ":"])
    if pa.types.is_timestamp(array.type):
        array = array.view(pa.int64())
    if pa.types.is_floating(array.type):
        # Minus zero is zero.
        array = pc.add(array, arrow.number(0.0, array.type)).view(pa.int64())
    if pa.types.is_string(array.type):
        lengths = pc.utf8_length(array).cast(pa.string())
        array = pc.binary_join_element_wise(lengths, mark, array, empty)
    return pc.fill_null(array.cast(pa.string()), arrow.texts(["missing"])[0])
