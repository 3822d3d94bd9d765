"""Which kind of feature a raw column is, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from penstock.errors import InputError, absent_column
from penstock.features.spec import FeaturesSpec
from penstock.features.statistics import FEW, ColumnStatistics
from penstock.records.dataset import Column, ColumnType, Split
from penstock.records.features import FeatureKind

WORDS = 4
"""Mean number of words from which a text column is read for its words."""

NEARLY_ALL = 0.9
"""Share of different values from which a short text is an identifier."""

SCARCE = 1e-4
"""Share of rows below which a column is too rarely known to be used. Gradient boosting looks at
200,000 rows for its histograms, and fails when a column is missing in all of them."""

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
    """

    column: Column
    kind: FeatureKind
    chosen: Literal["inferred", "declared"]
    reason: str


def choose(
    columns: Sequence[ColumnStatistics], *, spec: FeaturesSpec, split: Split | None
) -> tuple[Choice, ...]:
    """Return the choice for each column, in order.

    Args:
        columns: What is known of the columns of the training part without the target.
        spec: What is declared; everything else is inferred from the values.
        split: How the holdout was cut off, if known: the column of a group split is left out, and
            so is that of a time split if it is a number.
    """
    return tuple(_choose_one(known, spec=spec, split=split) for known in columns)


def check_declared(columns: Sequence[Column], spec: FeaturesSpec) -> None:
    """Check what is declared against the columns of the table without its target.

    Raises:
        InputError: If a declared column is absent or its storage type does not allow the kind.
    """
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


def _choose_one(known: ColumnStatistics, *, spec: FeaturesSpec, split: Split | None) -> Choice:
    column = Column(name=known.column.name, type=known.column.type)
    declared = spec.columns.get(column.name)
    unusable = _unusable(known, split=split)
    if declared is not None:
        kind, reason = declared, "declared in features.columns"
        # A column without two different values has nothing to encode, whatever it is called.
        if unusable and declared != "drop" and known.distinct < 2:
            kind, reason = "drop", f"declared as {declared}, but {unusable}"
        elif declared == "category" and (scattered := _scattered(known, spec)):
            kind, reason = "drop", f"declared as category, but {scattered}"
        return Choice(column, kind, "declared", reason)
    if unusable:
        return Choice(column, "drop", "inferred", unusable)
    kind, reason = _INFER[column.type](known)
    if kind == "category" and (scattered := _scattered(known, spec)):
        kind, reason = "drop", scattered
    return Choice(column, kind, "inferred", reason)


def _unusable(known: ColumnStatistics, *, split: Split | None) -> str:
    column, missing, rows = known.column, known.missing, known.rows
    if missing == rows:
        return "missing in every row"
    if rows - missing < rows * SCARCE:
        return f"known in only {rows - missing:,} of {rows:,} rows"
    if known.distinct == 1 and not missing:
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


def _scattered(known: ColumnStatistics, spec: FeaturesSpec) -> str:
    """Return why no level of a category is kept; empty if one is."""
    if known.kept(spec).levels:
        return ""
    return (
        f"each of its values is in fewer than {spec.rare_share:.4g} of the rows "
        "(features.rare_share)"
    )


def _infer_integer(known: ColumnStatistics) -> tuple[FeatureKind, str]:
    if not known.numbered:
        return "number", "stored as whole numbers"
    profile = known.column.profile
    spread = (profile.maximum or 0.0) - (profile.minimum or 0.0) + 1
    return "drop", (
        f"a row number: {known.rows:,} different whole numbers within a range of {spread:,.0f}"
    )


def _infer_number(_known: ColumnStatistics) -> tuple[FeatureKind, str]:
    return "number", "stored as numbers"


def _infer_boolean(_known: ColumnStatistics) -> tuple[FeatureKind, str]:
    return "boolean", "stored as true and false"


def _infer_datetime(_known: ColumnStatistics) -> tuple[FeatureKind, str]:
    return "datetime", "stored as times"


def _infer_string(known: ColumnStatistics) -> tuple[FeatureKind, str]:
    present = known.rows - known.missing
    different = f"{known.distinct_text} different values"
    unlike = known.distinct / present
    if known.distinct <= FEW:
        return "category", f"text with {different}"
    if known.words >= WORDS and unlike >= 0.1:
        return "text", (
            f"text of {known.words:.0f} words on average, {unlike:.0%} of the values different"
        )
    if unlike >= NEARLY_ALL:
        return "drop", f"an identifier: {different} in {present:,} rows"
    return "category", f"text with {different}"


_INFER: dict[ColumnType, Callable[[ColumnStatistics], tuple[FeatureKind, str]]] = {
    "integer": _infer_integer,
    "number": _infer_number,
    "boolean": _infer_boolean,
    "string": _infer_string,
    "datetime": _infer_datetime,
}
