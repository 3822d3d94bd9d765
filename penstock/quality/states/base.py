"""The form of every state, and the rows that it takes in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from penstock.data import arrow
from penstock.quality.values import time_of

if TYPE_CHECKING:
    import pyarrow as pa


class State(Protocol):
    """What is known of some columns after some of the rows.

    A state begins empty, takes batches in, and merges with another of its kind that saw other rows.
    In whatever batches and order that happens, what it finishes with is the same, to the last bit.
    Some need a second look: then `follow_up` returns the state of that, else None.
    """

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""

    def update(self, rows: Rows) -> None:
        """Take a batch in."""

    def merge(self, other: Self) -> None:
        """Take in what another state of the same kind saw."""

    def follow_up(self) -> State | None:
        """Return the empty state of a second pass over all rows, None if this one suffices."""

    def finish(self) -> Any:
        """Return what was found."""


class Rows:
    """A batch of rows, and what several states derive from the same column.

    Args:
        batch: The rows, in the storage types; texts may be a dictionary and indices.
        start: Number in the table, from 0, of the first row of the part that they are of.
        places: The place of each in that part; None: they are all of it.

    Attributes:
        kept: The rows of it that row conditions select, so that each is applied once.
    """

    def __init__(
        self, batch: pa.RecordBatch, start: int, places: npt.NDArray[np.int64] | None = None
    ) -> None:
        self.batch = batch
        self.start = start
        self._places = places
        self.kept: dict[Any, Rows] = {}
        self._values: dict[str, pa.Array] = {}
        self._columns: dict[str, pa.Array] = {}

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    @property
    def numbers_in_table(self) -> npt.NDArray[np.int64]:
        """The number of each row in the table, from 0."""
        places = np.arange(len(self)) if self._places is None else self._places
        return np.asarray(places + self.start, dtype=np.int64)

    def where(self, kept: npt.NDArray[np.bool_]) -> Rows:
        """Return some of the rows."""
        places = np.flatnonzero(kept) if self._places is None else self._places[kept]
        return Rows(self.batch.filter(arrow.booleans(kept)), self.start, places)

    def column(self, name: str) -> pa.Array:
        """Return a column; what is not a number is null, as when a dataset is written."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if name not in self._columns:
            column = self.batch.column(name)
            if pa.types.is_dictionary(column.type):
                column = column.dictionary_decode()
            if pa.types.is_floating(column.type):
                nans = pc.is_nan(column)
                if nans.true_count:
                    column = pc.if_else(nans, arrow.null(column.type), column)
            self._columns[name] = column
        return self._columns[name]

    def exact(self, name: str) -> pa.Array:
        """Return a column in which minus zero is zero: Arrow looks values up by their bits."""
        return _without_minus_zero(self.column(name))

    def each(self, name: str, ask: Callable[[pa.Array], pa.BooleanArray]) -> pa.BooleanArray:
        """Return an answer for each row of a column, asking each value of a dictionary once."""
        import pyarrow as pa

        held = self.batch.column(name)
        if not pa.types.is_dictionary(held.type):
            return ask(self.exact(name))
        return ask(held.dictionary).take(held.indices)

    def different(self, name: str) -> pa.Array:
        """Return the different values of a column that are not null."""
        import pyarrow as pa

        held = self.batch.column(name)
        if not pa.types.is_dictionary(held.type):
            return _without_minus_zero(self.values(name)).unique()
        # A dictionary may hold values of other batches, and one value twice.
        return held.dictionary.take(held.indices.drop_null().unique()).unique()

    def values(self, name: str) -> pa.Array:
        """Return the values of a column that are not null."""
        if name not in self._values:
            column = self.column(name)
            self._values[name] = column.drop_null() if column.null_count else column
        return self._values[name]

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """Return the values of a column of numbers, times or booleans that are not null."""
        import pyarrow as pa

        values = self.values(name)
        if pa.types.is_boolean(values.type):
            return arrow.flags(values).astype(np.int64)
        if pa.types.is_timestamp(values.type):
            values = values.view(pa.int64())
        return arrow.numbers(values)


def _without_minus_zero(array: pa.Array) -> pa.Array:
    """Return numbers in which minus zero is zero: Arrow looks values up by their bits."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_floating(array.type):
        return array
    return pc.add(array, arrow.number(0.0, array.type))


def plain(value: pa.Scalar) -> Any:
    """Return a value as Python holds it; a time that Python has not, as text."""
    import pyarrow as pa

    if pa.types.is_timestamp(value.type):
        # Arrow would import pandas to make a time.
        return None if value.value is None else time_of(value.value)
    return value.as_py()


class OnePass:
    """A state that needs no second pass."""

    def follow_up(self) -> None:
        """Return None."""
        return
