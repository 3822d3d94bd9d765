"""Which check an expectation is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from penstock.quality.checks import of_columns, of_spread, of_tables, of_values
from penstock.quality.checks.base import Check
from penstock.quality.selections import Selection
from penstock.quality.spec import Expectation
from penstock.records.dataset import Dataset

_Plan = Callable[[Mapping[str, Any], Dataset], Check | None]

_PLANS: Mapping[str, _Plan] = {
    "column_values_to_not_be_null": partial(of_values.presence, missing=False),
    "column_values_to_be_null": partial(of_values.presence, missing=True),
    "column_values_to_be_unique": of_values.unique,
    "column_values_to_be_between": of_values.between,
    "column_values_to_be_in_set": partial(of_values.in_set, negated=False),
    "column_values_to_not_be_in_set": partial(of_values.in_set, negated=True),
    "column_values_to_match_regex": partial(of_values.pattern, negated=False),
    "column_values_to_not_match_regex": partial(of_values.pattern, negated=True),
    "column_values_to_match_regex_list": partial(of_values.pattern, negated=False),
    "column_values_to_not_match_regex_list": partial(of_values.pattern, negated=True),
    "column_value_lengths_to_be_between": of_values.lengths,
    "column_value_lengths_to_equal": of_values.lengths,
    "column_values_to_be_of_type": of_values.of_type,
    "column_pair_values_to_be_equal": partial(of_values.pair, greater=False),
    "column_pair_values_a_to_be_greater_than_b": partial(of_values.pair, greater=True),
    "compound_columns_to_be_unique": of_values.compound,
    "multicolumn_sum_to_equal": of_values.total,
    "column_values_to_be_in_type_list": of_values.of_types,
    "column_value_z_scores_to_be_less_than": of_spread.z_scores,
    "column_values_to_not_be_outliers": of_spread.outliers,
    "column_most_common_value_to_be_in_set": of_columns.commonest,
    "column_values_to_be_increasing": partial(of_values.in_order, rising=True),
    "column_values_to_be_decreasing": partial(of_values.in_order, rising=False),
    "column_values_to_match_strftime_format": of_values.readable,
    "column_values_to_be_json_parseable": of_values.readable,
    "column_pair_values_to_be_in_set": of_values.pair_in_set,
    "multicolumn_values_to_be_equal": partial(of_values.same_values, equal=True),
    "select_column_values_to_be_unique_within_record": partial(of_values.same_values, equal=False),
    "column_min_to_be_between": partial(of_columns.extreme, largest=False),
    "column_max_to_be_between": partial(of_columns.extreme, largest=True),
    "column_sum_to_be_between": partial(of_columns.moment, name="sum"),
    "column_mean_to_be_between": partial(of_columns.moment, name="mean"),
    "column_stdev_to_be_between": partial(of_columns.moment, name="stdev"),
    "column_median_to_be_between": of_columns.median,
    "column_quantile_values_to_be_between": of_columns.quantiles,
    "column_unique_value_count_to_be_between": of_columns.distinct_count,
    "column_proportion_of_unique_values_to_be_between": of_columns.distinct_share,
    "column_proportion_of_non_null_values_to_be_between": of_columns.present_share,
    "column_distinct_values_to_be_in_set": partial(of_columns.distinct_set, only=True, every=False),
    "column_distinct_values_to_contain_set": partial(
        of_columns.distinct_set, only=False, every=True
    ),
    "column_distinct_values_to_equal_set": partial(of_columns.distinct_set, only=True, every=True),
    "column_to_exist": of_tables.column_there,
    "table_row_count_to_be_between": of_tables.row_count,
    "table_row_count_to_equal": of_tables.row_count,
    "table_column_count_to_be_between": of_tables.column_count,
    "table_column_count_to_equal": of_tables.column_count,
    "table_columns_to_match_ordered_list": of_tables.column_order,
    "table_columns_to_match_set": of_tables.column_set,
}


_WITHOUT_ROWS = ("column_to_exist", "table_column")
"""What begins the names of expectations that take no row condition."""


def plan(
    expectation: Expectation, dataset: Dataset, selection: Selection | None = None
) -> Check | None:
    """Return how an expectation is checked, None if only Great Expectations can.

    Args:
        expectation: Its arguments have been found plain, see `penstock.quality.forms`.
        dataset: The record of the data; the columns that the expectation names are there.
        selection: The rows that it is about; None: all.
    """
    name = expectation.type.removeprefix("expect_")
    if selection is None:
        return _PLANS[name](expectation.kwargs, dataset)
    if name.startswith(_WITHOUT_ROWS):
        return None
    begin = of_tables.selected_count if name.startswith("table_row_count") else _PLANS[name]
    check = begin(expectation.kwargs, dataset)
    # What is certain of a column's type is left to Great Expectations.
    return check.where(selection) if check is not None and check.requests else None
