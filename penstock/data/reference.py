"""The distribution of a dataset's columns, and how far another dataset has moved from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from penstock.data.table import read_dataset, read_table
from penstock.records.dataset import Column, Level
from penstock.records.reference import Reference, ReferenceColumn

CUTS = 100
LEVELS = 50

BINS = 10
"""Bins of an index of numbers: deciles of the reference, as is customary."""

_HALF = 0.5
"""Rows put into an empty bin, where the index would be infinite."""

Floats = npt.NDArray[np.float64]


def reference_of(folder: Path, *, complete: bool = True, known: float = 0.0) -> Reference:
    """Return how the columns of a dataset are distributed; one column is held at a time.

    Args:
        folder: The dataset.
        complete: Whether all of its rows are hashed beside the reference.
        known: Share of fresh rows that would equal one of them by chance.
    """
    dataset = read_dataset(folder)
    return Reference(
        dataset=dataset.content,
        rows=dataset.rows,
        columns=tuple(_column(folder, Column(name=c.name, type=c.type)) for c in dataset.columns),
        hashes="all" if complete else "lowest",
        known=known,
    )


def drift(reference: Reference, current: Reference) -> dict[str, float]:
    """Return the population stability index of every column that both have in one type.

    The index is the sum over bins of (q - p) ln(q / p), p and q being the shares of rows of the
    reference and now. Numbers have at most ten bins, deciles of the reference; text has its
    commonest levels; what is missing, and every other level, is a bin of its own. Two samples of
    one distribution differ by about (bins - 1)(1/n + 1/m) (Yurdakul and Naranjo 2020): that is
    taken off, and what is left is at least 0. Times are left out: later rows always lie later.

    Args:
        reference: Of the rows that are compared with.
        current: Of the rows that may have moved.
    """
    found = {}
    for column in current.columns:
        before = reference.column(column.name)
        if before is None or "datetime" in (before.type, column.type):
            continue
        if bool(before.edges) != bool(column.edges):
            continue
        old, new = _by_edges(before, column) if before.edges else _by_levels(before, column)
        found[column.name] = _index(old, new)
    return found


def _column(folder: Path, column: Column) -> ReferenceColumn:
    import pyarrow as pa
    import pyarrow.compute as pc

    values = read_table(folder, [column.name]).column(0)
    nulls = values.null_count
    values = values.drop_null()
    described = {"name": column.name, "type": column.type, "nulls": nulls}
    if len(values) == 0:
        return ReferenceColumn(**described)
    if column.type in ("string", "boolean"):
        pairs = pc.value_counts(values.cast(pa.string())).to_pylist()
        pairs.sort(key=lambda pair: (-pair["counts"], pair["values"]))
        top = [Level(value=pair["values"], rows=pair["counts"]) for pair in pairs[:LEVELS]]
        others = len(values) - sum(level.rows for level in top)
        return ReferenceColumn(**described, levels=tuple(top), others=others)
    if column.type == "datetime":
        numbers = values.cast(pa.int64()).to_numpy() / 1e6
    else:
        numbers = values.to_numpy().astype(np.float64)
    edges, counts = _cut(numbers)
    return ReferenceColumn(
        **described, edges=tuple(edges.tolist()), counts=tuple(map(int, counts.tolist()))
    )


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
    places = np.searchsorted(upto, np.arange(1, BINS) / BINS * upto[-1])
    cuts = np.unique(np.asarray(old.edges)[places])

    def rows(column: ReferenceColumn) -> Floats:
        bins = np.searchsorted(cuts, np.asarray(column.edges), side="left")
        counts = np.bincount(bins, weights=np.asarray(column.counts), minlength=len(cuts) + 1)
        return np.append(counts, column.nulls)

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
