"""What is predicted: a class of two, a class of several, or a number."""

from __future__ import annotations

from typing import get_args

from penstock.errors import InputError
from penstock.records.dataset import Dataset, Level, ProfiledColumn
from penstock.records.model import Label, Task

MAX_CODES = 20
"""Integers 0 to k-1 are read as labels up to this k, beyond as numbers."""

MAX_CLASSES = 100

_MAX_LABEL = 200


def resolve_task(dataset: Dataset, *, target: str, task: str = "auto") -> Task:
    r"""Return the task that the target column calls for.

    Text and booleans are classes: two are binary, more are multiclass. Whole numbers, also those
    stored as floats, are binary when there are two different ones, multiclass when they are exactly
    0 to k-1 with k at most 20 (label codes), and otherwise, as all other numbers, a regression.

    Args:
        dataset: The table's record; only its profile is used.
        target: The column to predict.
        task: `auto`, or the task to check the column against.

    Raises:
        InputError: If the column is absent, all null, constant, a datetime, text with more than 100
            levels, or does not fit the `task` given.

    Example:
        >>> from pathlib import Path
        >>> from penstock.data.ingest import ingest
        >>> from penstock.data.spec import SourceSpec
        >>> _ = Path("loans.csv").write_text("income,paid\n900,yes\n1200,no\n800,yes\n")
        >>> loans = ingest(SourceSpec(uri="loans.csv"), output=Path("loans"))
        penstock| 3 rows, 2 columns, rows1:...
        >>> resolve_task(loans, target="paid"), resolve_task(loans, target="income")
        ('binary', 'regression')
    """
    column = target_column(dataset, target)
    if task != "auto" and task not in get_args(Task):
        allowed = ", ".join(("auto", *get_args(Task)))
        raise InputError(f"unknown task {task!r}", where="task", remedy=f"Allowed: {allowed}.")
    distinct = column.profile.distinct
    if task == "auto":
        found = _infer(column)
        if found == "multiclass":
            _check_class_count(column)
        return found
    if task == "regression":
        if column.type not in ("integer", "number"):
            raise InputError(
                f"a regression needs numbers, but the target is a {column.type} column",
                where=f"target {target!r}",
                remedy="Leave task at auto, or name a numeric target.",
            )
        return "regression"
    _check_classes(column)
    if task == "binary" and distinct != 2:
        raise InputError(
            f"a binary task needs 2 classes, but the target has {distinct}: {_levels(column)}",
            where=f"target {target!r}",
            remedy="Use task: multiclass, or keep the rows of two classes.",
        )
    if task == "multiclass" and distinct == 2:
        raise InputError(
            f"the target has only 2 classes: {_levels(column)}",
            where=f"target {target!r}",
            remedy="Use task: binary or leave it at auto.",
        )
    _check_class_count(column)
    return "binary" if task == "binary" else "multiclass"


def resolve_positive(dataset: Dataset, *, target: str, positive: str = "") -> Label:
    """Return the class of a binary target whose probability the model gives.

    Args:
        dataset: The table's record.
        target: A column with two classes.
        positive: The class as text; empty means true or 1 where there is one, otherwise the rarer
            class, and the last in sorted order when both are equally common.

    Returns:
        The class in the type it is stored as: bool, int or str.

    Raises:
        InputError: If the target does not have two classes, or `positive` is none of them.
    """
    column = target_column(dataset, target)
    if column.profile.distinct != 2:
        raise InputError(
            f"a positive class needs a target with 2 classes, this has {column.profile.distinct}",
            where=f"target {target!r}",
        )
    levels = {as_label(column, level.value): level.rows for level in column.profile.top}
    if positive:
        for label in levels:
            if positive == str(label) or (
                not isinstance(label, str) and _same(column, positive, label)
            ):
                return label
        raise InputError(
            f"the positive class {positive!r} is not in the target, which holds {_levels(column)}",
            where=f"target {target!r}",
            remedy="Name one of these, as written here.",
        )
    if column.type != "string" and set(levels) == {0, 1}:
        return True if column.type == "boolean" else 1
    rarest = min(levels.values())
    return sorted(label for label, rows in levels.items() if rows == rarest)[-1]


def target_column(dataset: Dataset, target: str, *, where: str = "") -> ProfiledColumn:
    """Return the target's column.

    Args:
        dataset: The record of the rows.
        target: The column to predict.
        where: Which rows these are, for the error; empty where there are no others.

    Raises:
        InputError: If it is absent, all null, constant, or a datetime.
    """
    place = f"{where}, target {target!r}" if where else f"target {target!r}"
    column = dataset.column(target)
    if column is None:
        raise InputError(
            f"the target {target!r} is not in the table",
            where=where or "target",
            remedy=f"Its columns are: {', '.join(c.name for c in dataset.columns)}.",
        )
    if column.profile.nulls == dataset.rows:
        raise InputError(
            "the target is missing in every row",
            where=place,
            remedy="Name another target, or check na_values and the delimiter.",
        )
    if column.profile.distinct < 2:
        raise InputError(
            f"the target is constant: every row that has it holds {_levels(column)}",
            where=place,
            remedy="Name another target, or bring rows with other values; where this is a holdout, "
            "hold out more rows or split by strata.",
        )
    if column.type == "datetime":
        raise InputError(
            "a datetime cannot be predicted",
            where=place,
            remedy="Name a target of numbers, text or booleans.",
        )
    return column


def complete_target(dataset: Dataset, target: str, *, where: str = "") -> ProfiledColumn:
    """Return the target's column, which every row has; the arguments are those of `target_column`.

    Raises:
        InputError: As `target_column`, and if a row has no target.
    """
    column = target_column(dataset, target, where=where)
    if column.profile.nulls:
        raise InputError(
            f"the target is missing in {column.profile.nulls:,} of {dataset.rows:,} rows",
            where=f"{where}, target {target!r}" if where else f"target {target!r}",
            remedy="Set split.drop_missing_target: true to leave these rows out, or name another "
            "target.",
        )
    return column


def as_label(column: ProfiledColumn, text: str) -> Label:
    """Return a level's text from the profile as the value that is stored, whole floats as int.

    Raises:
        InputError: If it is no such value: a number with a fraction, or a text cut short.
    """
    if column.type == "boolean":
        return text == "true"
    if column.type == "string":
        if len(text) > _MAX_LABEL:
            raise InputError(
                f"a class label has more than {_MAX_LABEL} characters: {text[:40]!r}…",
                where=f"target {column.name!r}",
                remedy="Name another target, or shorten its labels.",
            )
        return text
    number = float(text)
    if not number.is_integer():
        raise InputError(
            f"{text} is no class label: labels are whole numbers, text or booleans",
            where=f"target {column.name!r}",
            remedy="Use task: regression, or write the labels as text by types: "
            f"{{{column.name}: string}}.",
        )
    return int(number) if column.type == "number" else int(text)


def _infer(column: ProfiledColumn) -> Task:
    distinct = column.profile.distinct
    if column.type in ("string", "boolean"):
        return "binary" if distinct == 2 else "multiclass"
    if not _is_whole(column):
        return "regression"
    if distinct == 2:
        return "binary"
    return "multiclass" if _are_codes(column) else "regression"


def _is_whole(column: ProfiledColumn) -> bool:
    """Whether the values are whole numbers, as far as the profile's ten commonest show."""
    if column.type == "integer":
        return True
    profile = column.profile
    if profile.distinct > MAX_CODES or not profile.top:
        return False
    known = [float(level.value) for level in profile.top]
    known += [value for value in (profile.minimum, profile.maximum) if value is not None]
    return all(value.is_integer() for value in [*known, *profile.quantiles])


def _are_codes(column: ProfiledColumn) -> bool:
    """Whether whole numbers are exactly 0 to k-1: k different ones between 0 and k-1."""
    profile = column.profile
    codes = profile.distinct
    return codes <= MAX_CODES and profile.minimum == 0 and profile.maximum == codes - 1


def _check_classes(column: ProfiledColumn) -> None:
    for level in column.profile.top:
        as_label(column, level.value)


def _check_class_count(column: ProfiledColumn) -> None:
    if column.profile.distinct <= MAX_CLASSES:
        return
    raise InputError(
        f"the target has {column.profile.distinct:,} different values, more than {MAX_CLASSES} "
        "classes",
        where=f"target {column.name!r}",
        remedy="Name another target; for amounts, make the column numeric and use task: "
        "regression.",
    )


def _same(column: ProfiledColumn, text: str, label: Label) -> bool:
    """Whether a user's way of writing a number or boolean means `label`."""
    if column.type == "boolean":
        return text.strip().lower() == str(label).lower()
    try:
        return float(text) == label
    except ValueError:
        return False


def _levels(column: ProfiledColumn) -> str:
    shown: list[Level] = list(column.profile.top[:5])
    text = ", ".join(f"{level.value!r:.60} ({level.rows:,} rows)" for level in shown)
    return text + (", …" if column.profile.distinct > len(shown) else "")
