"""How folds are cut: as the split was, or as the project file says (`training.folds`)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock.errors import InputError
from penstock.records.dataset import Dataset, Split
from penstock.records.model import FoldKind, Folds, Task
from penstock.training.spec import FoldsSpec

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

WHERE = "training.folds"

_MICROSECONDS = 86_400_000_000
"""Of a day."""


@dataclass(frozen=True)
class FoldRule:
    """What folds keep apart, once `auto` is resolved.

    Args:
        kind: How rows are drawn into folds.
        column: The group or time column.
        values: Its value in each row, shape (n,): groups by number, times in the order of time.
        gap: How much earlier than the first row that is scored the rows fitted on must be, in the
            unit of `values`.
        gap_text: The same for people; empty where there is none.
        named: Whether the project file names the kind: then it is kept to the letter or refused.
        notes: What a reader should know of how it goes with the split.
    """

    kind: FoldKind
    column: str = ""
    values: np.ndarray | None = None
    gap: float = 0
    gap_text: str = ""
    named: bool = False
    notes: tuple[str, ...] = ()

    def of(self, chosen: np.ndarray | None) -> FoldRule:
        """Return the rule for a sample of the rows; None: all of them."""
        from dataclasses import replace

        if chosen is None or self.values is None:
            return self
        return replace(self, values=self.values[chosen])

    def early_enough(self, rows: np.ndarray, scored: np.ndarray) -> np.ndarray:
        """Return those of `rows` that the gap leaves before the first of `scored`."""
        import numpy as np

        if not self.gap or self.values is None:
            return rows
        early = self.values[rows] <= self.values[scored].min() - self.gap
        return np.asarray(rows[early])

    def recorded(self, number: int) -> Folds:
        """Return what a model's record says of so many folds."""
        return Folds(number=number, kind=self.kind, column=self.column, gap=self.gap_text)


def fold_rule(
    spec: FoldsSpec,
    *,
    table: pa.Table,
    dataset: Dataset,
    task: Task,
    target: str,
    inputs: Collection[str],
    split: Split | None,
) -> FoldRule:
    """Resolve how folds are cut.

    Args:
        spec: What the project says.
        table: The training part; at least the column that `column_of` names.
        dataset: Its record.
        task: What is predicted.
        target: The target.
        inputs: The raw columns that are features.
        split: How the holdout was cut off, if known.

    Raises:
        InputError: If the kind does not fit the task or the split; or the column is absent, the
            target, a feature that names groups, no time, or has no value in some row.
    """
    kind = _kind(spec, task=task, split=split)
    column = column_of(spec, split)
    named = spec.kind != "auto"
    if kind not in ("group", "time"):
        return FoldRule(kind, named=named, notes=_beside_split(kind, column, split))
    if named:
        _check_column(column, kind, dataset=dataset, target=target, inputs=inputs)
        _refuse_known_groups(kind, column, split)
    values = _values(table.column(column), kind, column)
    times = dataset.column(column)
    of_days = times is not None and times.type == "datetime"
    return FoldRule(
        kind,
        column,
        values,
        gap=spec.gap * _MICROSECONDS if of_days else spec.gap,
        gap_text=(f"{spec.gap:g}" + (" days" if of_days else "")) if spec.gap else "",
        named=named,
        notes=_beside_split(kind, column, split) if named else (),
    )


def column_of(spec: FoldsSpec, split: Split | None) -> str:
    """Return the column that folds follow: the one that is named, else the split's; or none."""
    followed = split.method if split is not None and split.method in ("group", "time") else ""
    kind = followed if spec.kind == "auto" else spec.kind
    if kind not in ("group", "time"):
        return ""
    return spec.column or (split.column if split is not None and followed == kind else "")


def _kind(spec: FoldsSpec, *, task: Task, split: Split | None) -> FoldKind:
    if spec.kind == "stratified" and task == "regression":
        raise InputError(
            "folds are to be stratified, but a regression has no classes",
            where=WHERE,
            remedy="Use kind: random.",
        )
    if spec.kind != "auto":
        return spec.kind
    if split is not None and split.method in ("group", "time"):
        return "group" if split.method == "group" else "time"
    return "random" if task == "regression" else "stratified"


def _check_column(
    column: str, kind: FoldKind, *, dataset: Dataset, target: str, inputs: Collection[str]
) -> None:
    if not column:
        raise InputError(
            f"folds by {kind} need a column: the split has none of that kind",
            where=WHERE,
            remedy=f"Name it: folds: {{kind: {kind}, column: NAME}}.",
        )
    described = dataset.column(column)
    if described is None:
        known = ", ".join(one.name for one in dataset.columns)
        raise InputError(
            f"the training part has no column {column!r}",
            where=WHERE,
            remedy=f"It has: {known}.",
        )
    if column == target:
        raise InputError(f"{column!r} is the target", where=WHERE)
    if kind == "time" and described.type not in ("datetime", "integer", "number"):
        raise InputError(
            f"a time column must be datetime or numeric, {column!r} is {described.type}",
            where=WHERE,
            remedy=f"Ingest it with types: {{{column}: datetime}}, or name another column.",
        )
    if kind == "group" and column in inputs:
        raise InputError(
            f"folds keep {column!r} whole, and it is also a feature: its values in the rows that a "
            "fold is scored on are all new",
            where=WHERE,
            remedy=f"Declare features.columns: {{{column}: drop}}.",
        )


def _refuse_known_groups(kind: FoldKind, column: str, split: Split | None) -> None:
    """Refuse a holdout drawn row by row where rows of one group tell of one another."""
    if kind != "group" or split is None or split.method not in ("random", "stratified"):
        return
    raise InputError(
        f"folds keep {column!r} whole, but the split drew the holdout row by row: the gate would "
        "judge the model on groups that it was trained on",
        where=WHERE,
        remedy=f"Split by the same column: split: {{method: group, column: {column}}}.",
    )


def _beside_split(kind: FoldKind, column: str, split: Split | None) -> tuple[str, ...]:
    """Return what is to be said where the folds ask for something else than the holdout."""
    if split is None or (split.method, split.column) == (kind, column):
        return ()
    if split.method in ("group", "time") and kind in ("random", "stratified"):
        apart = "groups whole" if split.method == "group" else "later rows apart"
        return (
            f"The split keeps {apart} and these folds do not: scores in cross-validation are too "
            "good beside the holdout's.",
        )
    if kind == "group":
        return (
            f"The split by {split.method} may leave rows of one {column} on both sides: the "
            "holdout's figures are then of groups that are partly known, those of the folds of "
            "new ones.",
        )
    if kind == "time" and split.method != "time":
        return (
            "The holdout is not later than the training part: the folds' figures are of later "
            "rows, the holdout's are not.",
        )
    return ()


def _values(column: pa.ChunkedArray, kind: FoldKind, name: str) -> np.ndarray:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    values = column.to_pandas()
    if values.isna().any():
        raise InputError(
            f"{int(values.isna().sum()):,} rows have no value, so they belong to no fold",
            where=f"column {name!r}",
            remedy="Split and cut folds by a column without missing values.",
        )
    if kind == "group":
        return np.asarray(pd.factorize(values, sort=True)[0])
    if pa.types.is_timestamp(column.type):
        whole = column.cast(pa.timestamp("us", tz=column.type.tz)).cast(pa.int64())
        return np.asarray(whole.to_numpy())
    return np.asarray(values)
