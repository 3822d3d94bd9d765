"""How often the values of a category are there: exact, in memory that does not grow with the rows.

A column may have as many values as rows, of which few are common. The first pass counts values by
20 bits of their hash: a value is in no larger a share of the rows than all values of its bin. The
second counts the values of the bins that hold a share that matters, and those alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from penstock.data import arrow
from penstock.data.hashing.digest import CellHasher
from penstock.quality.states.base import OnePass, Rows
from penstock.records.dataset import Column

if TYPE_CHECKING:
    import pyarrow as pa

_BITS = 20
_BINS = 1 << _BITS


@dataclass(frozen=True)
class Counted:
    """Values of a column and how many rows hold each.

    Args:
        rows: Rows, those without a value included.
        missing: Rows without a value.
        levels: Rows by value: texts, or numbers as doubles, a boolean being 1 or 0. Those in less
            than the share that was asked for may be left out.
    """

    rows: int
    missing: int
    levels: dict[Any, int]


@dataclass
class LevelBins:
    """The first pass: rows by bin of the values' hashes.

    Args:
        column: Its name and type; times have no levels.
        share: The share of the rows from which a value matters.
        rows: Rows.
        missing: Rows without a value.
        bins: Rows by bin.
    """

    column: Column
    share: float
    rows: int = 0
    missing: int = 0
    bins: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, np.int64))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.column.name,)

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        values = levels_of(rows, self.column)
        self.rows += len(rows)
        self.missing += len(rows) - len(values)
        self.bins += np.bincount(_bins(values, self.column), minlength=_BINS)

    def merge(self, other: LevelBins) -> None:
        """Take in what another state saw."""
        self.rows += other.rows
        self.missing += other.missing
        self.bins += other.bins

    def follow_up(self) -> LevelCounts | None:
        """Return the state that counts the values of full bins; None if there is no such bin."""
        full = self.bins >= max(1.0, self.share * self.rows)
        return LevelCounts(self.column, full) if full.any() else None

    def finish(self) -> Counted:
        """Return that no value is common."""
        return Counted(self.rows, self.missing, {})


@dataclass
class LevelCounts(OnePass):
    """Counts each value; for a column of few values, or of some bins.

    Args:
        column: Its name and type; times have no levels.
        full: Which bins are counted; None: all values.
        rows: Rows.
        missing: Rows without a value.
        levels: Rows by value.
    """

    column: Column
    full: npt.NDArray[np.bool_] | None = None
    rows: int = 0
    missing: int = 0
    levels: Counter[Any] = field(default_factory=Counter)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.column.name,)

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        values = levels_of(rows, self.column)
        self.rows += len(rows)
        self.missing += len(rows) - len(values)
        if self.full is not None:
            values = values.filter(arrow.booleans(self.full[_bins(values, self.column)]))
        encoded = values.dictionary_encode()
        counts = np.bincount(arrow.numbers(encoded.indices), minlength=len(encoded.dictionary))
        for value, count in zip(encoded.dictionary.to_pylist(), counts.tolist(), strict=True):
            self.levels[value] += count

    def merge(self, other: LevelCounts) -> None:
        """Take in what another state saw."""
        self.rows += other.rows
        self.missing += other.missing
        self.levels.update(other.levels)

    def finish(self) -> Counted:
        """Return the counts."""
        return Counted(self.rows, self.missing, dict(self.levels))


def levels_of(rows: Rows, column: Column) -> pa.Array:
    """Return the values that are not missing: texts, or doubles without minus zero."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = rows.values(column.name)
    if column.type == "string":
        return values
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.uint8())
    return pc.add(pc.cast(values, pa.float64(), safe=False), arrow.number(0.0, pa.float64()))


def _bins(values: pa.Array, column: Column) -> npt.NDArray[np.int64]:
    kind = column.type if column.type == "string" else "number"
    hashes = CellHasher(Column(name=column.name, type=kind)).hashes(values)
    return (hashes >> np.uint64(64 - _BITS)).astype(np.int64)
