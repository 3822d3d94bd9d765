"""What a split needs of a table: rows, a target, and the column that it goes by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.data.spec import SplitSpec
from penstock.data.task import complete_target, target_column
from penstock.errors import InputError
from penstock.records.dataset import Dataset
from penstock.records.model import Task

if TYPE_CHECKING:
    from penstock.data.split.sampling import Method

MIN_ROWS = 10


def resolve_method(spec: SplitSpec, task: Task) -> Method:
    """Return the method of a split.

    Raises:
        InputError: If a regression is to be stratified.
    """
    if spec.method == "auto":
        return "random" if task == "regression" else "stratified"
    if spec.method == "stratified" and task == "regression":
        raise InputError(
            "a regression has no classes to stratify by",
            where="split.method",
            remedy="Use random, time or group, or leave it at auto.",
        )
    return spec.method


def check_table(
    dataset: Dataset, spec: SplitSpec, method: Method, *, target: str, task: Task
) -> None:
    """Check that a table can be split so.

    Raises:
        InputError: If the target or the column of the split is absent or unfit, or there are too
            few rows.
    """
    checked = target_column if spec.drop_missing_target else complete_target
    column = checked(dataset, target)
    rows = dataset.rows - column.profile.nulls
    if rows < MIN_ROWS:
        raise InputError(
            f"{rows} rows are too few to split; at least {MIN_ROWS} are needed",
            where="dataset",
            remedy="Bring more rows.",
        )
    if task == "binary" and column.profile.distinct != 2:
        raise InputError(
            f"a binary task needs 2 classes, the target has {column.profile.distinct}",
            where=f"target {target!r}",
        )
    if method in ("time", "group"):
        _check_column(dataset, spec, method)
    elif spec.column:
        raise InputError(
            f"a {method} split uses no column, but {spec.column!r} is given",
            where="split.column",
            remedy="Set split.method to time or group, or remove the column.",
        )


def _check_column(dataset: Dataset, spec: SplitSpec, method: str) -> None:
    names = ", ".join(c.name for c in dataset.columns)
    if not spec.column:
        raise InputError(
            f"a split by {method} needs a column",
            where="split.column",
            remedy=f"Name one of: {names}.",
        )
    column = dataset.column(spec.column)
    if column is None:
        raise InputError(
            f"the column {spec.column!r} is not in the table",
            where="split.column",
            remedy=f"Name one of: {names}.",
        )
    if method == "time" and column.type not in ("datetime", "integer", "number"):
        raise InputError(
            f"a time column must be datetime or numeric, {spec.column!r} is {column.type}",
            where="split.column",
            remedy=f"Ingest it with types: {{{spec.column}: datetime}}, or name another column.",
        )
    if column.profile.nulls:
        raise InputError(
            f"{spec.column!r} is missing in {column.profile.nulls:,} rows, which belong on no side",
            where="split.column",
            remedy="Drop these rows before ingesting, or name another column.",
        )
    if column.profile.distinct < 2:
        raise InputError(
            f"{spec.column!r} holds a single value, so every row would be on one side",
            where="split.column",
            remedy="Name another column or another method.",
        )
