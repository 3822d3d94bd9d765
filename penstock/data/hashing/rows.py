"""The rows of a dataset on disk, hashed: its content digest, and rows that are known again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from penstock.data.hashing.digest import CellHasher, Hashes, RowDigest, RowHashes, hash_rows
from penstock.data.table import iter_batches, read_dataset
from penstock.records.dataset import Column

LIMIT = 500_000
"""Most hashes that are kept: 4 MB. Of more rows the lowest, which are a sample by chance."""


def content_of(folder: Path) -> str:
    """Return the content digest of the rows that a dataset holds, whatever its record says.

    Args:
        folder: The dataset. Memory does not grow with it.

    Raises:
        InputError: If there is no readable record.
        IntegrityError: If a file is absent or has another size or number of rows than the record
            says.
    """
    columns = read_dataset(folder).columns
    digest = RowDigest(columns)
    for rows in _hashed(folder, columns):
        digest.add(rows)
    return digest.content()


def row_hashes(folder: Path, columns: tuple[Column, ...]) -> Iterator[Hashes]:
    """Yield one hash a row of some columns, batch by batch, in the order of the files.

    Rows that are equal in these columns have equal hashes; it is the first row hash of
    `penstock.data.hashing.digest`.

    Args:
        folder: A dataset.
        columns: Which columns, of the types that the dataset has them in.
    """
    return (rows.first for rows in _hashed(folder, columns))


def _hashed(folder: Path, columns: Sequence[Column]) -> Iterator[RowHashes]:
    hashers = [CellHasher(column) for column in columns]
    for batch in iter_batches(folder, [column.name for column in columns]):
        cells = ((h, h.hashes(array)) for h, array in zip(hashers, batch.columns, strict=True))
        yield hash_rows(cells, rows=batch.num_rows)


class Lowest:
    """The lowest `LIMIT` different hashes of rows that come in parts."""

    def __init__(self) -> None:
        self._found = np.empty(0, dtype=np.uint64)

    def add(self, hashes: Hashes) -> None:
        """Take the hashes of some rows."""
        # One more than is kept tells that these are not all.
        self._found = np.union1d(self._found, hashes)[: LIMIT + 1]

    def kept(self) -> tuple[Hashes, bool]:
        """Return them, sorted, and whether these are all."""
        return self._found[:LIMIT], len(self._found) <= LIMIT


def found_in(hashes: Hashes, known: Hashes, *, complete: bool) -> tuple[int, int]:
    """Return how many rows are among the known ones, and how many could be looked up.

    Args:
        hashes: Of the rows in question.
        known: What `kept` returned.
        complete: Whether it kept all.
    """
    if len(known) == 0:
        return 0, 0
    looked_up = hashes if complete else hashes[hashes <= known[-1]]
    return int(np.isin(looked_up, known).sum()), len(looked_up)
