"""Reads what was captured since the last time: each row once, and how many were lost meanwhile.

A cursor says of each writer how far it was read. A writer's segments say how many rows came before
them, so what was removed unread, torn or dropped is counted, whatever became of the files.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.captures import table as tables
from penstock.captures.cursor import Cursor, Position
from penstock.captures.decoding import Counted, label_lines, users_rows
from penstock.captures.ledger import iso
from penstock.captures.places import place_at
from penstock.captures.segments import LABELS, CapturedModel, Kind
from penstock.captures.stores import DONE, Written, writers
from penstock.captures.taking import Taken, beginning, take

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Captured", "Cursor", "labels_from", "read_labels", "read_window"]

_PREDICTIONS: tuple[Kind, ...] = ("predictions",)
_SKEW = timedelta(hours=1)


@dataclass(frozen=True)
class Captured:
    """Rows that were captured.

    Attributes:
        table: The rows; see `read_window`.
        cursor: Where to go on.
        lost: Rows that were lost since: dropped, torn, or removed before they were read.
        erased: Rows that were erased on request; they count as neither read nor lost.
        sample: Share of the requests that is captured, 0 to 1; the smallest of the writers'.
    """

    table: pa.Table
    cursor: Cursor
    lost: int
    erased: int = 0
    sample: float = 1.0

    @property
    def rows(self) -> int:
        """How many rows were read."""
        return int(self.table.num_rows)


def read_window(
    source: str | Path,
    *,
    after: Cursor | None,
    until: datetime | None = None,
    since: datetime | None = None,
    version: str | None = None,
) -> Captured:
    """Return the rows that users' requests brought since a cursor, in order of time.

    A row is read once, however often one looks, wherever files are rotated, shipped or erased
    meanwhile, and whatever is killed. Copies and replayed rows are left out.

    Args:
        source: A capture folder or a folder or address above some, always the same for a cursor.
            Where nothing is, nothing was captured.
        after: The cursor of the last look; None: from the oldest row that is left. What was removed
            before the first look is not counted as lost.
        until: Rows from this time on are left for the next look; None: take all.
        since: Rows from before this time are left out, and take no memory; None: take all.
        version: Rows of this version alone. Give the same for one cursor.

    Returns:
        A table with `request_id`, `row` (int64), `time` (timestamp in microseconds, UTC),
        `version`, `score` (P(positive), P(predicted class) or the value), `scores` (one a class, in
        the order of the model's classes; null for a regression), `label` (as predicted), and a
        column `inputs.<name>` for each input in the type of the model's column. Ordered by time,
        request and row.

    Raises:
        InputError: If the address is of no known store, or two versions' columns differ in type.
        ServiceError: If a store does not answer.

    Example:
        >>> captured = read_window(Path("captures"), after=None)
        >>> captured.rows, captured.lost, captured.cursor
        (0, 0, Cursor(positions={}))
    """
    look = _look(source, after, until, kinds=_PREDICTIONS, since=since, version=version)
    counted = Counted()
    parts = [
        _from_then(users_rows(block, model, version=version, counted=counted), since)
        for model, block in _blocks(look.taken)
    ]
    if not any(part.num_rows for part in parts):
        # In the columns of the newest model, where one is known.
        models = [each.model for each in look.found if each.model]
        parts = [tables.rows_table([], models[-1] if models else None)[0]]
    table = tables.together([part for part in parts if part.num_rows] or parts)
    order = [("time", "ascending"), ("request_id", "ascending"), ("row", "ascending")]
    return Captured(
        table=table.sort_by(order).combine_chunks(),
        cursor=look.cursor(after),
        lost=look.lost + counted.lost,
        erased=counted.erased,
        sample=min((each.sample for each in look.found), default=1.0),
    )


def read_labels(
    source: str | Path,
    *,
    after: Cursor | None,
    until: datetime | None = None,
    since: datetime | None = None,
) -> tuple[pa.Table, Cursor]:
    """Return the labels that came since a cursor, whichever server they reached.

    The first label of a row counts. One that came in an earlier look is not known here.

    Args:
        source: As for `read_window`.
        after: The cursor of the last look; None: from the oldest label that is left.
        until: Labels from this time on are left for the next look; None: take all.
        since: Segments whose labels all came before this time are left out; None: take all.

    Returns:
        A table with `request_id`, `row` (int64), `time` (when it came; microseconds, UTC) and
        `label`, ordered by time, request and row; and the cursor to go on from.

    Raises:
        InputError: If the address is of no known store, or versions have labels of several types.
        ServiceError: If a store does not answer.

    Example:
        >>> labels, cursor = read_labels(Path("captures"), after=None)
        >>> labels.column_names
        ['request_id', 'row', 'time', 'label']
    """
    look = _look(source, after, until, kinds=LABELS, since=since, version=None)
    lines = sorted(
        label_lines([block for taken in look.taken for block in taken.blocks]),
        key=lambda line: (line["time"], line["request_id"], line["row"]),
    )
    first: dict[tuple[str, int], dict[str, Any]] = {}
    for line in lines:
        first.setdefault((line["request_id"], line["row"]), line)
    models = [each.model for each in look.found if each.model]
    return tables.labels_table(list(first.values()), models), look.cursor(after)


def labels_from(since: datetime | None) -> datetime | None:
    """Return from when on the labels of rows since a time are to be read; None: from the oldest.

    A label comes after its row; the clocks of two servers may differ by as much as this allows.
    """
    return None if since is None else since - _SKEW


@dataclass
class _Look:
    """What was read of all writers."""

    found: list[Written]
    taken: list[Taken]

    @property
    def lost(self) -> int:
        return sum(taken.lost for taken in self.taken)

    def cursor(self, after: Cursor | None) -> Cursor:
        """Return the old positions with the new ones in their place."""
        moved = {taken.written.key: taken.position for taken in self.taken}
        return (after or Cursor()).moved(moved, there=[each.key for each in self.found])


def _from(position: Position | None) -> int:
    if position is None:
        return 0
    return DONE if position.ended else position.number


def _look(
    source: str | Path,
    after: Cursor | None,
    until: datetime | None,
    *,
    kinds: Collection[Kind],
    since: datetime | None,
    version: str | None,
) -> _Look:
    known = after.positions if after else {}
    found = writers(place_at(source), kinds=kinds, seen=lambda key: _from(known.get(key)))
    end = iso(until.astimezone(UTC)) if until else None
    begin = iso(since.astimezone(UTC)) if since else ""
    wanted = [
        each
        for each in found
        if version is None or each.model is None or each.model.version == version
    ]
    taken = []
    for each in wanted:
        position = known.get(each.key)
        if position is None:
            position = Position() if after else beginning(each)
        taken.append(take(each, position, end, since=begin))
    return _Look(found, taken)


def _blocks(taken: Sequence[Taken]) -> Iterator[tuple[CapturedModel | None, bytes]]:
    """Yield blocks of lines and the model that answered.

    Where its columns are not known, types follow from the values: from all of them together, or the
    same column would be whole numbers in one file and fractions in the next.
    """
    unknown = []
    for one in taken:
        model = one.written.model
        if model is not None and model.columns:
            yield from ((model, block) for block in one.blocks)
        else:
            unknown += [(model, block) for block in one.blocks]
    if unknown:
        yield unknown[-1][0], b"".join(block for _, block in unknown)


def _from_then(rows: pa.Table, since: datetime | None) -> pa.Table:
    if since is None:
        return rows
    import pyarrow as pa
    import pyarrow.compute as pc

    return rows.filter(pc.greater_equal(rows["time"], pa.scalar(since, rows["time"].type)))
