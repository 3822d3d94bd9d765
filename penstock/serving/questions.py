"""Holdout rows as questions to a server, and how its answers differ from a model's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.errors import InputError
from penstock.records.dataset import Column, Dataset
from penstock.serving.answer import Answer

if TYPE_CHECKING:
    import pyarrow as pa

TOLERANCE = 1e-9
"""How far a probability may be from the model's own; a regression's value likewise, relatively. It
is what the ONNX form is proved to. JSON adds nothing: a float is written in the shortest form that
reads back as the same float."""


def sample_rows(holdout: Path, *, rows: int) -> pa.Table:
    """Return up to `rows` rows of a dataset, evenly spread over it.

    Raises:
        InputError: If the folder is not a dataset or holds no row.
    """
    import pyarrow.dataset

    record = Dataset.of(holdout)
    if record.rows == 0:
        raise InputError("the holdout holds no row", where=str(holdout))
    paths = [str(holdout / part.name) for part in record.files]
    count = min(rows, record.rows)
    chosen = [index * record.rows // count for index in range(count)]
    try:
        return pyarrow.dataset.dataset(paths, format="parquet").take(chosen)
    except (OSError, ValueError) as error:
        raise InputError(f"the holdout cannot be read: {error}", where=str(holdout)) from error


def as_instances(sample: pa.Table) -> list[dict[str, Any]]:
    """Return rows as a v1 request carries them."""
    return [{name: _plain(value) for name, value in row.items()} for row in sample.to_pylist()]


def columns_of(sample: pa.Table, columns: Sequence[Column]) -> dict[str, Any]:
    """Return rows as a scorer takes them; integers, numbers and booleans as float64 arrays."""
    import numpy as np

    values = {column.name: sample.column(column.name).to_pylist() for column in columns}
    numeric = {c.name for c in columns if c.type in ("integer", "number", "boolean")}
    return {
        name: np.array(column, dtype=np.float64) if name in numeric else column
        for name, column in values.items()
    }


def difference(got: Answer, expected: Answer, row: int) -> str:
    """Return how one row's answer differs from the expected one, in words; empty: it does not."""
    try:
        label, score = got.labels[row], got.probabilities[row] if got.probabilities else []
    except IndexError:
        return "it was not answered"
    if expected.probabilities is None:
        same = math.isclose(label, expected.labels[row], rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        return "" if same else f"{label!r} instead of {expected.labels[row]!r}"
    if label != expected.labels[row]:
        return f"label {label!r} instead of {expected.labels[row]!r}"
    wanted = expected.probabilities[row]
    close = [abs(a - b) <= TOLERANCE for a, b in zip(score, wanted, strict=False)]
    if len(score) != len(wanted) or not all(close):
        return f"probabilities {score} instead of {wanted}"
    return ""


def distance(got: Answer, expected: Answer, row: int) -> float:
    """Return how far one row's scores are from the expected ones; 0 where there are none."""
    if expected.probabilities is None:
        return abs(float(got.labels[row]) - float(expected.labels[row]))
    pairs = zip((got.probabilities or [[]])[row], expected.probabilities[row], strict=False)
    return max((abs(a - b) for a, b in pairs), default=0.0)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return moment.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value
