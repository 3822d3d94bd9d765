"""The columns of a request as the arrays that a scorer takes.

What a value means is in `penstock.data.types`; here is what a server adds: whose request it is
that holds a value which does not fit, and which values training did not see.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from penstock.data.types.columns import BadValue, TypedColumns
from penstock.data.types.value import expected
from penstock.records.dataset import Column, Reading
from penstock.serving.request_errors import RequestError, show

Columns = Mapping[str, list[Any]]
"""Values by column name, all lists of the same length; None stands for a missing value."""

UnseenPolicy = Literal["accept", "reject"]


@dataclass(frozen=True)
class Batch:
    """The rows of one request as a scorer takes them.

    Attributes:
        arrays: By column: float64 with NaN (integer, number, boolean), lists of text or None
            (string), datetime64[us] with NaT (datetime).
        rows: How many rows.
        missing: Missing values by column, where there are any.
        unseen: Values that training did not see, by column, where there are any.
    """

    arrays: dict[str, Any]
    rows: int
    missing: dict[str, int]
    unseen: dict[str, int]


class Intake:
    """What one model's columns may hold.

    Args:
        columns: The model's raw columns.
        reading: How the texts of the training table were read: a text in a request means what it
            meant there. None: that table had types of its own.
        levels: Values that training saw, by column, for the categories.
        unseen: What becomes of another value in one of those: accept it, as training treats a
            level that it does not know, or reject the request.
    """

    def __init__(
        self,
        columns: Iterable[Column],
        *,
        reading: Reading | None = None,
        levels: Mapping[str, frozenset[str]],
        unseen: UnseenPolicy = "accept",
    ) -> None:
        self.columns = tuple(columns)
        self.names = frozenset(column.name for column in self.columns)
        self._levels = dict(levels)
        self._reject = unseen == "reject"
        self.texts = reading is not None
        self._typed = TypedColumns(self.columns, reading)

    def convert(self, values: Columns, *, row: str) -> Batch:
        """Return the columns of a request as arrays.

        Args:
            values: All of the model's columns, of the same length.
            row: How an error names a row: `{}` is its index, counted from 0.

        Raises:
            RequestError: Naming the row, the column and the value that does not fit; 422 for an
                unseen value where those are rejected.
        """
        try:
            arrays, missing = self._typed.arrays(values)
        except BadValue as bad:
            raise RequestError(
                f"{row.format(bad.row)}, column {show(bad.rules.name)}: expected "
                f"{expected(bad.rules)}, got {show(bad.value)}"
            ) from None
        rows = len(values[self.columns[0].name])
        unseen = self._unseen(arrays, row)
        return Batch(arrays=arrays, rows=rows, missing=missing, unseen=unseen)

    def _unseen(self, values: Columns, row: str) -> dict[str, int]:
        counts = {}
        for name, known in self._levels.items():
            foreign = set(values[name]) - known
            foreign.discard(None)
            if foreign:
                if self._reject:
                    _refuse_level(values[name], foreign, name=name, row=row)
                counts[name] = sum(value in foreign for value in values[name])
        return counts


def _refuse_level(values: list[Any], foreign: set[str], *, name: str, row: str) -> NoReturn:
    index = next(i for i, value in enumerate(values) if value in foreign)
    raise RequestError(
        f"{row.format(index)}, column {show(name)}: {show(values[index])} is not a value that the "
        "model was trained with, and this server rejects those",
        status=422,
    )
