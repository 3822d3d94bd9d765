"""What a split needs to know of a dataset's rows: hashes, taken in one pass."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from penstock.data.hashing.digest import CellHasher, Hashes, RowDigest, RowHashes, hash_rows
from penstock.data.split.copy_rule import Flags
from penstock.data.split.spilled import part_of
from penstock.data.table import iter_batches
from penstock.errors import IntegrityError
from penstock.records.dataset import Dataset

if TYPE_CHECKING:
    import pyarrow as pa

_NEARLY_ALL = 0.95
"""Share of different values from which a column is counted exactly: sketches err by a percent."""


_COUNTED = 1 << 23
"""Values of a column that are compared at a time: 64 MB of hashes, and as much to gather them."""


@dataclass(frozen=True)
class BatchHashes:
    """Hashes of some rows of a dataset, shape (n,) each; no values.

    Args:
        rows: Of the whole row.
        second: The other hash of the whole row, which is only added up.
        features: Of all columns but the target and identifiers.
        labels: Of the target.
        parts: For each cut of these columns into two, of one part and of the other; none where
            there is only one column.
        keys: Of the group, or nothing.
        times: The time column's values, or nothing.
        unlabelled: Whether the target is missing.
    """

    rows: Hashes
    second: Hashes
    features: Hashes
    labels: Hashes
    parts: tuple[tuple[Hashes, Hashes], ...]
    keys: Hashes
    times: npt.NDArray[Any]
    unlabelled: Flags


@dataclass(frozen=True)
class _Comparing:
    """Which columns decide whether rows are equal but for their target.

    Args:
        columns: Their names: neither the target nor constant nor an identifier, which would hide
            that the rest of a row was copied.
        cuts: For each cut of them into two, the names of one part.
    """

    columns: frozenset[str]
    cuts: tuple[frozenset[str], ...]


def _comparing(folder: Path, dataset: Dataset, *, target: str, column: str) -> _Comparing:
    """Choose the columns by which rows are compared, and two cuts of them into parts.

    One cut keeps columns together whose names are neighbours, as those of one encoded category
    are, and parts them where both sides could hold equally many different rows. The other sets
    columns of few values apart from columns of many.

    Args:
        folder: The dataset.
        dataset: Its record.
        target: The column to predict.
        column: The column of the split, which is never taken for an identifier.
    """
    levels = {c.name: c.profile.distinct + (c.profile.nulls > 0) for c in dataset.columns}
    suspects = [
        c.name
        for c in dataset.columns
        if c.type in ("integer", "string")
        and c.name not in (target, column)
        and c.profile.distinct >= _NEARLY_ALL * dataset.rows
    ]
    apart = {name for name in suspects if _all_different(folder, dataset, name)}
    names = sorted(n for n, count in levels.items() if n not in apart and n != target and count > 1)
    if len(names) < 2:
        # A table of identifiers alone is compared by these.
        names = names or sorted(apart)
        return _Comparing(frozenset(names), ())
    reached = np.cumsum([math.log(levels[name]) for name in names])
    even = 1 + int(np.abs(reached[:-1] - reached[-1] / 2).argmin())
    rising = sorted(names, key=lambda name: (levels[name], name))
    steps = np.diff([math.log(levels[name]) for name in rising])
    few = 1 + int(steps.argmax())
    return _Comparing(frozenset(names), (frozenset(names[:even]), frozenset(rising[:few])))


def _all_different(folder: Path, dataset: Dataset, name: str) -> bool:
    """Return whether no value is there twice; the column is read once for each slice of hashes."""
    column = dataset.column(name)
    assert column is not None
    hasher = CellHasher(column)
    slices = -(-dataset.rows // _COUNTED)
    for at in range(slices):
        found = []
        for batch in iter_batches(folder, [name]):
            hashes = hasher.hashes(batch.column(0))
            found.append(hashes[part_of(hashes, slices) == at])
        held = np.concatenate(found)
        held.sort()
        if (held[1:] == held[:-1]).any():
            return False
    return True


def iter_hashes(
    folder: Path, dataset: Dataset, *, target: str, column: str
) -> Iterator[BatchHashes]:
    """Read a dataset once and yield the hashes of its rows, batch by batch.

    Args:
        folder: The dataset.
        dataset: Its record.
        target: The column to predict.
        column: The column of the split, if it has one.

    Raises:
        IntegrityError: At the end, if the rows are not the ones of the record.
    """
    by = _comparing(folder, dataset, target=target, column=column)
    hashing = _Hashing(dataset, target=target, column=column, by=by)
    digest = RowDigest(dataset.columns)
    for batch in iter_batches(folder):
        rows = hash_rows(hashing.cells(batch), rows=batch.num_rows)
        digest.add(rows)
        yield hashing.hashes(rows)
    if digest.content() != dataset.content:
        raise IntegrityError(
            f"the rows have digest {digest.content()}, the record says {dataset.content}",
            where=str(folder),
            remedy="The data was changed after it was written: ingest or split it again.",
        )


class _Hashing:
    """What is kept of one batch after another."""

    def __init__(self, dataset: Dataset, *, target: str, column: str, by: _Comparing) -> None:
        self._columns = [(column, CellHasher(column)) for column in dataset.columns]
        self._target, self._column = target, column
        self._by = (by.columns, *by.cuts)
        self._missing = next(h.missing for known, h in self._columns if known.name == target)
        self._found: dict[str, npt.NDArray[Any]] = {}

    def cells(self, batch: pa.RecordBatch) -> Iterator[tuple[CellHasher, Hashes]]:
        """Yield the cell hashes of a batch, column by column, and keep those that are needed."""
        sums = np.zeros((len(self._by), batch.num_rows), dtype=np.uint64)
        for (known, hasher), array in zip(self._columns, batch.columns, strict=True):
            cells = hasher.hashes(array)
            if known.name == self._target:
                self._found["labels"] = cells.copy()
            if known.name == self._column:
                self._found["keys"] = cells.copy()
                if known.type != "string":
                    self._found["times"] = _values(array)
            for place, part in enumerate(self._by):
                if known.name in part:
                    sums[place] += cells
            yield hasher, cells
        self._sums = sums

    def hashes(self, rows: RowHashes) -> BatchHashes:
        """Return the hashes of the batch whose cells were taken last."""
        nothing = np.empty(0, np.uint64)
        features, *cuts = self._sums
        labels = self._found["labels"]
        return BatchHashes(
            rows=rows.first,
            second=rows.second,
            features=features,
            labels=labels,
            parts=tuple((part, features - part) for part in cuts),
            keys=self._found.get("keys", nothing),
            times=self._found.get("times", nothing),
            unlabelled=labels == self._missing,
        )


def _values(array: pa.Array) -> npt.NDArray[Any]:
    import pyarrow as pa

    plain = array.view(pa.int64()) if pa.types.is_timestamp(array.type) else array
    return np.asarray(plain.to_numpy(zero_copy_only=False))
