"""Which arguments each expectation takes that is checked without Great Expectations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from penstock.quality.arguments import refused
from penstock.quality.spec import Expectation

_UNCLEAR = "?"
"""What a test says of a value that only Great Expectations can judge."""

Test = Callable[[Any], str]
"""Says what is wrong with a value, in the words of Great Expectations; empty if nothing is."""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return "str type expected"
    return "" if value else "ensure this value has at least 1 characters"


def _share(value: Any) -> str:
    if not _is_number(value):
        return _UNCLEAR
    if value > 1:
        return "ensure this value is less than or equal to 1.0"
    return "ensure this value is greater than or equal to 0.0" if value < 0 else ""


def _bound(value: Any) -> str:
    known = value is None or _is_number(value) or isinstance(value, datetime)
    return "" if known else _UNCLEAR


def _number(value: Any) -> str:
    return "" if value is None or _is_number(value) else _UNCLEAR


def _whole(value: Any) -> str:
    return "" if value is None or _is_whole(value) else _UNCLEAR


def _due_whole(value: Any) -> str:
    return "" if _is_whole(value) else _UNCLEAR


def _due_number(value: Any) -> str:
    return "" if _is_number(value) else _UNCLEAR


def _factor(value: Any) -> str:
    return "" if _is_number(value) and value >= 0 else _UNCLEAR


def _names(value: Any) -> str:
    return "" if value and not _texts(value) else _UNCLEAR


def _flag(value: Any) -> str:
    return "" if isinstance(value, bool) else _UNCLEAR


def _list(value: Any) -> str:
    return "" if isinstance(value, list) else "value is not a valid list"


def _filled(value: Any) -> str:
    return _list(value) or ("" if value else "value_set must be a non-empty set-like object.")


def _texts(value: Any) -> str:
    wrong = _list(value)
    if wrong:
        return wrong
    return "" if all(isinstance(item, str) for item in value) else _UNCLEAR


def _patterns(value: Any) -> str:
    return _texts(value) or ("" if value else "regex_list must not be empty")


def _several(value: Any) -> str:
    few = "column_list must contain at least two columns."
    return _texts(value) or ("" if len(value) >= 2 else few)


def _pairs(value: Any) -> str:
    paired = isinstance(value, list) and all(
        isinstance(pair, list | tuple) and len(pair) == 2 for pair in value
    )
    return "" if paired else _UNCLEAR


def _quantiles(value: Any) -> str:
    if not isinstance(value, Mapping) or set(value) != {"quantiles", "value_ranges"}:
        return _UNCLEAR
    shares, ranges = value["quantiles"], value["value_ranges"]
    if not isinstance(shares, list) or not isinstance(ranges, list) or len(shares) != len(ranges):
        return _UNCLEAR
    right = all(_is_number(share) and 0 <= share <= 1 for share in shares)
    return "" if right and all(map(_is_range, ranges)) else _UNCLEAR


def _is_range(pair: Any) -> bool:
    if not isinstance(pair, list) or len(pair) != 2:
        return False
    if any(end is not None and not _is_number(end) for end in pair):
        return False
    return None in pair or pair[0] <= pair[1]


def _one_of(*words: str) -> Test:
    return lambda value: "" if value in words else _UNCLEAR


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True)
class Form:
    """The arguments that an expectation takes.

    Args:
        needed: A test for each that must be there.
        optional: A test for each that may be.
        bounds: Whether at least one of `min_value` and `max_value` is needed.
    """

    needed: Mapping[str, Test]
    optional: Mapping[str, Test]
    bounds: bool = False

    def complaints(self, kwargs: Mapping[str, Any]) -> list[str] | None:
        """Return what is wrong with arguments; None if only Great Expectations can decide it."""
        tests = {**self.needed, **self.optional}
        missing = [f"{key}: field required" for key in self.needed if key not in kwargs]
        messages = {key: tests[key](value) for key, value in kwargs.items() if key in tests}
        if _UNCLEAR in messages.values() or _OF_ANY & kwargs.keys():
            return None
        wrong = [f"{key}: {text}" for key, text in messages.items() if text]
        if self.bounds and kwargs.get("min_value") is None and kwargs.get("max_value") is None:
            wrong.append("min_value and max_value cannot both be None")
        extra = [f"{key}: extra fields not permitted" for key in kwargs if key not in tests]
        return [*missing, *wrong, *extra]


_OF_ANY = frozenset(
    [
        "batch_id",
        "catch_exceptions",
        "description",
        "expectation_context",
        "id",
        "meta",
        "notes",
        "rendered_content",
        "result_format",
        "severity",
        "user_id",
        "windows",
    ]
)
"""Arguments that every expectation of Great Expectations takes; what they do is left to it."""

_STRICT = {"strict_min": _flag, "strict_max": _flag}
_BOUNDS = {"min_value": _bound, "max_value": _bound, **_STRICT}
_NUMBERS = {"min_value": _number, "max_value": _number, **_STRICT}
_COUNTS = {"min_value": _whole, "max_value": _whole, **_STRICT}
_COLUMN: Mapping[str, Test] = {"column": _text}
_MOSTLY: Mapping[str, Test] = {"mostly": _share}
_PAIR: Mapping[str, Test] = {"column_A": _text, "column_B": _text}
_PAIR_IGNORED = _one_of("both_values_are_missing", "either_value_is_missing", "neither")
_IGNORED = _one_of("all_values_are_missing", "any_value_is_missing", "never")


def _of_values(optional: Mapping[str, Test] = {}, **needed: Test) -> Form:
    return Form({**_COLUMN, **needed}, {**optional, **_MOSTLY})


def _of_column(optional: Mapping[str, Test] = {}, **needed: Test) -> Form:
    return Form({**_COLUMN, **needed}, optional)


FORMS: Mapping[str, Form] = {
    "expect_column_values_to_not_be_null": _of_values(),
    "expect_column_values_to_be_null": _of_values(),
    "expect_column_values_to_be_unique": _of_values(),
    "expect_column_values_to_be_between": Form(_COLUMN, {**_BOUNDS, **_MOSTLY}, bounds=True),
    "expect_column_values_to_be_in_set": _of_values(value_set=_list),
    "expect_column_values_to_not_be_in_set": _of_values(value_set=_list),
    "expect_column_values_to_match_regex": _of_values({"regex": _text}),
    "expect_column_values_to_not_match_regex": _of_values(regex=_text),
    "expect_column_values_to_match_regex_list": _of_values(
        {"match_on": _one_of("any", "all")}, regex_list=_patterns
    ),
    "expect_column_values_to_not_match_regex_list": _of_values(regex_list=_texts),
    "expect_column_value_lengths_to_be_between": Form(_COLUMN, {**_COUNTS, **_MOSTLY}, bounds=True),
    "expect_column_value_lengths_to_equal": _of_values(value=_due_number),
    "expect_column_values_to_be_of_type": _of_values(type_=_text),
    "expect_column_min_to_be_between": _of_column(_BOUNDS),
    "expect_column_max_to_be_between": _of_column(_BOUNDS),
    "expect_column_mean_to_be_between": _of_column(_NUMBERS),
    "expect_column_median_to_be_between": _of_column(_NUMBERS),
    "expect_column_stdev_to_be_between": _of_column(_NUMBERS),
    "expect_column_sum_to_be_between": _of_column(_NUMBERS),
    "expect_column_quantile_values_to_be_between": _of_column(
        {"allow_relative_error": lambda value: "" if value is False else _UNCLEAR},
        quantile_ranges=_quantiles,
    ),
    "expect_column_unique_value_count_to_be_between": _of_column(_COUNTS),
    "expect_column_proportion_of_unique_values_to_be_between": _of_column(_NUMBERS),
    "expect_column_proportion_of_non_null_values_to_be_between": _of_column(_NUMBERS),
    "expect_column_distinct_values_to_be_in_set": _of_column(value_set=_filled),
    "expect_column_distinct_values_to_contain_set": _of_column(value_set=_list),
    "expect_column_distinct_values_to_equal_set": _of_column(value_set=_list),
    "expect_column_pair_values_to_be_equal": Form(
        _PAIR, {"ignore_row_if": _PAIR_IGNORED, **_MOSTLY}
    ),
    "expect_column_pair_values_a_to_be_greater_than_b": Form(
        _PAIR, {"or_equal": _flag, "ignore_row_if": _PAIR_IGNORED, **_MOSTLY}
    ),
    "expect_compound_columns_to_be_unique": Form(
        {"column_list": _several}, {"ignore_row_if": _IGNORED, **_MOSTLY}
    ),
    "expect_multicolumn_sum_to_equal": Form(
        {"column_list": _several, "sum_total": _due_number},
        {"ignore_row_if": _IGNORED, **_MOSTLY},
    ),
    "expect_column_values_to_be_in_type_list": _of_values(type_list=_names),
    "expect_column_value_z_scores_to_be_less_than": _of_values(
        threshold=_due_number, double_sided=_flag
    ),
    "expect_column_values_to_not_be_outliers": _of_values(
        {"method": _one_of("iqr", "std"), "multiplier": _factor}
    ),
    "expect_column_most_common_value_to_be_in_set": _of_column(
        {"ties_okay": _flag}, value_set=_list
    ),
    "expect_column_values_to_be_increasing": _of_values({"strictly": _flag}),
    "expect_column_values_to_be_decreasing": _of_values({"strictly": _flag}),
    "expect_column_values_to_match_strftime_format": _of_values(strftime_format=_text),
    "expect_column_values_to_be_json_parseable": _of_values(),
    "expect_column_pair_values_to_be_in_set": Form(
        {**_PAIR, "value_pairs_set": _pairs}, {"ignore_row_if": _PAIR_IGNORED, **_MOSTLY}
    ),
    "expect_multicolumn_values_to_be_equal": Form(
        {"column_list": _several}, {"ignore_row_if": _IGNORED, **_MOSTLY}
    ),
    "expect_select_column_values_to_be_unique_within_record": Form(
        {"column_list": _several}, {"ignore_row_if": _IGNORED, **_MOSTLY}
    ),
    "expect_column_to_exist": _of_column({"column_index": _whole}),
    "expect_table_row_count_to_be_between": Form({}, _COUNTS),
    "expect_table_row_count_to_equal": Form({"value": _due_whole}, {}),
    "expect_table_column_count_to_equal": Form({"value": _due_whole}, {}),
    "expect_table_column_count_to_be_between": Form(
        {}, {"min_value": _number, "max_value": _number}
    ),
    "expect_table_columns_to_match_ordered_list": Form({"column_list": _texts}, {}),
    "expect_table_columns_to_match_set": Form({"column_set": _texts}, {"exact_match": _flag}),
}
"""The arguments of the expectations that are checked without Great Expectations."""


def are_plain(expectation: Expectation, where: str) -> bool:
    """Return whether arguments can be judged without Great Expectations, and are right.

    Args:
        expectation: Of any type.
        where: Its place in the suite, for errors.

    Raises:
        InputError: If they are wrong; the message says which and how.
    """
    form = FORMS.get(expectation.type)
    found = form.complaints(expectation.kwargs) if form else None
    if found:
        raise refused(expectation, "; ".join(found), where)
    return found is not None
