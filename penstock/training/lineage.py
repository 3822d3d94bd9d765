"""What a model carries of the rows that it learned from, so that a gate elsewhere has it too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from penstock.data.profile.reference import SHARED, reference_of
from penstock.records.dataset import FILE_NAME as DATASET_NAME
from penstock.records.dataset import Dataset, ProfiledColumn, Split
from penstock.records.health import FILE_NAME as HEALTH_NAME
from penstock.records.health import SPLIT_NAME, TrainingHealth
from penstock.records.reference import FILE_NAME as REFERENCE_NAME
from penstock.records.reference import ROWS_NAME

if TYPE_CHECKING:
    from penstock.data.split.known_rows import KnownRows


def write_lineage(
    model: Path,
    *,
    train: Path,
    dataset: Dataset,
    split: Split | None,
    health: TrainingHealth,
    target: str,
    rows: KnownRows,
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
        rows: What is known of its rows.
        hashes: Whether to write `rows.npy`, and values that few rows hold.
    """
    if hashes:
        _write_hashes(model / ROWS_NAME, rows)
    complete = rows.complete or not hashes
    reference_of(train, complete=complete, known=rows.known).write(model / REFERENCE_NAME)
    known = _without_entities(dataset)
    (known if hashes else _without_rare(known, target)).write(model / DATASET_NAME)
    health.write(model / HEALTH_NAME)
    if split is not None:
        split.write(model / SPLIT_NAME)


def _write_hashes(path: Path, rows: KnownRows) -> None:
    import numpy as np

    with path.open("wb") as stream:
        np.save(stream, rows.hashes.astype("<u8"), allow_pickle=False)


def _without_entities(dataset: Dataset) -> Dataset:
    """Return a record without the entities whose features were sampled: these are rows."""
    origin = dataset.origin
    if origin is None or origin.retrieval is None:
        return dataset
    retrieval = origin.retrieval.model_copy(update={"sample": None})
    return dataset.model_copy(update={"origin": origin.model_copy(update={"retrieval": retrieval})})


def _without_rare(dataset: Dataset, target: str) -> Dataset:
    """Return a record whose columns list no value that few rows hold."""

    def common(column: ProfiledColumn) -> ProfiledColumn:
        top = tuple(level for level in column.profile.top if level.rows >= SHARED)
        return column.model_copy(update={"profile": column.profile.model_copy(update={"top": top})})

    columns = tuple(c if c.name == target else common(c) for c in dataset.columns)
    return dataset.model_copy(update={"columns": columns})
