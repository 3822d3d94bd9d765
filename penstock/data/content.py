"""The content digest of a dataset that is on disk, from its rows."""

from __future__ import annotations

from pathlib import Path

from penstock.data.digest import CellHasher, RowDigest, RowHashes
from penstock.data.table import iter_batches, read_dataset


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
    hashers = {column.name: CellHasher(column) for column in columns}
    total = RowDigest(columns)
    for batch in iter_batches(folder):
        rows = RowHashes(batch.num_rows)
        for name, hasher in hashers.items():
            rows.add(hasher.hashes(batch.column(name)), hasher.weight)
        total.add(rows)
    return total.content()
