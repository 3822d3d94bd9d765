"""The proof of a split: what was written is what was drawn, and nothing crosses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from penstock.data.split.assignment import Assignment, assigned
from penstock.data.table import iter_batches
from penstock.errors import IntegrityError
from penstock.records.dataset import Split

if TYPE_CHECKING:
    import pyarrow as pa


def check_written(folder: Path, assignment: Assignment, *, train: Path, holdout: Path) -> None:
    """Read both parts back beside the dataset: each holds the rows that were drawn, all of them.

    Rows are compared value by value. So what their hashes prove is proved of what was written, and
    no row is hashed again.
    """
    parts = _Rows(train), _Rows(holdout)
    for expected in assigned(folder, assignment):
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


def prove(record: Split, assignment: Assignment, *, where: str) -> Split:
    """Establish every claim of the record from the rows of both parts."""
    copies, train, holdout = assignment.copies_in_both, assignment.train, assignment.holdout
    _require(copies == 0, f"copies of {copies:,} rows are on both sides", where)
    groups = len(np.intersect1d(train.keys, holdout.keys))
    _require(groups == 0, f"{groups:,} values of {record.column!r} are on both sides", where)
    if record.method == "time":
        before, after = train.newest, holdout.oldest
        newest = before is not None and after is not None and before < after
        _require(newest, f"older and newer values of {record.column!r} are on both sides", where)
    return record.model_copy(update={"rows_in_both": assignment.rows_in_both})


def _require(proved: bool, otherwise: str, where: str) -> None:
    if not proved:
        raise IntegrityError(
            f"the split failed its proof: {otherwise}",
            where=where,
            remedy="Run it again; if it persists, the disk or this program is at fault.",
        )
