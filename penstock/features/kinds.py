"""Which kind of feature a raw column is, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from penstock.errors import InputError, absent_column
from penstock.features.spec import FeaturesSpec
from penstock.records.dataset import Column, ColumnType, Split
from penstock.records.features import FeatureKind

if TYPE_CHECKING:
    import pandas as pd

WORDS = 4
"""Mean number of words from which a text column is read for its words."""

NEARLY_ALL = 0.9
"""Share of different values from which a short text is an identifier."""

FEW = 20
"""Up to this many different values a text column is always a category."""

SCARCE = 1e-4
"""Share of rows below which a column is too rarely known to be used. Gradient boosting looks at
200,000 rows for its histograms, and fails when a column is missing in all of them."""

COUNTER_ROWS = 100
"""Rows from which a column of whole numbers is recognised as a row number."""

ALLOWED: dict[ColumnType, tuple[FeatureKind, ...]] = {
    "integer": ("number", "category", "drop"),
    "number": ("number", "category", "drop"),
    "boolean": ("boolean", "category", "drop"),
    "string": ("category", "text", "drop"),
    "datetime": ("datetime", "drop"),
}


@dataclass(frozen=True)
class Choice:
    """What a column is taken for.

    Args:
        column: The raw column.
        kind: The kind of feature.
        chosen: Whether the project file says so or the values do.
        reason: Why, in words.
        missing: Rows where it is missing.
        distinct: Different values in the other rows.
    """

    column: Column
    kind: FeatureKind
    chosen: Literal["inferred", "declared"]
    reason: str
    missing: int
    distinct: int


def choose(
    frame: pd.DataFrame, columns: tuple[Column, ...], *, spec: FeaturesSpec, split: Split | None
) -> tuple[Choice, ...]:
    """Return the choice for each column, in order.

    Args:
        frame: The training part without the target, as `to_frame` returns it.
        columns: Its columns.
        spec: What is declared; everything else is inferred from the values.
        split: How the holdout was cut off, if known: the column of a group split is left out, and
            so is that of a time split if it is a number.

    Raises:
        InputError: If a declared column is absent or its storage type does not allow the kind.
    """
    _check_declared(columns, spec)
    return tuple(_choose_one(frame[c.name], c, spec=spec, split=split) for c in columns)


def _check_declared(columns: tuple[Column, ...], spec: FeaturesSpec) -> None:
    types = {column.name: column.type for column in columns}
    for name, kind in spec.columns.items():
        if name not in types:
            raise absent_column(
                name, types, where="features.columns", table="the table without its target"
            )
        if kind not in ALLOWED[types[name]]:
            raise InputError(
                f"a {types[name]} column cannot be a {kind} feature",
                where=f"features.columns.{name}",
                remedy=f"Use one of: {', '.join(ALLOWED[types[name]])}; or store the column as "
                f"another type by source.types.",
            )


def _choose_one(
    values: pd.Series, column: Column, *, spec: FeaturesSpec, split: Split | None
) -> Choice:
    missing, distinct = int(values.isna().sum()), int(values.nunique())
    declared = spec.columns.get(column.name)
    unusable = _unusable(column, missing=missing, distinct=distinct, rows=len(values), split=split)
    if declared is not None:
        kind, reason = declared, "declared in features.columns"
        # A column without two different values has nothing to encode, whatever it is called.
        if unusable and declared != "drop" and distinct < 2:
            kind, reason = "drop", f"declared as {declared}, but {unusable}"
        elif declared == "category" and (scattered := _scattered(values, spec)):
            kind, reason = "drop", f"declared as category, but {scattered}"
        return Choice(column, kind, "declared", reason, missing, distinct)
    if unusable:
        return Choice(column, "drop", "inferred", unusable, missing, distinct)
    kind, reason = _INFER[column.type](values, missing, distinct)
    if kind == "category" and (scattered := _scattered(values, spec)):
        kind, reason = "drop", scattered
    return Choice(column, kind, "inferred", reason, missing, distinct)


def _unusable(
    column: Column, *, missing: int, distinct: int, rows: int, split: Split | None
) -> str:
    if missing == rows:
        return "missing in every row"
    if rows - missing < rows * SCARCE:
        return f"known in only {rows - missing:,} of {rows:,} rows"
    if distinct == 1 and not missing:
        return "the same value in every row"
    if split is not None and split.method == "group" and split.column == column.name:
        return "the rows were split by it, so no value in the holdout has been seen"
    if (
        split is not None
        and split.method == "time"
        and split.column == column.name
        and column.type != "datetime"
    ):
        return (
            "the rows were split by it as a time, so every value in the holdout and later lies "
            "beyond those seen"
        )
    return ""


def _scattered(values: pd.Series, spec: FeaturesSpec) -> str:
    """Return why no level of a category is kept; empty if one is."""
    commonest = int(values.value_counts(dropna=False).iloc[0])
    if commonest >= spec.rare_share * len(values):
        return ""
    return (
        f"each of its values is in fewer than {spec.rare_share:.4g} of the rows "
        "(features.rare_share)"
    )


def _infer_integer(values: pd.Series, missing: int, distinct: int) -> tuple[FeatureKind, str]:
    rows = len(values)
    if rows >= COUNTER_ROWS and not missing and distinct == rows:
        spread = float(values.max() - values.min()) + 1
        if spread <= 2 * rows:
            return "drop", (
                f"a row number: {rows:,} different whole numbers within a range of {spread:,.0f}"
            )
    return "number", "stored as whole numbers"


def _infer_number(_values: pd.Series, _missing: int, _distinct: int) -> tuple[FeatureKind, str]:
    return "number", "stored as numbers"


def _infer_boolean(_values: pd.Series, _missing: int, _distinct: int) -> tuple[FeatureKind, str]:
    return "boolean", "stored as true and false"


def _infer_datetime(_values: pd.Series, _missing: int, _distinct: int) -> tuple[FeatureKind, str]:
    return "datetime", "stored as times"


def _infer_string(values: pd.Series, missing: int, distinct: int) -> tuple[FeatureKind, str]:
    present = len(values) - missing
    if distinct <= FEW:
        return "category", f"text with {distinct:,} different values"
    words = float(values.dropna().str.count(r"\S+").mean())
    unlike = distinct / present
    if words >= WORDS and unlike >= 0.1:
        return "text", f"text of {words:.0f} words on average, {unlike:.0%} of the values different"
    if unlike >= NEARLY_ALL:
        return "drop", f"an identifier: {distinct:,} different values in {present:,} rows"
    return "category", f"text with {distinct:,} different values"


_INFER: dict[ColumnType, Callable[[pd.Series, int, int], tuple[FeatureKind, str]]] = {
    "integer": _infer_integer,
    "number": _infer_number,
    "boolean": _infer_boolean,
    "string": _infer_string,
    "datetime": _infer_datetime,
}
