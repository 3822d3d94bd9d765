"""Expectations and a schema contract drawn from a reference dataset, for a person to review."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any, Literal

from penstock.data.table import iter_batches, read_dataset, read_table
from penstock.data.task import resolve_task
from penstock.quality.spec import Contract, ContractColumn, Expectation
from penstock.records.dataset import Dataset, ProfiledColumn

MAX_LEVELS = 50
"""A text column with at most so many different values gets a value set."""

_ROWS_PER_LEVEL = 20
"""A value set is only proposed where each value was seen this often on average."""

_MIN_ROWS_FOR_IDS = 50
"""In a smaller table, a column without repeats says little."""

_RANGE_TOLERANCE = 0.1
_SHARE_TOLERANCE = 0.01
"""Share of values that may be missing, or negative, where none was."""

Severity = Literal["block", "warn", "info"]


def propose(folder: Path, *, target: str, task: str = "auto") -> tuple[Expectation, ...]:
    r"""Return expectations that the reference dataset meets and that later data should meet.

    What breaks training or serving blocks: too few rows, a target outside its classes, a
    column that is suddenly empty, numbers that turn negative. What may be news rather than a fault
    is a warning: numbers beyond the range seen, new categories, repeats in an identifier. Each
    expectation says in `meta.notes` why it is there.

    Args:
        folder: The reference dataset.
        target: The column to predict.
        task: As the project file has it: a regression's numbers are no classes.

    Raises:
        InputError: If there is no readable dataset, or the target cannot be predicted (see
            `penstock.data.task.resolve_task`).

    Example:
        >>> from penstock.data.ingest import ingest
        >>> from penstock.data.spec import SourceSpec
        >>> lines = ["age,member", *(f"{20 + n % 40},{n % 2}" for n in range(100))]
        >>> _ = Path("members.csv").write_text("\n".join(lines))
        >>> _ = ingest(SourceSpec(uri="members.csv"), output=Path("members"))
        penstock| 100 rows, 2 columns, rows1:...
        >>> for expectation in propose(Path("members"), target="member")[:2]:
        ...     print(expectation.type, expectation.severity)
        expect_table_row_count_to_be_between block
        expect_column_values_to_not_be_null block
    """
    dataset = read_dataset(folder)
    classes = resolve_task(dataset, target=target, task=task) != "regression"
    found = [_row_count(dataset)]
    for column in dataset.columns:
        if column.profile.nulls == dataset.rows:
            continue
        found.extend(_completeness(column, dataset, is_target=column.name == target))
        if column.name == target and classes:
            found.append(_classes(column, folder))
        else:
            found.extend(_values(column, dataset, folder))
    return tuple(found)


def contract_of(dataset: Dataset) -> Contract:
    """Return the schema contract that a dataset's own columns make."""
    return Contract(
        columns=tuple(ContractColumn(name=c.name, type=c.type) for c in dataset.columns)
    )


def _expect(check: str, *, notes: str, severity: Severity = "warn", **kwargs: Any) -> Expectation:
    given = {"type": f"expect_{check}", "kwargs": kwargs, "meta": {"notes": notes}}
    return Expectation.model_validate(given | {"severity": severity})


def _row_count(dataset: Dataset) -> Expectation:
    return _expect(
        "table_row_count_to_be_between",
        severity="block",
        min_value=max(1, dataset.rows // 10),
        notes=f"The reference has {dataset.rows:,} rows; less than a tenth of them means that "
        "something was cut off.",
    )


def _completeness(
    column: ProfiledColumn, dataset: Dataset, *, is_target: bool
) -> Iterator[Expectation]:
    share = column.profile.nulls / dataset.rows
    # Missing values may double before they count as a fault.
    ceiling = share + max(share, _SHARE_TOLERANCE)
    mostly = math.floor((1 - ceiling) * 1000) / 1000
    if share == 0 and is_target:
        yield _expect(
            "column_values_to_not_be_null",
            severity="block",
            column=column.name,
            notes="The target is never missing in the reference; training needs it in every row.",
        )
    elif mostly > 0:
        seen = f"{share:.1%} of the values are missing" if share else "No value is missing"
        yield _expect(
            "column_values_to_not_be_null",
            severity="block",
            column=column.name,
            mostly=mostly,
            notes=f"{seen} in the reference; up to {1 - mostly:.1%} is tolerated.",
        )


def _classes(column: ProfiledColumn, folder: Path) -> Expectation:
    return _expect(
        "column_values_to_be_in_set",
        severity="block",
        column=column.name,
        value_set=_levels(folder, column),
        notes="The classes that the model learns; another spelling is another class.",
    )


def _values(column: ProfiledColumn, dataset: Dataset, folder: Path) -> Iterator[Expectation]:
    if _is_identifier(column, dataset, folder):
        yield _expect(
            "column_values_to_be_unique",
            column=column.name,
            notes="No value occurs twice in the reference, so it looks like an identifier.",
        )
    elif column.type in ("integer", "number"):
        yield from _ranges(column)
    elif column.type == "string" and _is_category(column, dataset):
        yield _expect(
            "column_values_to_be_in_set",
            column=column.name,
            value_set=_levels(folder, column),
            notes="The categories seen in the reference. The model treats others as unknown.",
        )
    elif column.type == "datetime" and column.profile.earliest is not None:
        yield _expect(
            "column_values_to_be_between",
            column=column.name,
            min_value=column.profile.earliest.replace(
                hour=0, minute=0, second=0, microsecond=0
            ).isoformat(),
            notes="The reference begins on this day. There is no upper end: new data are newer.",
        )


def _ranges(column: ProfiledColumn) -> Iterator[Expectation]:
    low, high = column.profile.minimum, column.profile.maximum
    if low is None or high is None:
        return
    if low >= 0:
        yield _expect(
            "column_values_to_be_between",
            severity="block",
            column=column.name,
            min_value=0,
            mostly=1 - _SHARE_TOLERANCE,
            notes="No value is negative in the reference. Delete this if values may be.",
        )
    below, above = _widened(low, high, whole=column.type == "integer")
    yield _expect(
        "column_values_to_be_between",
        column=column.name,
        min_value=below,
        max_value=above,
        notes=f"The reference runs from {low:,.10g} to {high:,.10g}; this adds a tenth of that "
        "span at both ends.",
    )


def _widened(low: float, high: float, *, whole: bool) -> tuple[float, float]:
    """Return the range with a tolerance, in figures that are pleasant to review."""
    span = (high - low) or abs(high) or 1.0
    if not math.isfinite(span):
        return low, high
    margin = _RANGE_TOLERANCE * span
    if whole:
        below: float = math.ceil(low - margin)
        above: float = math.floor(high + margin)
    else:
        step = Decimal(1).scaleb(Decimal(span).adjusted() - 2)
        below = _stepped(low - margin, step, ROUND_FLOOR)
        above = _stepped(high + margin, step, ROUND_CEILING)
    # A range that did not cross zero does not start to.
    return (max(below, 0) if low >= 0 else below), (min(above, 0) if high <= 0 else above)


def _stepped(value: float, step: Decimal, rounding: str) -> float:
    rounded = float((Decimal(value) / step).to_integral_value(rounding) * step)
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def _is_identifier(column: ProfiledColumn, dataset: Dataset, folder: Path) -> bool:
    values = dataset.rows - column.profile.nulls
    # The profile counts approximately; only what may be without repeats is counted exactly.
    likely = column.type in ("integer", "string") and column.profile.distinct >= 0.9 * values
    return likely and values >= _MIN_ROWS_FOR_IDS and _distinct(folder, column.name) == values


def _is_category(column: ProfiledColumn, dataset: Dataset) -> bool:
    distinct = column.profile.distinct
    return distinct <= MAX_LEVELS and distinct * _ROWS_PER_LEVEL <= dataset.rows


def _distinct(folder: Path, name: str) -> int:
    import pyarrow.compute as pc

    return int(pc.count_distinct(read_table(folder, [name])[name], mode="only_valid").as_py())


def _levels(folder: Path, column: ProfiledColumn) -> list[Any]:
    import pyarrow.compute as pc

    seen: set[Any] = set()
    for batch in iter_batches(folder, [column.name]):
        seen.update(pc.unique(batch.column(0)).to_pylist())
    seen.discard(None)
    return sorted(int(value) if column.type == "number" else value for value in seen)
