"""The rows that a model left to people: captured, in its band, and without a true label yet.

There is no second store: what captures keep bounds the queue, and what they dropped or removed is
counted there and said here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.captures.places import place_at
from penstock.captures.reader import read_labels, read_window
from penstock.captures.stores import writers
from penstock.captures.table import INPUTS
from penstock.errors import InputError
from penstock.records.model import Abstention, Label


@dataclass(frozen=True)
class Waiting:
    """A row that waits for a person.

    Attributes:
        request: Id of its request.
        row: Its index there, from 0.
        time: When it was answered (ISO 8601, UTC).
        version: The version that answered.
        score: Probability of the positive class.
        inputs: What was asked about, by column.
    """

    request: str
    row: int
    time: str
    version: str
    score: float
    inputs: Mapping[str, Any]


@dataclass(frozen=True)
class Queue:
    """What waits, and what does not any more.

    Attributes:
        waiting: Rows, the oldest first; at most as many as were asked for.
        total: How many wait in all.
        answered: Rows of the band that have their label.
        lost: Captured rows of any score that were dropped or removed: some may have been of the
            band.
    """

    waiting: tuple[Waiting, ...]
    total: int
    answered: int
    lost: int


def queue_of(source: str | Path, band: Abstention, *, limit: int) -> Queue:
    """Return the rows that wait for a person.

    Args:
        source: A folder or address with captured rows.
        band: Where rows are left to people.
        limit: Rows to return.

    Raises:
        InputError: If the address is of no known store.
        ServiceError: If a store does not answer.

    Example:
        >>> queue_of(Path("captures"), Abstention(low=0.1, high=0.9), limit=10).total
        0
    """
    import pyarrow.compute as pc

    from penstock.captures.listing import listed

    table = read_window(source, after=None).table
    scores = table["score"]
    table = table.filter(pc.and_(pc.greater(scores, band.low), pc.less(scores, band.high)))
    labels, _ = read_labels(source, after=None)
    known = set(zip(labels["request_id"].to_pylist(), labels["row"].to_pylist(), strict=True))
    left = [row for row in table.to_pylist() if (row["request_id"], row["row"]) not in known]
    gone = sum(one.dropped + one.unwritten + one.removed for one in listed(source))
    return Queue(
        waiting=tuple(_waiting(row) for row in left[:limit]),
        total=len(left),
        answered=table.num_rows - len(left),
        lost=gone,
    )


def label_of(source: str | Path, text: str) -> Label:
    """Return the class that a text names, in the type of the models that answered there.

    Raises:
        InputError: If it is none of their classes, or could be two of them.
    """
    found = writers(place_at(source), kinds=["predictions"])
    classes = {label for each in found if each.model for label in each.model.classes}
    meant = [label for label in classes if str(label) == text] or [
        label for label in classes if str(label).lower() == text
    ]
    if len(meant) == 1:
        return meant[0]
    which = "more than one" if meant else "none"
    raise InputError(
        f"{text!r} is {which} of the classes of the models that answered there: "
        f"{', '.join(sorted(map(repr, classes))) or 'none is known'}",
        where=str(source),
    )


def _waiting(row: Mapping[str, Any]) -> Waiting:
    return Waiting(
        request=row["request_id"],
        row=row["row"],
        time=row["time"].isoformat(timespec="seconds"),
        version=row["version"],
        score=row["score"],
        inputs={
            name.removeprefix(INPUTS): value
            for name, value in row.items()
            if name.startswith(INPUTS)
        },
    )
