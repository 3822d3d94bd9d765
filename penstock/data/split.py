"""A dataset divided into a training part and a holdout, with proof that nothing crosses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from penstock.common.progress import say
from penstock.data.spec import SplitSpec
from penstock.data.table import read_dataset
from penstock.data.task import target_column
from penstock.errors import InputError
from penstock.records.dataset import Dataset, Split
from penstock.records.model import Task

if TYPE_CHECKING:
    from penstock.data.drawing import Method

MIN_ROWS = 10


def split(
    folder: Path, spec: SplitSpec, *, target: str, task: Task, train: Path, holdout: Path
) -> Split:
    """Divide a dataset into two, and prove the division from what was written.

    `stratified` draws within each class, `random` from all rows. `group` draws whole groups: of
    many orders the first that comes near the share, or the one that comes nearest. `time` holds out
    the newest rows, cut between two different times. Copies of a row stay on its side, and the
    holdout has each copied row once; rows that repeat by chance are split like any others
    (`penstock.data.repeats` tells them apart). A draw depends on the seed and on the rows' content,
    not on their order. Memory is about 150 bytes a row.

    Args:
        folder: The dataset.
        spec: Method, column, share and seed; `auto` is stratified for classes, random for numbers.
        target: The column to predict; it must have a value in every row, unless
            `spec.drop_missing_target` leaves those rows out that have none.
        task: The resolved task.
        train: The folder to make for the training part.
        holdout: The folder to make for the holdout.

    Returns:
        The record of what was proved.

    Raises:
        InputError: If a column is absent or unfit, the target is missing, constant or has one class
            in a part, a class has too few rows, or there are too few at all. Nothing is left behind
            then.
        IntegrityError: If the dataset is not the one its record describes, or a proof fails.
    """
    from penstock.data.division import divide

    dataset = read_dataset(folder)
    method = _method(spec, task)
    _check(dataset, spec, method, target=target, task=task)
    record = divide(
        folder, dataset, spec, method, target=target, task=task, train=train, holdout=holdout
    )
    say(record.line())
    return record


def _method(spec: SplitSpec, task: Task) -> Method:
    if spec.method == "auto":
        return "random" if task == "regression" else "stratified"
    if spec.method == "stratified" and task == "regression":
        raise InputError(
            "a regression has no classes to stratify by",
            where="split.method",
            remedy="Use random, time or group, or leave it at auto.",
        )
    return spec.method


def _check(dataset: Dataset, spec: SplitSpec, method: Method, *, target: str, task: Task) -> None:
    column = target_column(dataset, target)
    if column.profile.nulls and not spec.drop_missing_target:
        raise InputError(
            f"the target is missing in {column.profile.nulls:,} of {dataset.rows:,} rows",
            where=f"target {target!r}",
            remedy="Set split.drop_missing_target: true to leave these rows out, or name another "
            "target.",
        )
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
