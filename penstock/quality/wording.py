"""What an expectation demands and what was found, in words for somebody who does not know GX."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from penstock.quality.spec import Expectation

_LISTED = 5
EXAMPLES = 3
"""Unexpected values that a sentence names."""

_EXAMPLE_LENGTH = 40

# The field names come from Great Expectations' own expectations.
_TITLES = {
    "expect_column_values_to_not_be_null": "Not missing",
    "expect_column_values_to_be_null": "Always missing",
    "expect_column_values_to_be_between": "Range",
    "expect_column_values_to_be_in_set": "Allowed values",
    "expect_column_values_to_not_be_in_set": "Forbidden values",
    "expect_column_values_to_be_unique": "No repeats",
    "expect_column_values_to_match_regex": "Pattern",
    "expect_column_to_exist": "Column there",
    "expect_table_row_count_to_be_between": "Row count",
    "expect_table_row_count_to_equal": "Row count",
    "expect_column_mean_to_be_between": "Mean",
    "expect_column_median_to_be_between": "Median",
    "expect_column_min_to_be_between": "Minimum",
    "expect_column_max_to_be_between": "Maximum",
    "expect_column_stdev_to_be_between": "Standard deviation",
    "expect_column_sum_to_be_between": "Sum",
    "expect_column_value_lengths_to_be_between": "Text length",
    "expect_column_unique_value_count_to_be_between": "Number of different values",
    "schema": "Columns",
    "schema_missing": "Missing column",
    "schema_extra": "Extra column",
    "schema_retyped": "Changed type",
    "schema_rows": "Rows",
}


def title(check: str) -> str:
    """Return a short name of a check, for example `Range`."""
    known = _TITLES.get(check)
    if known is None:
        words = check.removeprefix("expect_").removeprefix("column_").replace("_", " ")
        known = words[:1].upper() + words[1:]
    return known


def requirement(expectation: Expectation) -> str:
    """Return what an expectation demands, for example `'age' must lie between 17 and 90`."""
    kwargs = expectation.kwargs
    say = _DEMANDS.get(expectation.type)
    try:
        demand = say(kwargs) if say else _general(expectation)
    except (KeyError, TypeError):
        # Only Great Expectations knows which arguments are needed; it refuses them by name.
        demand = _general(expectation)
    mostly = kwargs.get("mostly", 1)
    share = f" ({_percent(mostly)} of the values suffice)" if mostly != 1 else ""
    where = f", where {kwargs['row_condition']}" if kwargs.get("row_condition") else ""
    return f"{demand[:1].upper()}{demand[1:]}{share}{where}"


def counted(*, passed: bool, checked: int, unexpected: int, samples: Sequence[str]) -> str:
    """Return how many values kept to a demand.

    Args:
        passed: Whether the expectation as a whole holds.
        checked: Values looked at.
        unexpected: Values of those that broke the demand.
        samples: Some of these, as text.
    """
    if checked == 0:
        return "there is no value to check."
    if unexpected == 0:
        return f"all {checked:,} values hold."
    among = f" (for example {examples(samples)})" if samples else ""
    kept = ", which is tolerated" if passed else ""
    broken = f"{unexpected:,} of {checked:,} values ({_percent(unexpected / checked)}) break this"
    return f"{broken}{among}{kept}."


def examples(samples: Sequence[str]) -> str:
    """Return the first few samples, each cut to what fits a sentence."""
    shown = (
        text if len(text) <= _EXAMPLE_LENGTH else text[: _EXAMPLE_LENGTH - 1] + "…"
        for text in samples[:EXAMPLES]
    )
    return ", ".join(shown)


def listing(values: Sequence[Any]) -> str:
    """Return the first five values, separated by commas, and how many there are if more."""
    shown = ", ".join(figure(value) for value in values[:_LISTED])
    return shown if len(values) <= _LISTED else f"{shown}, … ({len(values):,} in all)"


def figure(value: object) -> str:
    """Return a value as a reader writes it: thousands apart, no trailing zeros."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.10g}"


def _percent(share: float) -> str:
    # 99.996% must not read as 100%.
    return f"{100 * share:.3g}%" if share <= 0.99 or share == 1 else f"{100 * share:.6g}%"


def _bounds(kwargs: Mapping[str, Any]) -> str:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    if low is None and high is None:
        return "have any value"
    if low is None:
        return f"be {'below' if kwargs.get('strict_max') else 'at most'} {figure(high)}"
    if high is None:
        return f"be {'above' if kwargs.get('strict_min') else 'at least'} {figure(low)}"
    return f"lie between {figure(low)} and {figure(high)}"


def _of(what: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda kwargs: f"the {what} of {kwargs['column']!r} must {_bounds(kwargs)}"


def _column(demand: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda kwargs: f"{kwargs['column']!r} must {demand}"


_DEMANDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "expect_column_to_exist": lambda k: f"a column {k['column']!r} must be there",
    "expect_column_values_to_not_be_null": _column("not be missing"),
    "expect_column_values_to_be_null": _column("be missing"),
    "expect_column_values_to_be_unique": _column("not repeat a value"),
    "expect_column_values_to_be_between": lambda k: f"{k['column']!r} must {_bounds(k)}",
    "expect_column_values_to_be_in_set": (
        lambda k: f"{k['column']!r} must be one of {listing(k['value_set'])}"
    ),
    "expect_column_values_to_not_be_in_set": (
        lambda k: f"{k['column']!r} must be none of {listing(k['value_set'])}"
    ),
    "expect_column_values_to_match_regex": (
        lambda k: f"{k['column']!r} must match the pattern {k['regex']}"
    ),
    "expect_table_row_count_to_be_between": lambda k: f"the number of rows must {_bounds(k)}",
    "expect_table_row_count_to_equal": (
        lambda k: f"the number of rows must be {figure(k['value'])}"
    ),
    "expect_column_mean_to_be_between": _of("mean"),
    "expect_column_median_to_be_between": _of("median"),
    "expect_column_min_to_be_between": _of("minimum"),
    "expect_column_max_to_be_between": _of("maximum"),
    "expect_column_stdev_to_be_between": _of("standard deviation"),
    "expect_column_sum_to_be_between": _of("sum"),
    "expect_column_value_lengths_to_be_between": _of("text length"),
    "expect_column_unique_value_count_to_be_between": _of("number of different values"),
    "expect_column_pair_values_a_to_be_greater_than_b": (
        lambda k: f"{k['column_A']!r} must be greater than {k['column_B']!r}"
    ),
    "expect_compound_columns_to_be_unique": (
        lambda k: f"the columns {listing(k['column_list'])} together must not repeat"
    ),
}


def _general(expectation: Expectation) -> str:
    words = expectation.type.removeprefix("expect_").replace("_", " ")
    details = "; ".join(
        f"{key} {value}"
        for key, value in expectation.kwargs.items()
        if key not in ("mostly", "row_condition")
    )
    return f"{words} ({details})" if details else words
