"""Partial dependence: the mean answer when a column is set. Imported only while explaining.

(Friedman, 2001, "Greedy function approximation: a gradient boosting machine".) It sets one column
to a value in all rows, also where that value does not go with the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from penstock.explanation._sample import Sample
from penstock.records.explanation import Dependence

ROWS = 300
POINTS = 15
LEVELS = 10
CLASSES = 3

MISSING = "(missing)"


def dependences(sample: Sample, columns: list[str], *, seed: int) -> tuple[Dependence, ...]:
    """Return the mean answer over a grid of each column.

    A number or time takes quantiles of the rows, a category its commonest levels. A text that is
    no category is left out: no value of it is typical. Of many classes, the commonest are shown.

    Args:
        sample: The rows.
        columns: Which columns.
        seed: Of which rows are used, at most 300.
    """
    chance = np.random.default_rng(seed)
    size = min(ROWS, len(sample.frame))
    rows = sample.frame.iloc[np.sort(chance.choice(len(sample.frame), size=size, replace=False))]
    return tuple(made for column in columns for made in _of_column(sample, rows, column))


def _of_column(sample: Sample, rows: pd.DataFrame, column: str) -> list[Dependence]:
    values = _grid(sample, column)
    if len(values) < 2:
        return []
    height = len(rows)
    tall = pd.concat([rows] * len(values), ignore_index=True)
    repeated = np.repeat(np.array(values, dtype=rows[column].to_numpy().dtype), height)
    tall[column] = pd.Series(repeated, dtype=rows[column].dtype)
    scores = sample.answers(tall)
    means = scores.reshape(len(values), height, -1).mean(axis=1)
    shown = tuple(_plain(value) for value in values)
    if sample.model.record.task != "multiclass":
        return [Dependence(column=column, values=shown, answers=tuple(means[:, 0].tolist()))]
    counts = np.bincount(sample.scores.argmax(axis=1), minlength=sample.scores.shape[1])
    return [
        Dependence(
            column=column,
            of=str(sample.model.record.classes[code]),
            values=shown,
            answers=tuple(means[:, code].tolist()),
        )
        for code in np.argsort(-counts, kind="stable")[:CLASSES]
    ]


def _grid(sample: Sample, column: str) -> list[Any]:
    kinds = {c.name: c.type for c in sample.model.record.columns}
    values = sample.frame[column]
    if kinds[column] == "string":
        return _levels(sample, column)
    known = np.sort(values.dropna().to_numpy())
    if len(known) == 0:
        return []
    distinct = np.unique(known)
    if len(distinct) <= POINTS:
        return list(distinct)
    # Of the rows' own values, so that whole numbers stay whole and no time is made up.
    picked = np.linspace(0.01, 0.99, POINTS) * (len(known) - 1)
    return list(np.unique(known[picked.round().astype(int)]))


def _levels(sample: Sample, column: str) -> list[Any]:
    levels = sample.model.record.levels
    values = sample.frame[column]
    category = (
        values.nunique() <= 5 * LEVELS
        if levels is None
        else any(level.column == column for level in levels)
    )
    if not category:
        return []
    found: list[Any] = sorted(
        values.value_counts().items(), key=lambda pair: (-pair[1], str(pair[0]))
    )
    shown = [level for level, _ in found[:LEVELS]]
    return [*shown, None] if values.isna().any() else shown


def _plain(value: Any) -> float | str:
    if value is None:
        return MISSING
    if isinstance(value, np.datetime64):
        return str(np.datetime_as_string(value, unit="s"))
    return value if isinstance(value, str) else float(value)
