"""ONNX against scikit-learn, row by row. Imported only inside functions that export."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from penstock.model import LoadedModel
from penstock.records.dataset import Column, ColumnType

_BASE_ROWS = 4

_EXTREMES: dict[ColumnType, tuple[Any, ...]] = {
    # Of the last two, float32 has none.
    "integer": (np.nan, 0.0, -1.0, 2.0**53, -1e100, 1e100),
    "number": (np.nan, -0.0, 5e-324, 1e30, -1e100, 1e100),
    "boolean": (np.nan, 0.0, 1.0),
    "string": (None, "", "never seen \N{SNOWMAN}"),
    "datetime": tuple(
        np.datetime64(text, "us")
        for text in (
            "NaT",
            "0001-01-01T00:00:00",
            "1900-02-28T23:59:59.999999",
            "1969-12-31T23:59:59.999999",
            "2000-02-29T12:00:00",
            "9999-12-31T23:59:59.999999",
        )
    ),
}
"""Values of each type that every column of it is probed with: missing, unseen, far out."""

Run = Callable[[Mapping[str, Any]], np.ndarray]


@dataclass
class Comparison:
    """What the rows compared so far have shown.

    Args:
        model: The model itself.
        run: Its ONNX form.
        tolerance: The difference from which a row counts as different.
        rows: Rows compared.
        label_differences: Rows with another label.
        max_difference: Largest difference; infinite where only one of them is a number.
        finding: The first row that differs, in words; empty while none does.
    """

    model: LoadedModel
    run: Run
    tolerance: float
    rows: int = 0
    label_differences: int = 0
    max_difference: float = 0.0
    finding: str = field(default="")

    def add(self, frame: pd.DataFrame, *, names: Sequence[str] = ()) -> None:
        """Compare some rows.

        Args:
            frame: The rows, as `penstock.data.table.frames.to_frame` returns them.
            names: What to call each; by default it is the next row of the holdout.
        """
        with np.errstate(all="ignore"):
            right = self.model.scores(frame)
            found = self.run(columns_of(frame))
            differences = _differences(found, right, task=self.model.record.task)
        labels = self.model.labels_of(found) != self.model.labels_of(right)
        if self.model.record.task == "regression":
            labels = np.zeros(len(frame), dtype=bool)
        wrong = labels | ~(differences <= self.tolerance)
        if wrong.any() and not self.finding:
            at = int(wrong.argmax())
            name = names[at] if names else f"row {self.rows + at + 1} of the holdout"
            self.finding = f"{name}: ONNX says {_text(found[at])}, scikit-learn {_text(right[at])}"
        self.rows += len(frame)
        self.label_differences += int(labels.sum())
        self.max_difference = max(self.max_difference, float(differences.max()))


def columns_of(frame: pd.DataFrame) -> dict[str, Any]:
    """Return a frame of `penstock.data.table.frames.to_frame` as `scores_of` takes it."""
    return {
        str(name): values.tolist() if values.dtype == object else values.to_numpy()
        for name, values in frame.items()
    }


def probes(frame: pd.DataFrame, columns: tuple[Column, ...]) -> tuple[pd.DataFrame, list[str]]:
    """Return rows with one column at a value that holdouts seldom hold, and what each is.

    Args:
        frame: Rows of the holdout; a few of them are varied.
        columns: The model's columns: each is given each of its type's `_EXTREMES` in turn.
    """
    base = frame.iloc[np.linspace(0, len(frame) - 1, _BASE_ROWS).astype(int)]
    changes = [(column, value) for column in columns for value in _EXTREMES[column.type]]
    varied = {}
    for column in columns:
        values = np.tile(base[column.name].to_numpy(), len(changes))
        for index, (changed, value) in enumerate(changes):
            if changed is column:
                values[index * _BASE_ROWS : (index + 1) * _BASE_ROWS] = value
        varied[column.name] = values
    names = [
        f"a row with {column.name!r} = {'null' if pd.isna(value) else value!s}"
        for column, value in changes
        for _ in range(_BASE_ROWS)
    ]
    return pd.DataFrame(varied, copy=False), names


def _differences(found: np.ndarray, right: np.ndarray, *, task: str) -> np.ndarray:
    """Return one difference a row, infinite where only one of the two is a number.

    Probabilities: the largest of the row's absolute differences. A regression: |found - right|
    by the larger of |right| and the mean |right| of these rows, so that a value that happens to
    be near 0 is measured by the scale of the others.
    """
    both_missing = np.isnan(found) & np.isnan(right)
    equal = (found == right) | both_missing
    differences = np.where(equal, 0.0, np.abs(found - right))
    if task == "regression":
        size = np.abs(right)
        known = size[np.isfinite(size)]
        differences = differences / np.maximum(size, known.mean() if len(known) else 1.0)
        differences[equal] = 0.0
    differences = np.where(np.isnan(differences), np.inf, differences)
    return differences if differences.ndim == 1 else differences.max(axis=1)


def _text(score: Any) -> str:
    return ", ".join(f"{value:.17g}" for value in np.atleast_1d(score)[:5])
