"""The distribution of a dataset's columns, and how far another dataset has moved from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from penstock.data.profile.counting import level_text
from penstock.data.table import iter_columns, read_dataset
from penstock.records.dataset import Column, Level
from penstock.records.reference import Reference, ReferenceColumn

if TYPE_CHECKING:
    import pyarrow as pa

CUTS = 100
LEVELS = 50

SHARED = 5
"""Rows from which a text is listed: what fewer hold says nothing of a distribution, and may name
somebody."""

BINS = 10
"""Bins of an index of numbers: deciles of the reference, as is customary."""

_OFTEN = 5
"""Rows of each different number, on average, from which few of them are compared as levels."""

_HALF = 0.5
"""Rows put into an empty bin, where the index would be infinite."""

Floats = npt.NDArray[np.float64]


def reference_of(folder: Path, *, complete: bool = True, known: float = 0.0) -> Reference:
    """Return how the columns of a dataset are distributed; a few columns are held at a time.

    Args:
        folder: The dataset.
        complete: Whether all of its rows are hashed beside the reference.
        known: Share of fresh rows that would equal one of them by chance.
    """
    dataset = read_dataset(folder)
    read = iter_columns(folder, [column.name for column in dataset.columns])
    return Reference(
        dataset=dataset.content,
        rows=dataset.rows,
        columns=tuple(
            _column(Column(name=column.name, type=column.type), values)
            for column, (_, values) in zip(dataset.columns, read, strict=True)
        ),
        hashes="all" if complete else "lowest",
        known=known,
    )


@dataclass(frozen=True)
class Drift:
    """How far columns have moved.

    Args:
        index: The population stability index of each column that can be compared.
        incomparable: Why not, of each column of the reference that cannot.
        new: Columns that the reference does not have.
    """

    index: dict[str, float]
    incomparable: dict[str, str]
    new: tuple[str, ...]


def drift(reference: Reference, current: Reference) -> Drift:
    """Return the population stability index of every column of the reference.

    The index is the sum over bins of (q - p) ln(q / p), p and q being the shares of rows of the
    reference and now. Numbers have at most ten bins, deciles of the reference, and a bin of its own
    for what occurs in a tenth of its rows; few different numbers, and text, have their levels; what
    is missing, and every other level, is a bin of its own. Two samples of one distribution differ
    by about (bins - 1)(1/n + 1/m) (Yurdakul and Naranjo 2020): that is taken off, and what is left
    is at least 0. Of times only what is missing is compared: later rows always lie later.

    Args:
        reference: Of the rows that are compared with.
        current: Of the rows that may have moved.
    """
    index, incomparable = {}, {}
    for before in reference.columns:
        now = current.column(before.name)
        if now is None:
            incomparable[before.name] = "it is gone"
        elif (bins := _bins(before, now)) is None:
            incomparable[before.name] = f"it was stored as {before.type}, and is as {now.type}"
        else:
            index[before.name] = _index(*bins)
    known = {column.name for column in reference.columns}
    new = tuple(column.name for column in current.columns if column.name not in known)
    return Drift(index, incomparable, new)


def _bins(old: ReferenceColumn, new: ReferenceColumn) -> tuple[Floats, Floats] | None:
    """Return the rows of both by bin, None where the types cannot be compared."""
    if not _known(old) or not _known(new) or old.type == new.type == "datetime":
        return _missing(old), _missing(new)
    if "datetime" in (old.type, new.type) or bool(old.edges) != bool(new.edges):
        return None
    if not old.edges:
        return _by_levels(old, new)
    return _by_values(old, new) if old.exact else _by_edges(old, new)


def _known(column: ReferenceColumn) -> int:
    return sum(column.counts) + sum(level.rows for level in column.levels) + column.others


def _missing(column: ReferenceColumn) -> Floats:
    return np.array([_known(column), column.nulls], float)


def _column(column: Column, values: pa.ChunkedArray) -> ReferenceColumn:
    import pyarrow as pa
    import pyarrow.compute as pc

    nulls = values.null_count
    values = values.drop_null()
    described = {"name": column.name, "type": column.type, "nulls": nulls}
    if len(values) == 0:
        return ReferenceColumn(**described)
    if column.type in ("string", "boolean"):
        counted = pc.value_counts(values.cast(pa.string()))
        order = [("counts", "descending"), ("values", "ascending")]
        table = pa.table({name: counted.field(name) for name in ("values", "counts")})
        places = pc.select_k_unstable(table, k=LEVELS, sort_keys=order)
        top = _short(table.take(places).to_pylist())
        others = len(values) - sum(top.values())
        levels = tuple(Level(value=value, rows=rows) for value, rows in top.items())
        return ReferenceColumn(**described, levels=levels, others=others)
    if column.type == "datetime":
        numbers = values.cast(pa.int64()).to_numpy() / 1e6
    else:
        numbers = values.to_numpy().astype(np.float64)
    different, counts = np.unique(numbers + 0.0, return_counts=True)
    exact = len(different) <= min(LEVELS, len(numbers) / _OFTEN) and column.type != "datetime"
    edges, counts = (different, counts) if exact else _cut(numbers)
    return ReferenceColumn(
        **described,
        edges=tuple(edges.tolist()),
        counts=tuple(map(int, counts.tolist())),
        exact=exact,
    )


def _short(pairs: list[dict[str, Any]]) -> dict[str, int]:
    """Return how often each common text occurs, long ones cut: those that begin alike are one."""
    counts: Counter[str] = Counter()
    for pair in pairs:
        counts[level_text(pair["values"])] += pair["counts"]
    return {text: rows for text, rows in counts.items() if rows >= SHARED}


def _cut(numbers: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return edges that are values of the column, and the rows up to each."""
    ordered = np.sort(numbers)
    places = np.ceil(np.linspace(0, 1, CUTS + 1)[1:] * len(ordered)).astype(np.int64) - 1
    edges = np.unique(ordered[places])
    below = np.searchsorted(ordered, edges, side="right")
    return edges, np.diff(below, prepend=0)


def _by_edges(old: ReferenceColumn, new: ReferenceColumn) -> tuple[Floats, Floats]:
    """Return rows by decile of the old column; each small bin counts where its upper edge lies."""
    upto = np.cumsum(old.counts)
    deciles = np.searchsorted(upto, np.arange(1, BINS) / BINS * upto[-1])
    heavy = np.flatnonzero(np.asarray(old.counts) >= upto[-1] / BINS)
    # A bin ends below a heavy value too, so that what lies below is not counted with it.
    places = np.concatenate([deciles, heavy, heavy[heavy > 0] - 1])
    cuts = np.unique(np.asarray(old.edges)[places])

    def rows(column: ReferenceColumn) -> Floats:
        bins = np.searchsorted(cuts, np.asarray(column.edges), side="left")
        counts = np.bincount(bins, weights=np.asarray(column.counts), minlength=len(cuts) + 1)
        return np.append(counts, column.nulls)

    return rows(old), rows(new)


def _by_values(old: ReferenceColumn, new: ReferenceColumn) -> tuple[Floats, Floats]:
    """Return rows by value of the old column, then those of any other value, then the missing."""

    def rows(column: ReferenceColumn) -> Floats:
        counts = dict(zip(column.edges, column.counts, strict=True))
        known = [counts.pop(value, 0) for value in old.edges]
        return np.array([*known, sum(counts.values()), column.nulls], float)

    return rows(old), rows(new)


def _by_levels(old: ReferenceColumn, new: ReferenceColumn) -> tuple[Floats, Floats]:
    names = [level.value for level in old.levels]

    def rows(column: ReferenceColumn) -> Floats:
        counts = {level.value: level.rows for level in column.levels}
        known = [counts.pop(name, 0) for name in names]
        return np.array([*known, sum(counts.values()) + column.others, column.nulls], float)

    return rows(old), rows(new)


def _index(old: Floats, new: Floats) -> float:
    there = (old + new) > 0
    old, new = old[there], new[there]
    noise = (len(old) - 1) * (1 / old.sum() + 1 / new.sum()) if len(old) else 0.0
    old, new = np.maximum(old, _HALF), np.maximum(new, _HALF)
    p, q = old / old.sum(), new / new.sum()
    return max(0.0, float(((q - p) * np.log(q / p)).sum() - noise))
