"""A table whose rows were drawn: the side of each row, and what is known of both sides.

Everything is counted anew from hashes and sides, part by part, so that it proves what was drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from penstock.data import arrow
from penstock.data.hashing.digest import Hashes, RowDigest, RowHashes
from penstock.data.hashing.rows import Lowest
from penstock.data.split.copy_rule import Flags, Numbers
from penstock.data.split.hashed_table import NO_PART, HashedTable, Piece
from penstock.data.split.sampling import Draw
from penstock.data.split.spilled import Records, Spilled
from penstock.data.table import iter_batches
from penstock.records.dataset import Dataset

if TYPE_CHECKING:
    import pyarrow as pa

TRAIN, HOLDOUT, LEFT_OUT = 1, 2, 3
_SIDE = np.dtype("u1")


@dataclass(frozen=True)
class Assignment:
    """A table whose rows were drawn.

    Attributes:
        table: The table.
        sides: Beside the hashes of each row: `TRAIN`, `HOLDOUT`, or `LEFT_OUT` for a further copy
            of a row of the holdout.
        train: What is known of the training part.
        holdout: What is known of the holdout.
        copies_in_both: Rows that have copies on both sides.
        rows_in_both: Different rows that are on both sides.
        known: Share of fresh rows that would equal one of the training part by chance.
    """

    table: HashedTable
    sides: Spilled
    train: Side
    holdout: Side
    copies_in_both: int
    rows_in_both: int
    known: float

    @property
    def left_out(self) -> int:
        """How many copies of holdout rows are in neither part."""
        return self.table.found.rows - self.train.digest.rows - self.holdout.digest.rows

    @property
    def share(self) -> float:
        """The share of the rows that is held out, copies counted once."""
        return self.holdout.digest.rows / (self.table.found.rows - self.table.found.further)


@dataclass
class Side:
    """What is known of the rows of a part.

    Attributes:
        digest: Of them.
        lowest: The lowest of their hashes.
        keys: Different hashes of the column of a split by group.
        oldest: The first time, of a split by time.
        newest: The last one.
        classes: How many rows each class has, in the order of `HashedTable.classes`, copies
            counted once.
    """

    digest: RowDigest
    lowest: Lowest = field(default_factory=Lowest)
    keys: Hashes = field(default_factory=lambda: np.empty(0, dtype=np.uint64))
    oldest: float | int | None = None
    newest: float | int | None = None
    classes: Numbers = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def add(self, rows: Piece, chosen: Flags, classes: Hashes, *, by: str) -> None:
        """Add some of the rows of a piece; `by`: the method of the split."""
        hashes = rows.hashes[chosen]
        first, second = (np.ascontiguousarray(hashes[name]) for name in ("rows", "second"))
        self.digest.add(RowHashes(first, second))
        if by == "group":
            self.keys = np.union1d(self.keys, hashes["keys"])
        if by == "time" and len(hashes):
            oldest, newest = hashes["times"].min().item(), hashes["times"].max().item()
            self.oldest = oldest if self.oldest is None else min(self.oldest, oldest)
            self.newest = newest if self.newest is None else max(self.newest, newest)
        if len(classes):
            labels = hashes["labels"][~rows.units["further"][chosen]]
            found = np.bincount(np.searchsorted(classes, labels), minlength=len(classes))
            self.classes = found if not len(self.classes) else self.classes + found


def assign(
    table: HashedTable, dataset: Dataset, drawn: Draw, *, work: Path, method: str, classes: Hashes
) -> Assignment:
    """Give each row its side, and count what is on both.

    Args:
        table: The rows.
        dataset: Their record.
        drawn: Which of them are held out.
        work: A folder for files.
        method: Of the split.
        classes: The different targets, of a classification.
    """
    sides = Spilled(work, "sides", table.parts, _SIDE)
    train, holdout = (Side(RowDigest(dataset.columns)) for _ in range(2))
    copies = both = once = total = 0
    for at in range(table.parts):
        different = table.different.read(at)
        learned, judged = (np.zeros(len(different), dtype=np.int64) for _ in range(2))
        for rows in table.pieces(at):
            held = drawn.held(rows)
            side = np.where(held, HOLDOUT, TRAIN).astype(_SIDE)
            side[held & rows.units["further"]] = LEFT_OUT
            sides.append(at, side)
            place = np.searchsorted(different["rows"], rows.hashes["rows"])
            for part, code, counts in ((train, TRAIN, learned), (holdout, HOLDOUT, judged)):
                chosen = side == code
                part.add(rows, chosen, classes, by=method)
                counts += np.bincount(place[chosen], minlength=len(different))
        train.lowest.add(different["rows"][learned > 0])
        copies += _copies_in_both(different, learned, judged, times=table.found.times)
        both += int(((learned > 0) & (judged > 0)).sum())
        seen = _numbers_by_chance(different, learned, table)
        once, total = once + int((seen == 1).sum()), total + int(seen.sum())
    return Assignment(
        table=table,
        sides=sides,
        train=train,
        holdout=holdout,
        copies_in_both=copies,
        rows_in_both=both,
        known=float(1 - once / max(total, 1)) if table.found.repeats else 0.0,
    )


def _copies_in_both(different: Records, learned: Numbers, judged: Numbers, *, times: int) -> int:
    """Return how many of some different rows have copies on both sides."""
    found = int((different["by_row"] & (learned > 0) & (judged > 0)).sum())
    together = different["by_features"]
    if together.any():
        features, group = np.unique(different["features"], return_inverse=True)
        sides = (
            np.bincount(group, weights=rows, minlength=len(features)) > 0
            for rows in (learned, judged, together)
        )
        found += int(np.logical_and.reduce(list(sides)).sum())
    return found + int((learned % times != 0).sum())


def _numbers_by_chance(different: Records, learned: Numbers, table: HashedTable) -> Numbers:
    """Return how often each row of the training part was seen, copies counted once."""
    there = learned > 0
    seen = learned[there] // table.found.times
    if not table.found.observed:
        seen[(different["by_features"] | different["by_row"])[there]] = 1
    return seen


def assigned(
    folder: Path, assignment: Assignment
) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """Yield the rows of a dataset, batch by batch: what goes into each of the two parts."""
    with assignment.table.order.open("rb") as order, assignment.sides.in_order() as sides:
        for batch in iter_batches(folder):
            parts = np.fromfile(order, dtype="<u2", count=batch.num_rows)
            side = np.zeros(len(parts), dtype=_SIDE)
            known = parts != NO_PART
            side[known] = sides.take(parts[known])
            yield tuple(batch.filter(arrow.booleans(side == code)) for code in (TRAIN, HOLDOUT))
