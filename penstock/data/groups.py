"""Groups of people by sensitive columns: levels made once on the holdout, the same for later rows.

`penstock.gate.levels` names levels for one page from the rows at hand; here the rule by which a
value finds its level is a record, so that a month later the same people are in the same group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from penstock.records.baseline import GroupColumn

if TYPE_CHECKING:
    import pyarrow as pa

LEVELS = 100
"""Different values up to which each is a level of its own, as in the gate's rule on fairness."""

QUANTILES = 5
"""Parts that a column of more numbers, or of times, is cut into."""

_LONGEST = 40


def group_column(name: str, values: pa.Array) -> GroupColumn:
    """Return how the values of a column fall into levels.

    Args:
        name: The column's.
        values: Text, booleans, numbers or times, of the rows that define the levels.

    Example:
        >>> import pyarrow as pa
        >>> group_column("sex", pa.array(["f", "m", "f", None])).values
        ('f', 'm')
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not _is_number(values.type):
        counted = pc.value_counts(_texts(values).drop_null())
        pairs = zip(*(counted.field(at).to_pylist() for at in (0, 1)), strict=True)
        # Equally common ones in the order of their text: the order of rows changes nothing.
        ranked = sorted(pairs, key=lambda pair: (-pair[1], pair[0]))
        kept = tuple(text for text, _ in ranked[:LEVELS])
        return GroupColumn(name=name, kind="category", values=kept)
    present = _numbers(values)
    present = present[np.isfinite(present)]
    cuts = np.unique(present)[1:]
    if len(cuts) >= LEVELS or pa.types.is_timestamp(values.type):
        at = np.linspace(0, 1, QUANTILES + 1)[1:-1]
        inner = np.quantile(present, at, method="higher") if len(cuts) else cuts
        cuts = np.unique(inner[inner > present.min(initial=np.inf)])
    return GroupColumn(name=name, kind="number", cuts=tuple(cuts.tolist()))


def levels_in(column: GroupColumn, values: pa.Array) -> NDArray[np.int64]:
    """Return the level of each value, shape (n,); the last level is that of a missing value."""
    import pyarrow.compute as pc

    absent = values.is_null().to_numpy(zero_copy_only=False)
    if column.kind == "number":
        numbers = _numbers(values)
        absent = absent | np.isnan(numbers)
        found = np.searchsorted(np.asarray(column.cuts), numbers, side="right")
    else:
        import pyarrow as pa

        known = pa.array(column.values, type=pa.string())
        places = pc.fill_null(pc.index_in(_texts(values), known), len(column.values))
        found = places.to_numpy(zero_copy_only=False)
    return np.where(absent, column.size - 1, found).astype(np.int64)


def group_codes(columns: Sequence[GroupColumn], table: Mapping[str, pa.Array]) -> NDArray[np.int64]:
    """Return one code for the levels of all columns together, shape (n,); see `code_of`.

    Args:
        columns: At least one.
        table: The values by the columns' names, all of n rows.
    """
    total = np.zeros(len(table[columns[0].name]), dtype=np.int64)
    for column in columns:
        total = total * column.size + levels_in(column, table[column.name])
    return total


def code_of(columns: Sequence[GroupColumn], levels: Sequence[int]) -> int:
    """Return the code that `group_codes` gives to rows of these levels."""
    total = 0
    for column, level in zip(columns, levels, strict=True):
        total = total * column.size + level
    return total


def levels_of_code(columns: Sequence[GroupColumn], code: int) -> tuple[int, ...]:
    """Return the level of each column, of a code of `group_codes`."""
    found = []
    for column in reversed(columns):
        code, level = divmod(code, column.size)
        found.append(level)
    return tuple(reversed(found))


def name_of(columns: Sequence[GroupColumn], levels: Sequence[int], *, times: Sequence[str]) -> str:
    """Return a group's name in words.

    Args:
        columns: The columns.
        levels: One of each.
        times: Names of the columns that hold times.
    """
    return " and ".join(
        _level_name(column, level, timed=column.name in times)
        for column, level in zip(columns, levels, strict=True)
    )


def _level_name(column: GroupColumn, level: int, *, timed: bool) -> str:
    if level == column.size - 1:
        return f"{column.name} is missing"
    if column.kind == "category":
        if level == len(column.values):
            return f"{column.name} = other values"
        text = column.values[level]
        return f"{column.name} = {text if len(text) <= _LONGEST else text[:39] + '…'}"
    cuts = [_moment(cut) if timed else f"{cut:.6g}" for cut in column.cuts]
    if not cuts:
        return f"{column.name}, any value"
    if level == 0:
        return f"{column.name} below {cuts[0]}"
    if level == len(cuts):
        return f"{column.name} at least {cuts[-1]}"
    return f"{column.name} from {cuts[level - 1]} to below {cuts[level]}"


def _moment(microseconds: float) -> str:
    text = str(np.datetime64(int(microseconds), "us")).replace("T", " ")
    return text.removesuffix(".000000").removesuffix(" 00:00:00")


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_timestamp(kind))


def _numbers(values: pa.Array) -> NDArray[np.float64]:
    """Return numbers, or times as microseconds since 1970; NaN for missing."""
    import pyarrow as pa

    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.timestamp("us", tz=values.type.tz)).cast(pa.int64())
    return np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _texts(values: pa.Array) -> pa.Array:
    """Return text; booleans as `true` and `false`."""
    import pyarrow as pa

    return values.cast(pa.string())
