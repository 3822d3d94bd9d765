"""A whole dataset as a holdout: nothing is learned from it, so no part of it is split off."""

from __future__ import annotations

from pathlib import Path

from penstock.common.progress import say
from penstock.data.table import iter_batches, read_dataset, write_dataset
from penstock.records.dataset import Dataset


def hold_out(dataset: Path, *, output: Path) -> Dataset:
    """Write a dataset again as a holdout, with the sample of rows that `deploy` sends.

    Args:
        dataset: A dataset, as `ingest` writes it.
        output: The folder to make; it must not hold anything.

    Returns:
        Its record; the content digest is that of the dataset.

    Raises:
        InputError: If there is no dataset.
        IntegrityError: If its files are not those of its record.
    """
    record = read_dataset(dataset)
    written = write_dataset(
        iter_batches(dataset),
        output=output,
        source=record.source,
        notes=record.notes,
        assumptions=record.assumptions,
        reading=record.reading,
        parent=record.content,
        part="holdout",
        sample_of=record.rows,
    )
    say(f"{written.rows:,} rows are held out")
    return written
