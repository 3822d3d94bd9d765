"""A column of the holdout as few levels with names in words. Imported only while evaluating."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from penstock.data import arrow
from penstock.data.table import iter_columns
from penstock.errors import absent_column
from penstock.records.dataset import ColumnType

if TYPE_CHECKING:
    import pyarrow as pa

    from penstock.gate.holdout import Holdout

MISSING = "missing"
OTHER = "other values"

QUANTILES = 5
"""Parts that a column of many different numbers or times is cut into, about equally many rows."""

_LONGEST = 40


@dataclass(frozen=True)
class Levels:
    """What level each row is of.

    Args:
        columns: The column, or several that were crossed.
        codes: Shape (n,), from 0; of the smallest type that holds them: all columns are held.
        names: Of the levels, in words with the column: `age from 20 to below 30`.
    """

    columns: tuple[str, ...]
    codes: NDArray[np.integer]
    names: tuple[str, ...]


def levels_of(
    holdout: Holdout, columns: Sequence[str], *, levels: int, where: str
) -> Iterator[Levels]:
    """Read columns and yield the levels of each.

    A missing value is a level. Text and numbers of at most `levels` different values stay as they
    are; of more texts the commonest are levels, the others one together; more numbers, and times,
    are cut at quantiles.

    Args:
        holdout: Whose rows; a column need not be one that a model takes.
        columns: Their names.
        levels: See above.
        where: What to call the rule in an error.

    Raises:
        InputError: If the holdout has no such column.
    """
    there = {column.name: column.type for column in holdout.dataset.columns}
    for column in columns:
        if column not in there:
            raise absent_column(column, there, where=where, table="the holdout")
    for column, read in iter_columns(holdout.folder, columns):
        yield _levels_of(read.combine_chunks(), column, levels=levels, kind=there[column])


def _levels_of(values: pa.Array, column: str, *, levels: int, kind: ColumnType) -> Levels:
    if kind in ("string", "boolean"):
        codes, names = _of_categories(values, levels)
        names = [f"{column} = {name}" for name in names]
    else:
        codes, names = _of_numbers(values, levels, column=column, dated=kind == "datetime")
    if values.null_count:
        codes = np.where(values.is_null().to_numpy(zero_copy_only=False), len(names), codes)
        names.append(f"{column} is {MISSING}")
    return _compact((column,), codes, names)


def crossed(parts: Sequence[Levels]) -> Levels:
    """Return the levels that occur of several columns together."""
    return reduce(_cross, parts)


def _cross(one: Levels, other: Levels) -> Levels:
    width = len(other.names)
    codes = one.codes.astype(np.int64) * width + other.codes
    size = len(one.names) * width
    there = np.flatnonzero(np.bincount(codes, minlength=size))
    place = np.zeros(size, dtype=np.min_scalar_type(len(there)))
    place[there] = np.arange(len(there))
    names = tuple(f"{one.names[at // width]} and {other.names[at % width]}" for at in there)
    return Levels((*one.columns, *other.columns), place[codes], names)


def _compact(columns: tuple[str, ...], codes: NDArray[np.integer], names: list[str]) -> Levels:
    """Leave out levels that no row has."""
    there = np.flatnonzero(np.bincount(codes, minlength=len(names)))
    place = np.zeros(len(names), dtype=np.min_scalar_type(len(there)))
    place[there] = np.arange(len(there))
    return Levels(columns, place[codes], tuple(names[at] for at in there))


def _of_categories(values: pa.Array, levels: int) -> tuple[NDArray[np.integer], list[str]]:
    encoded = values.dictionary_encode()
    given = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)
    present = given[values.is_valid().to_numpy(zero_copy_only=False)]
    different = len(encoded.dictionary)
    counts = np.bincount(present, minlength=different)
    near = np.arange(different)
    if different > levels:
        # An identifier has as many levels as rows: its texts are not made Python's.
        near = _commonest(encoded.dictionary, counts, levels)
    texts = {at: _text(encoded.dictionary[at].as_py()) for at in near.tolist()}
    # Equally common ones in the order of their text, so that the order of rows changes nothing.
    taken = sorted(texts, key=lambda at: (-counts[at], texts[at]))[:levels]
    place = np.full(max(different, 1), len(taken), dtype=np.min_scalar_type(len(taken) + 1))
    place[taken] = np.arange(len(taken))
    return place[given], [*(texts[at] for at in taken), OTHER]


def _commonest(texts: pa.Array, counts: NDArray[np.int64], levels: int) -> NDArray[np.int64]:
    """Return the places of the commonest texts; of equally common ones those that come first."""
    import pyarrow as pa
    import pyarrow.compute as pc

    least = np.partition(counts, len(counts) - levels)[len(counts) - levels]
    near = np.flatnonzero(counts >= least)
    given = texts.take(arrow.integers(near))
    long = pc.greater(pc.utf8_length(given), _LONGEST)
    cut = pc.binary_join_element_wise(pc.utf8_slice_codeunits(given, 0, _LONGEST - 1), "…", "")
    order = [("rows", "descending"), ("text", "ascending"), ("at", "ascending")]
    table = pa.table({"rows": counts[near], "text": pc.if_else(long, cut, given), "at": near})
    return np.asarray(near[pc.select_k_unstable(table, levels, order).to_numpy()])


def _of_numbers(
    values: pa.Array, levels: int, *, column: str, dated: bool
) -> tuple[NDArray[np.integer], list[str]]:
    import pyarrow as pa

    plain = values.cast(pa.int64()) if dated else values
    numbers = plain.fill_null(0).to_numpy(zero_copy_only=False)
    present = numbers[values.is_valid().to_numpy(zero_copy_only=False)]
    if len(present) == 0:
        return np.zeros(len(values), dtype=np.int32), [column]
    distinct = np.unique(present)
    if len(distinct) <= levels and not dated:
        names = [f"{column} = {_number(value)}" for value in distinct]
        return np.clip(np.searchsorted(distinct, numbers), 0, len(distinct) - 1), names
    at = np.linspace(0, 1, QUANTILES + 1)[1:-1]
    cuts = np.unique(np.quantile(present, at, method="higher"))
    cuts = cuts[cuts > present.min()]
    return np.searchsorted(cuts, numbers, side="right"), _ranges(column, cuts, dated=dated)


def _ranges(column: str, cuts: NDArray[np.generic], *, dated: bool) -> list[str]:
    texts = [_moment(cut) if dated else _number(cut) for cut in cuts]
    if not texts:
        return [f"{column}, any value"]
    before, since = ("before", "since") if dated else ("below", "at least")
    return [
        f"{column} {before} {texts[0]}",
        *(f"{column} from {low} to {before} {high}" for low, high in pairwise(texts)),
        f"{column} {since} {texts[-1]}",
    ]


def _number(value: np.generic) -> str:
    number = value.item()
    return str(int(number)) if number == int(number) else f"{number:.4g}"


def _moment(value: np.generic) -> str:
    text = str(np.datetime64(int(value.item()), "us"))
    return text.replace("T", " ").removesuffix(".000000").removesuffix(" 00:00:00")


def _text(value: object) -> str:
    text = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
