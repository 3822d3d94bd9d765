"""What a model carries of the rows that it learned from, so that a gate elsewhere has it too."""

from __future__ import annotations

from pathlib import Path

from penstock.data.profile.reference import SHARED, reference_of
from penstock.records.dataset import FILE_NAME as DATASET_NAME
from penstock.records.dataset import Column, Dataset, ProfiledColumn, Split
from penstock.records.health import FILE_NAME as HEALTH_NAME
from penstock.records.health import SPLIT_NAME, TrainingHealth
from penstock.records.reference import FILE_NAME as REFERENCE_NAME
from penstock.records.reference import ROWS_NAME


def write_lineage(
    model: Path,
    *,
    train: Path,
    dataset: Dataset,
    split: Split | None,
    health: TrainingHealth,
    target: str,
    known: float = 0.0,
    hashes: bool = True,
) -> None:
    """Write records of the training part into a model folder, under the model's digest.

    `dataset.json`, `split.json` (where there is a split), `health.json`, `reference.json` and
    `rows.npy`. They hold counts, quantiles, the commonest levels and hashes, but no row.

    Args:
        model: The model's folder, before it is whole.
        train: The training part.
        dataset: Its record.
        split: The record of the split that it comes from.
        health: What training saw of its labels.
        target: The column that is predicted, whose classes are listed, however few rows hold one.
        hashes: Whether to write `rows.npy`, and values that few rows hold.
        known: Share of fresh rows that would equal one of them by chance.
    """
    complete = _write_hashes(model, train, dataset) if hashes else True
    reference_of(train, complete=complete, known=known).write(model / REFERENCE_NAME)
    (dataset if hashes else _without_rare(dataset, target)).write(model / DATASET_NAME)
    health.write(model / HEALTH_NAME)
    if split is not None:
        split.write(model / SPLIT_NAME)


def _write_hashes(model: Path, train: Path, dataset: Dataset) -> bool:
    """Write hashes of the rows, and return whether they are those of all rows."""
    import numpy as np

    from penstock.data.hashing.rows import kept, row_hashes

    columns = tuple(Column(name=c.name, type=c.type) for c in dataset.columns)
    hashes, complete = kept(row_hashes(train, columns))
    with (model / ROWS_NAME).open("wb") as stream:
        np.save(stream, hashes.astype("<u8"), allow_pickle=False)
    return complete


def _without_rare(dataset: Dataset, target: str) -> Dataset:
    """Return a record whose columns list no value that few rows hold."""

    def common(column: ProfiledColumn) -> ProfiledColumn:
        top = tuple(level for level in column.profile.top if level.rows >= SHARED)
        return column.model_copy(update={"profile": column.profile.model_copy(update={"top": top})})

    columns = tuple(c if c.name == target else common(c) for c in dataset.columns)
    return dataset.model_copy(update={"columns": columns})
