"""What a model carries of the rows that it learned from, so that a gate elsewhere has it too."""

from __future__ import annotations

from pathlib import Path

from penstock.records.dataset import FILE_NAME as DATASET_NAME
from penstock.records.dataset import Dataset, Split
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
    known: float = 0.0,
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
        known: Share of fresh rows that would equal one of them by chance.
    """
    import numpy as np

    from penstock.data.fingerprints import kept, row_hashes
    from penstock.data.reference import reference_of
    from penstock.records.dataset import Column

    columns = tuple(Column(name=c.name, type=c.type) for c in dataset.columns)
    hashes, complete = kept(row_hashes(train, columns))
    with (model / ROWS_NAME).open("wb") as stream:
        np.save(stream, hashes.astype("<u8"), allow_pickle=False)
    reference_of(train, complete=complete, known=known).write(model / REFERENCE_NAME)
    dataset.write(model / DATASET_NAME)
    health.write(model / HEALTH_NAME)
    if split is not None:
        split.write(model / SPLIT_NAME)
