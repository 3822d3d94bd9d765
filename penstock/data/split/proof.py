"""The proof of a split: what was written is what was drawn, and nothing crosses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from penstock.data.split.sampling import Drawn, divided
from penstock.data.split.table_hashes import TableHashes
from penstock.data.table import iter_batches
from penstock.errors import IntegrityError
from penstock.records.dataset import Split

if TYPE_CHECKING:
    import pyarrow as pa


def check_written(folder: Path, drawn: Drawn, *, train: Path, holdout: Path) -> None:
    """Read both parts back beside the dataset: each holds the rows that were drawn, all of them.

    Rows are compared value by value. So what their hashes prove is proved of what was written, and
    no row is hashed again.
    """
    parts = _Rows(train), _Rows(holdout)
    for expected in divided(folder, drawn):
        for part, rows in zip(parts, expected, strict=True):
            part.require(rows)
    for part in parts:
        part.require_end()


class _Rows:
    """The rows of a dataset, as many at a time as are requested."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._batches = iter_batches(folder)
        self._held: list[pa.RecordBatch] = []

    def require(self, expected: pa.RecordBatch) -> None:
        """Raise IntegrityError unless the next rows are these."""
        import pyarrow as pa

        while sum(batch.num_rows for batch in self._held) < expected.num_rows:
            batch = next(self._batches, None)
            if batch is None:
                self._refuse("the two parts together are not the whole dataset")
            self._held.append(batch)
        if not expected.num_rows:
            return
        known = pa.Table.from_batches(self._held)
        found = known.slice(0, expected.num_rows)
        if not found.equals(pa.Table.from_batches([expected])):
            self._refuse("the rows read back are not those written")
        self._held = known.slice(expected.num_rows).to_batches()

    def require_end(self) -> None:
        """Raise IntegrityError if there are more rows."""
        if any(batch.num_rows for batch in (*self._held, *self._batches)):
            self._refuse("the two parts together are not the whole dataset")

    def _refuse(self, reason: str) -> NoReturn:
        _require(False, reason, str(self._folder))
        raise AssertionError


def prove(record: Split, drawn: Drawn, *, where: str) -> Split:
    """Establish every claim of the record from the rows of both parts."""
    left, right = drawn.parts()
    copies = _copies_in_both(left, right, drawn)
    groups = len(np.intersect1d(left.keys, right.keys)) if record.column else 0
    _require(copies == 0, f"copies of {copies:,} rows are on both sides", where)
    _require(groups == 0, f"{groups:,} values of {record.column!r} are on both sides", where)
    if record.method == "time":
        _require(left.times.max() < right.times.min(), "the holdout is not the newest", where)
    both = len(np.intersect1d(left.rows, right.rows))
    return record.model_copy(update={"rows_in_both": both})


def _copies_in_both(left: TableHashes, right: TableHashes, drawn: Drawn) -> int:
    """Return how many rows have copies on both sides."""
    repeats, hashes = drawn.repeats, drawn.hashes
    found = 0
    for keys, flags, sides in (
        (hashes.features, repeats.by_features, (left.features, right.features)),
        (hashes.rows, repeats.by_row, (left.rows, right.rows)),
    ):
        found += len(np.intersect1d(np.intersect1d(*sides), keys[flags]))
    if repeats.times > 1:
        counts = np.unique(left.rows, return_counts=True)[1]
        found += int((counts % repeats.times != 0).sum())
    return found


def _require(proved: bool, otherwise: str, where: str) -> None:
    if not proved:
        raise IntegrityError(
            f"the split failed its proof: {otherwise}",
            where=where,
            remedy="Run it again; if it persists, the disk or this program is at fault.",
        )
