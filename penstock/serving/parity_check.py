"""Parity check: holdout rows as requests, and how a server's answers differ from the model's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from penstock.data import sample
from penstock.errors import InputError
from penstock.records.dataset import Column, Dataset
from penstock.serving.prediction import Prediction

TOLERANCE = 1e-9
"""How far a probability may be from the model's own; a regression's value likewise, relatively. It
is what the ONNX form is proved to. JSON adds nothing: a float is written in the shortest form that
reads back as the same float."""


def sample_rows(holdout: Path, *, rows: int) -> dict[str, list[Any]]:
    """Return up to `rows` rows of a dataset, evenly spread over it: the values of each column.

    They are read from the sample that `split` wrote beside the holdout. Where it holds fewer than
    are requested, or there is none, the same rows are read from Parquet.

    Raises:
        InputError: If the folder is not a dataset or holds no row, or Parquet is to be read and
            pyarrow is not installed.
        IntegrityError: If the sample is not the one that the dataset's record names.
    """
    record = Dataset.of(holdout)
    if record.rows == 0:
        raise InputError("the holdout holds no row", where=str(holdout))
    return sample.read(holdout, record, rows=rows) or _from_parquet(holdout, record, rows=rows)


def as_instances(rows: Mapping[str, Sequence[Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return rows as a v1 request carries them, with the columns that are named."""
    columns = [[_plain(value) for value in rows[name]] for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def columns_of(rows: Mapping[str, Sequence[Any]], columns: Sequence[Column]) -> dict[str, Any]:
    """Return rows as a scorer takes them; integers, numbers and booleans as float64 arrays."""
    import numpy as np

    numeric = {c.name for c in columns if c.type in ("integer", "number", "boolean")}
    return {
        c.name: np.array(rows[c.name], dtype=np.float64) if c.name in numeric else rows[c.name]
        for c in columns
    }


def difference(got: Prediction, expected: Prediction, row: int) -> str:
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
    own = expected.probabilities[row]
    close = [abs(a - b) <= TOLERANCE for a, b in zip(score, own, strict=False)]
    if len(score) != len(own) or not all(close):
        return f"probabilities {score} instead of {own}"
    return ""


def distance(got: Prediction, expected: Prediction, row: int) -> float:
    """Return how far one row's scores are from the expected ones; 0 where there are none."""
    if expected.probabilities is None:
        return abs(float(got.labels[row]) - float(expected.labels[row]))
    pairs = zip((got.probabilities or [[]])[row], expected.probabilities[row], strict=False)
    return max((abs(a - b) for a, b in pairs), default=0.0)


def _from_parquet(holdout: Path, record: Dataset, *, rows: int) -> dict[str, list[Any]]:
    try:
        import pyarrow.dataset
    except ModuleNotFoundError as error:
        held = record.sample.rows if record.sample else 0
        raise InputError(
            f"{rows:,} rows of the holdout are requested, {held:,} can be read without pyarrow, "
            "which is not installed here",
            where=str(holdout),
            remedy=f"Ask for at most {held:,} (deployment.smoke_rows)."
            if held
            else "Pass the holdout that the component split wrote, of this release of Penstock: it "
            "holds the rows as JSON lines too.",
        ) from error
    paths = [str(holdout / part.name) for part in record.files]
    try:
        table = pyarrow.dataset.dataset(paths, format="parquet").take(
            sample.chosen(record.rows, rows)
        )
    except (OSError, ValueError) as error:
        raise InputError(f"the holdout cannot be read: {error}", where=str(holdout)) from error
    found: dict[str, list[Any]] = table.to_pydict()
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return moment.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value
