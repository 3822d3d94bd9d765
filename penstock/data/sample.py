"""Some rows of a dataset as JSON lines beside its Parquet files, for steps that have no Arrow.

A line is one row: a list of its values in the order of the record's columns. Integers, numbers
(in the shortest form that reads back as the same float), booleans and texts are JSON's own, a time
is its microseconds since 1970 in UTC, and null is null: what is read is what Parquet holds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.common import files
from penstock.errors import InputError, IntegrityError
from penstock.records.dataset import Column, Dataset, RowSample

if TYPE_CHECKING:
    import pyarrow as pa

NAME = "_sample.jsonl"
"""Whatever reads the folder as Parquet passes it over."""

ROWS = 5_000
"""Rows at most: as many as a rollout replays."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def chosen(total: int, rows: int) -> list[int]:
    """Return which of `total` rows a check of up to `rows` of them takes, evenly spread.

    Up to `ROWS` are taken of the same `ROWS`, whatever number is given: of those that a sample
    holds.
    """
    if rows <= ROWS < total:
        held = _spread(total, ROWS)
        return [held[index] for index in _spread(ROWS, rows)]
    return _spread(total, rows)


class Gatherer:
    """Keeps the rows of a sample while a dataset's rows pass.

    Args:
        total: How many rows will pass.
    """

    def __init__(self, total: int) -> None:
        self._chosen = chosen(total, ROWS)
        self._kept: list[pa.RecordBatch] = []
        self._passed = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Keep the rows of the next batch that are in the sample."""
        import numpy as np

        from penstock.data import arrow

        places, start = np.array(self._chosen, dtype=np.int64), self._passed
        self._passed += batch.num_rows
        first, last = np.searchsorted(places, (start, self._passed))
        self._kept.append(batch.take(arrow.integers(places[first:last] - start)))

    def write(self, folder: Path) -> RowSample:
        """Write the sample, once all have passed, and return what a dataset's record says of it."""
        path = folder / NAME
        with path.open("w", encoding="utf-8", newline="\n") as stream:
            for batch in self._kept:
                for row in zip(*map(_plain, batch.columns), strict=True):
                    stream.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
        return RowSample(name=NAME, rows=len(self._chosen), digest=files.digest_of_file(path))


def read(folder: Path, dataset: Dataset, *, rows: int) -> dict[str, list[Any]] | None:
    """Return up to `rows` rows of a dataset by column, None where its sample does not hold them.

    Raises:
        IntegrityError: If the sample is not the one that the dataset's record names.
    """
    sample = dataset.sample
    if sample is None or min(rows, dataset.rows) > sample.rows:
        return None
    path = folder / sample.name
    lines = _lines(path, sample)
    records = [json.loads(lines[index]) for index in _spread(sample.rows, rows)]
    try:
        columns = zip(dataset.columns, zip(*records, strict=True), strict=True)
        return {column.name: _typed(values, column) for column, values in columns}
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"the rows cannot be read: {error}", where=str(path)) from error


def _lines(path: Path, sample: RowSample) -> list[bytes]:
    found = files.digest_of_file(path) if path.is_file() else "none: there is no such file"
    if found != sample.digest:
        raise IntegrityError(
            f"the digest of these rows is {found}; the dataset's record says {sample.digest}",
            where=str(path),
            remedy="They were changed after they were written: split the data again.",
        )
    return path.read_bytes().split(b"\n")[:-1]


def _spread(total: int, rows: int) -> list[int]:
    count = min(rows, total)
    return [index * total // count for index in range(count)]


def _plain(values: pa.Array) -> list[Any]:
    import pyarrow as pa

    whole = values.cast(pa.int64()) if pa.types.is_timestamp(values.type) else values
    plain: list[Any] = whole.to_pylist()
    return plain


def _typed(values: Sequence[Any], column: Column) -> list[Any]:
    if column.type != "datetime":
        return list(values)
    return [None if one is None else _EPOCH + timedelta(microseconds=one) for one in values]
