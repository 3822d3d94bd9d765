"""A model's columns out of a source: each value as the server would read it, or the row refused.

Whole columns are converted at once where that gives the same; what does not fit is looked at value
by value, by `penstock.data.types.value.value_of`, which is what the server does with a request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.data.types.storage import arrow_type, storage_type, to_storage
from penstock.data.types.texts import Plan, clean_texts
from penstock.data.types.times import of_the_calendar
from penstock.data.types.value import Rules, TypeMismatch, expected, rules_of, value_of
from penstock.errors import InputError
from penstock.records.dataset import Column, Reading
from penstock.serving.request_errors import show

if TYPE_CHECKING:
    import pyarrow as pa

_PLAIN_CSV = frozenset([""])
_WHOLE = 2.0**63


@dataclass(frozen=True)
class Typed:
    """A column in its storage type.

    Attributes:
        values: The values, null where missing and in the rows that are at fault.
        bad: By row, counted from 0: what is wrong.
    """

    values: pa.Array
    bad: Mapping[int, str]


class ColumnReader:
    """How one column of a model is read from a source.

    Args:
        column: Its name and storage type.
        reading: How the texts of the training table were read; None: it had types of its own.
        csv: The source is CSV, whose texts then mean what a CSV body means to the server.
    """

    def __init__(self, column: Column, reading: Reading | None, *, csv: bool) -> None:
        self.column = column
        self._reading = reading
        plain = csv and reading is None
        self._rules = _csv_rules(column) if plain else [rules_of([column], reading)[column.name]]
        self._texts = csv or reading is not None
        written = None if reading is None else self._rules[0].written
        self.plan = Plan(column.type, written=written, declared=not plain)

    def typed(self, given: pa.Array) -> Typed:
        """Return an Arrow array in the column's storage type."""
        values = self._at_once(given)
        return Typed(values, {}) if values is not None else self._one_by_one(given)

    def of_objects(self, given: Sequence[Any]) -> Typed:
        """Return Python values, as JSON has them, in the column's storage type."""
        import pyarrow as pa

        values, bad = [], {}
        for row, value in enumerate(given):
            try:
                found = self._value(value)
            except (ValueError, OverflowError):
                found, bad[row] = None, self._message(value)
            values.append(found)
        return Typed(pa.array(values, arrow_type(self.column.type)), bad)

    def _at_once(self, given: pa.Array) -> pa.Array | None:
        """Return the whole array converted; None where a value may not fit."""
        import pyarrow as pa
        import pyarrow.compute as pc

        kind, found = self.column.type, storage_type(given.type)
        try:
            if found in ("string", kind):
                texts = found == "string"
                stored = self._of_texts(given) if texts else to_storage(given, self.column)
                # An infinite number is one that the server refuses.
                infinite = stored is not None and kind == "number" and not _finite(stored)
                if stored is not None and kind == "datetime":
                    of_the_calendar(stored)
                return None if infinite else stored
            if (found, kind) == ("integer", "number"):
                return pc.cast(given, pa.float64(), safe=False)
            if (found, kind) == ("number", "integer"):
                return _whole(to_storage(given, Column(name=self.column.name, type="number")))
        except (ValueError, InputError, TypeMismatch):  # Arrow's errors are ValueErrors.
            return None
        return None

    def _of_texts(self, given: pa.Array) -> pa.Array | None:
        import pyarrow as pa

        kind = self.column.type
        texts = given.dictionary_decode() if pa.types.is_dictionary(given.type) else given
        texts = texts.cast(pa.string())
        if self._reading is not None:
            texts = clean_texts(texts, self._reading)
        if kind == "string" or texts.null_count == len(texts):
            return texts if kind == "string" else pa.nulls(len(texts), arrow_type(kind))
        if not self._texts and kind != "datetime":
            return None
        return to_storage(self.plan.convert(texts, name=self.column.name), self.column)

    def _one_by_one(self, given: pa.Array) -> Typed:
        """Look at each different value."""
        import pyarrow as pa

        if self.column.type == "datetime" and pa.types.is_timestamp(given.type):
            # Python holds no time before the year 1 or after the year 9999: as text it is refused.
            given = given.cast(pa.string())
        try:
            encoded = given if pa.types.is_dictionary(given.type) else given.dictionary_encode()
        except pa.ArrowNotImplementedError:  # Lists, structs and other types of no table.
            return self.of_objects(given.to_pylist())
        different = self.of_objects(encoded.dictionary.to_pylist())
        places = encoded.indices
        values = different.values.take(places)
        if not different.bad:
            return Typed(values, {})
        at = places.fill_null(-1).to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(np.isin(at, list(different.bad)))
        return Typed(values, {int(row): different.bad[int(at[row])] for row in rows})

    def _value(self, value: Any) -> Any:
        for rules in self._rules[:-1]:
            try:
                return self._fitting(value_of(value, rules))
            except (ValueError, OverflowError):
                continue
        return self._fitting(value_of(value, self._rules[-1]))

    def _fitting(self, value: Any) -> Any:
        if isinstance(value, str):
            value.encode()  # Half a character is in no table; UnicodeEncodeError is a ValueError.
        if self.column.type == "integer" and isinstance(value, float):
            return value_of(value, Rules(self.column.name, "integer"))
        return value

    def _message(self, value: Any) -> str:
        given = show(value) if isinstance(value, str | int | float | bool | list | dict) else value
        return f"expected {expected(self._rules[0])}, got {given!s:.80}"


def _csv_rules(column: Column) -> list[Rules]:
    """Return how a CSV body's field is read by a model whose table had types of its own.

    See `penstock.serving.csv_body`: 30.0 is whole, as pandas writes it beside a missing value.
    """
    if column.type == "datetime":
        return [Rules(column.name, "datetime", texts=True, missing=_PLAIN_CSV)]
    kinds = ["integer", "number"] if column.type == "integer" else [column.type]
    return [
        Rules(column.name, kind, texts=True, missing=_PLAIN_CSV, declared=False)  # type: ignore[arg-type]
        for kind in kinds
    ]


def readers_of(
    columns: Sequence[Column], reading: Reading | None, *, csv: bool
) -> list[ColumnReader]:
    """Return how each column of a model is read."""
    return [ColumnReader(column, reading, csv=csv) for column in columns]


def scorer_arrays(batch: pa.RecordBatch, columns: Sequence[Column]) -> dict[str, Any]:
    """Return typed columns as `penstock.serving.columns.Batch.arrays` holds them."""
    return {column.name: _ARRAYS[column.type](batch.column(column.name)) for column in columns}


def _doubles(values: pa.Array) -> np.ndarray:
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers: np.ndarray = pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return numbers


def _flags(values: pa.Array) -> np.ndarray:
    import pyarrow as pa

    return _doubles(values.cast(pa.uint8()))


def _moments(values: pa.Array) -> np.ndarray:
    moments: np.ndarray = values.to_numpy(zero_copy_only=False).astype("datetime64[us]")
    return moments


_ARRAYS: Mapping[str, Callable[[pa.Array], Any]] = {
    "integer": _doubles,
    "number": _doubles,
    "boolean": _flags,
    "string": lambda values: values.to_pylist(),
    "datetime": _moments,
}


def _whole(numbers: pa.Array) -> pa.Array | None:
    """Return doubles as whole numbers; None if one is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    fits = pc.and_(pc.equal(numbers, pc.trunc(numbers)), pc.less(pc.abs(numbers), _WHOLE))
    return pc.cast(numbers, pa.int64()) if _all(fits) else None


def _finite(numbers: pa.Array) -> bool:
    import pyarrow.compute as pc

    return _all(pc.is_finite(numbers))


def _all(flags: pa.Array) -> bool:
    import pyarrow.compute as pc

    return pc.all(flags).as_py() is not False
