"""Which values, or combinations of values, occur more than once.

The first pass keeps a 64-bit key of every value: its own bits, or a hash of a text or of a
combination. Where a key repeats, a second pass counts those rows; texts and combinations are
compared by value then, as different ones may share a hash.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from penstock.data import arrow
from penstock.data.digest import CellHasher, mix
from penstock.quality.outcome import DRAWN
from penstock.quality.states.base import OnePass, Rows
from penstock.quality.states.kept import draw, first
from penstock.records.dataset import Column

if TYPE_CHECKING:
    import pyarrow as pa

_Keys = npt.NDArray[np.uint64]
_NONE: _Keys = np.empty(0, np.uint64)
_PENDING = 1 << 20
_ROWS = "rows"


@dataclass(frozen=True)
class Key:
    """What is to be unique: the values of a column, or rows by several columns.

    Args:
        of: The columns.
        ignore: Which rows do not count: those where `all` or `any` of the values are missing, or
            `none`.
    """

    of: tuple[Column, ...]
    ignore: str = "any"

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(column.name for column in self.of)

    @property
    def exact(self) -> bool:
        """Whether equal keys are equal values."""
        return len(self.of) == 1 and self.of[0].type != "string"

    def keys(self, rows: Rows) -> tuple[_Keys, npt.NDArray[np.bool_]]:
        """Return a key for each row, and which rows count."""
        sums = np.zeros(len(rows), np.uint64)
        absent = []
        for number, column in enumerate(self.of):
            array = rows.column(column.name)
            # Places count: (1, 2) is not (2, 1).
            hashed = CellHasher(Column(name=str(number), type=column.type)).hashes(array)
            np.add(sums, hashed, out=sums)
            absent.append(arrow.flags(array.is_null()))
        return (sums if self.exact else mix(sums)), self._counts(absent, len(rows))

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


@dataclass
class Repeats:
    """The first pass: the different keys, and which of them repeat.

    Args:
        key: What is to be unique.
        counted: Whether the rows that repeat are to be counted, and not only the different values.
        checked: Rows that count.
        seen: The different keys in order; of rows that were taken in lately, any keys.
        repeated: Keys that are there more than once.
    """

    key: Key
    counted: bool = True
    checked: int = 0
    seen: list[_Keys] = field(default_factory=list)
    repeated: _Keys = field(default_factory=lambda: _NONE)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return self.key.names

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        keys, counts = self.key.keys(rows)
        keys = keys[counts]
        self.checked += len(keys)
        self._append(keys)

    def merge(self, other: Repeats) -> None:
        """Take in what another state saw."""
        self.checked += other.checked
        self.repeated = np.union1d(self.repeated, other.repeated)
        for keys in other.seen:
            self._append(keys)

    def follow_up(self) -> RepeatedRows | None:
        """Return the state that counts rows with a repeated key; None if there is none to count."""
        self._compact()
        if not len(self.repeated) or (self.key.exact and not self.counted):
            return None
        single = len(self.seen[0]) - len(self.repeated)
        return RepeatedRows(self.key, self.repeated, self.checked, single)

    def finish(self) -> Uniqueness:
        """Return what is known without a second pass."""
        return Uniqueness(self.checked, sum(map(len, self.seen)), 0, [])

    def _append(self, keys: _Keys) -> None:
        self.seen.append(keys)
        if sum(map(len, self.seen[1:])) > _PENDING + len(self.seen[0]):
            self._compact()

    def _compact(self) -> None:
        if not self.seen:
            return
        keys = np.sort(np.concatenate(self.seen))
        again = keys[1:] == keys[:-1]
        if again.any():
            self.repeated = np.union1d(self.repeated, keys[1:][again])
            keys = keys[np.concatenate(([True], ~again))]
        self.seen = [keys]


@dataclass
class RepeatedRows(OnePass):
    """The second pass: the rows whose key repeats, compared by value where the key is a hash.

    Args:
        key: What is to be unique.
        repeated: The keys that repeat, in order.
        checked: Rows that count.
        single: Rows whose key does not repeat.
        unexpected: Rows with a repeated key.
        drawn: The first 200 of these.
        groups: Their different values, and how often each is there, where the key is a hash.
    """

    key: Key
    repeated: _Keys
    checked: int
    single: int
    unexpected: int = 0
    drawn: list[tuple[int, Any]] = field(default_factory=list)
    groups: list[pa.Table] = field(default_factory=list)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return self.key.names

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        keys, counts = self.key.keys(rows)
        again = counts & _among(keys, self.repeated)
        found = int(np.count_nonzero(again))
        if not found:
            return
        self.unexpected += found
        self.drawn = draw(self.drawn, rows, arrow.booleans(~again), self.key.names)
        if not self.key.exact:
            self._append(_counted(rows, self.key, again))

    def merge(self, other: RepeatedRows) -> None:
        """Take in what another state saw."""
        self.unexpected += other.unexpected
        self.drawn = first(self.drawn + other.drawn)
        for group in other.groups:
            self._append(group)

    def finish(self) -> Uniqueness:
        """Return what is known."""
        if self.key.exact:
            distinct = self.single + len(self.repeated)
            return Uniqueness(self.checked, distinct, self.unexpected, self.drawn)
        self._compact()
        rows = arrow.numbers(self.groups[0][_ROWS].combine_chunks())
        distinct = self.single + len(rows)
        if rows.min() > 1:
            return Uniqueness(self.checked, distinct, self.unexpected, self.drawn)
        return self._without_collisions(rows, distinct)

    def _without_collisions(self, rows: npt.NDArray[Any], distinct: int) -> Uniqueness:
        """Return what is known where different values share a hash and one of them is single."""
        alone = self.groups[0].filter(arrow.booleans(rows == 1)).drop_columns([_ROWS])
        single = {tuple(row.values()) for row in alone.to_pylist()}
        drawn = [one for one in self.drawn if _as_tuple(one[1]) not in single]
        unexpected = self.unexpected - len(single)
        return Uniqueness(self.checked, distinct, unexpected, drawn[:DRAWN])

    def _append(self, group: pa.Table) -> None:
        self.groups.append(group)
        if sum(map(len, self.groups[1:])) > _PENDING + len(self.groups[0]):
            self._compact()

    def _compact(self) -> None:
        import pyarrow as pa

        if len(self.groups) > 1:
            names = self.groups[0].column_names
            whole = pa.concat_tables(self.groups).group_by(names[:-1], use_threads=False)
            self.groups = [whole.aggregate([(_ROWS, "sum")]).rename_columns(names)]


def _among(keys: _Keys, ordered: _Keys) -> npt.NDArray[np.bool_]:
    at = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
    found: npt.NDArray[np.bool_] = ordered[at] == keys
    return found


def _counted(rows: Rows, key: Key, which: npt.NDArray[np.bool_]) -> pa.Table:
    """Return the different values of some rows, and how many rows have each."""
    import pyarrow as pa

    chosen = arrow.booleans(which)
    columns = [_without_minus_zero(rows.column(name).filter(chosen)) for name in key.names]
    names = [str(number) for number in range(len(columns))]
    grouped = pa.table(columns, names=names).group_by(names, use_threads=False)
    return grouped.aggregate([([], "count_all")]).rename_columns([*names, _ROWS])


def _without_minus_zero(array: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.add(array, 0.0) if pa.types.is_floating(array.type) else array


def _as_tuple(values: Any) -> tuple[Any, ...]:
    return tuple(values.values()) if isinstance(values, dict) else (values,)
