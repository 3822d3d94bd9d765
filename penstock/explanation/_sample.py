"""The rows that are explained: drawn once, by a seed. Imported only while explaining."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from penstock import model as models
from penstock.data.table import iter_batches, read_dataset
from penstock.errors import InputError
from penstock.model import LoadedModel

Floats = np.ndarray


@dataclass(frozen=True)
class Sample:
    """Rows of a holdout as the model sees them.

    Args:
        model: The model.
        dataset: Content digest of the holdout.
        rows: Raw rows, the model's columns and the target.
        frame: The same as the pipeline takes them.
        scores: What the model says of them: shape (n,), or (n, classes) for many classes.
        truth: Regression: the target, NaN where missing. Else the class as metrics take it, -1
            where it is missing or the model does not know it.
    """

    model: LoadedModel
    dataset: str
    rows: pa.Table
    frame: pd.DataFrame
    scores: Floats
    truth: np.ndarray

    @property
    def columns(self) -> list[str]:
        """The raw columns that the model takes."""
        return [column.name for column in self.model.record.columns]

    def answers(self, frame: pd.DataFrame) -> Floats:
        """Return the model's scores of other rows."""
        return self.model.scores(frame)


def draw(holdout: Path, *, model: Path, rows: int, seed: int) -> Sample:
    """Return at most `rows` rows of a holdout, each as likely as any other, in their order.

    Raises:
        InputError: If the holdout lacks a column that the model takes, or the target.
        IntegrityError: If the model or the dataset is not whole.
    """
    loaded = models.load(model, run_code=True)
    dataset = read_dataset(holdout)
    record = loaded.record
    names = [column.name for column in record.columns]
    absent = [name for name in (*names, record.target) if dataset.column(name) is None]
    if absent:
        raise InputError(
            f"the holdout does not have the columns {', '.join(map(repr, absent))}",
            where=str(holdout),
            remedy="Explain a model on rows that it can be judged on.",
        )
    table = _rows(holdout, [*names, record.target], total=dataset.rows, rows=rows, seed=seed)
    frame = loaded.frame(table)
    return Sample(
        model=loaded,
        dataset=dataset.content,
        rows=table,
        frame=frame,
        scores=loaded.scores(frame),
        truth=_truth(table.column(record.target), loaded),
    )


def _rows(holdout: Path, names: list[str], *, total: int, rows: int, seed: int) -> pa.Table:
    chance = np.random.default_rng(seed)
    taken = np.sort(chance.choice(total, size=min(rows, total), replace=False))
    parts, start = [], 0
    for batch in iter_batches(holdout, list(dict.fromkeys(names))):
        inside = taken[(taken >= start) & (taken < start + batch.num_rows)] - start
        if len(inside):
            parts.append(batch.take(pa.array(inside)))
        start += batch.num_rows
    return pa.Table.from_batches(parts)


def _truth(target: pa.ChunkedArray, loaded: LoadedModel) -> np.ndarray:
    record = loaded.record
    values: list[Any] = target.to_pylist()
    if record.task == "regression":
        return np.array([np.nan if v is None else float(v) for v in values])
    codes = {label: code for code, label in enumerate(record.classes)}
    if record.task == "binary":
        codes = {label: int(label == record.positive) for label in record.classes}
    return np.array([codes.get(value, -1) for value in values])
