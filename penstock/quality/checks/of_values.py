"""Checks of single values, and of rows of several columns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from penstock.quality.checks.base import (
    IGNORE,
    Check,
    Request,
    bounds,
    certain,
    comparable,
    counted,
    of_rows,
)
from penstock.quality.conditions import (
    Among,
    Between,
    Compared,
    Constant,
    Lengths,
    Matching,
    Missing,
    Readable,
    Totalling,
)
from penstock.quality.outcome import Outcome
from penstock.quality.states.ordered import Ordered, Rule
from penstock.quality.states.sliced import uniqueness
from penstock.quality.states.unique_key import Key
from penstock.quality.values import Interval, Members, fits
from penstock.quality.within_rows import AllDifferent, AllEqual, PairAmong
from penstock.records.dataset import Column, Dataset, ProfiledColumn

_Kwargs = Mapping[str, Any]

_TYPES = {
    "integer": ("int64", {"int", "int64"}),
    "number": ("float64", {"float", "float64"}),
    "boolean": ("bool", {"bool"}),
    "datetime": ("Timestamp", set[str]()),
}
"""What Great Expectations calls a column's type, and the names that it is known by."""

_TYPE_NAMES = frozenset({"int", "int64", "float", "float64", "str", "bool", "object", "datetime64"})


def column_of(kwargs: _Kwargs, dataset: Dataset) -> ProfiledColumn:
    """Return the column that an expectation is about."""
    column = dataset.column(kwargs["column"])
    if column is None:  # The caller has checked that.
        raise LookupError(kwargs["column"])
    return column


def key_of(kwargs: _Kwargs, dataset: Dataset) -> Key:
    """Return what is to be unique of the column that an expectation is about."""
    return Key((_bare(column_of(kwargs, dataset)),))


def _bare(column: Column) -> Column:
    """Return a column without its profile."""
    return Column(name=column.name, type=column.type)


def presence(kwargs: _Kwargs, _: Dataset, *, missing: bool) -> Check:
    """Return the check that values are there, or are missing."""
    return of_rows(Missing(kwargs["column"], negated=not missing), kwargs)


def unique(kwargs: _Kwargs, dataset: Dataset) -> Check:
    """Return the check that no value of a column repeats."""
    key = key_of(kwargs, dataset)
    request = Request(uniqueness, (key, True, dataset.rows))
    return Check((request,), lambda found: counted(found[0], kwargs), rows=key)


def between(kwargs: _Kwargs, dataset: Dataset) -> Check | None:
    """Return the check that numbers or times lie between bounds."""
    kind = column_of(kwargs, dataset).type
    if kind in ("boolean", "string") or not comparable(kwargs, kind) or _crossed(kwargs):
        return None
    return of_rows(Between(kwargs["column"], Interval.of(kwargs, kind)), kwargs)


def _crossed(kwargs: _Kwargs) -> bool:
    ends = bounds(kwargs)
    return len(ends) == 2 and bool(ends[0] > ends[1])


def in_set(kwargs: _Kwargs, dataset: Dataset, *, negated: bool) -> Check | None:
    """Return the check that values are in a set, or are not."""
    members = members_of(kwargs, dataset)
    return None if members is None else of_rows(Among(members, negated), kwargs)


def members_of(kwargs: _Kwargs, dataset: Dataset) -> Members | None:
    """Return a column and a set of values of its kind; None if one is of another."""
    kind = column_of(kwargs, dataset).type
    if not all(fits(value, kind) for value in kwargs["value_set"]):
        return None
    return Members(kwargs["column"], kind, tuple(kwargs["value_set"]))


def pattern(kwargs: _Kwargs, dataset: Dataset, *, negated: bool) -> Check | None:
    """Return the check that texts match patterns, or match none."""
    kind = column_of(kwargs, dataset).type
    given = kwargs.get("regex_list") or [kwargs.get("regex", "(?s).*")]
    if kind not in ("string", "integer") or not all(map(_compiles, given)):
        return None
    if kwargs.get("regex_list") == []:
        return None
    every = kwargs.get("match_on") == "all"
    return of_rows(Matching(kwargs["column"], tuple(given), every, negated), kwargs)


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


def lengths(kwargs: _Kwargs, dataset: Dataset) -> Check | None:
    """Return the check that texts have a number of characters."""
    kind = column_of(kwargs, dataset).type
    if kind not in ("string", "integer") or _crossed(kwargs):
        return None
    value = kwargs.get("value")
    ends = kwargs if value is None else {"min_value": value, "max_value": value}
    return of_rows(Lengths(kwargs["column"], Interval.of(ends, "integer")), kwargs)


def of_type(kwargs: _Kwargs, dataset: Dataset) -> Check | None:
    """Return the check that a column is of a type, in pandas' names.

    A text is an object to pandas, so texts are looked at one by one; so are booleans with gaps,
    which are left to Great Expectations.
    """
    column, name = column_of(kwargs, dataset), kwargs["type_"]
    if name not in _TYPE_NAMES:
        return None
    if column.type == "string":
        if name == "object":
            return certain(Outcome(passed=True, observed="object_"))
        return of_rows(Constant(column.name, holds=name == "str"), kwargs)
    if column.type == "boolean" and column.profile.nulls:
        return None
    called, names = _TYPES[column.type]
    return certain(Outcome(passed=name in names, observed=called))


def of_types(kwargs: _Kwargs, dataset: Dataset) -> Check | None:
    """Return the check that a column is of one of some types.

    Texts, and whole numbers with gaps, are objects to pandas and looked at one by one.
    """
    column, given = column_of(kwargs, dataset), set(kwargs["type_list"])
    if not given <= _TYPE_NAMES or column.type == "datetime":
        return None
    if column.type == "string":
        return of_rows(Constant(column.name, holds="str" in given), kwargs)
    if column.type == "boolean" and column.profile.nulls:
        return None
    called, names = _TYPES[column.type]
    if column.type == "integer" and column.profile.nulls:
        return of_rows(Constant(column.name, holds=bool(names & given)), kwargs)
    return certain(Outcome(passed=bool(names & given), observed=called))


def pair(kwargs: _Kwargs, dataset: Dataset, *, greater: bool) -> Check | None:
    """Return the check that values of two columns are equal, or one is greater."""
    names = kwargs["column_A"], kwargs["column_B"]
    types = {column.type for column in dataset.columns if column.name in names}
    if names[0] == names[1] or (len(types) > 1 and types != {"integer", "number"}):
        return None
    ignore = IGNORE[kwargs.get("ignore_row_if", "both_values_are_missing")]
    equal = not greater or kwargs.get("or_equal", False)
    condition = Compared(*names, equal=equal, greater=greater, ignore=ignore)
    return of_rows(condition, kwargs, lambda values: tuple(values.values()))


def total(kwargs: _Kwargs, dataset: Dataset) -> Check | None:
    """Return the check that numbers of several columns add up to a figure."""
    names = tuple(kwargs["column_list"])
    types = {column.type for column in dataset.columns if column.name in names}
    if not types <= {"integer", "number"} or len(set(names)) < len(names):
        return None
    ignore = IGNORE[kwargs.get("ignore_row_if", "all_values_are_missing")]
    return of_rows(Totalling(names, kwargs["sum_total"], ignore), kwargs)


def compound(kwargs: _Kwargs, dataset: Dataset) -> Check | None:
    """Return the check that no combination of values repeats."""
    names = kwargs["column_list"]
    if len(set(names)) < len(names):
        return None
    columns = tuple(_bare(column_of({"column": name}, dataset)) for name in names)
    ignore = IGNORE[kwargs.get("ignore_row_if", "all_values_are_missing")]
    key = Key(columns, ignore)
    request = Request(uniqueness, (key, True, dataset.rows))
    return Check((request,), lambda found: counted(found[0], kwargs), rows=key)


def in_order(kwargs: _Kwargs, dataset: Dataset, *, rising: bool) -> Check | None:
    """Return the check that numbers or times rise, or fall, from row to row."""
    if column_of(kwargs, dataset).type in ("string", "boolean"):
        return None
    rule = Rule(kwargs["column"], rising, bool(kwargs.get("strictly")))
    return Check((Request(Ordered, (rule,)),), lambda found: counted(found[0], kwargs))


def readable(kwargs: _Kwargs, dataset: Dataset) -> Check | None:
    """Return the check that texts are JSON, or times that are written in a given way."""
    if column_of(kwargs, dataset).type != "string":
        return None
    form = kwargs.get("strftime_format")
    if form is not None and not _is_time_format(form):
        return None
    return of_rows(Readable(kwargs["column"], form), kwargs)


def _is_time_format(form: str) -> bool:
    """Return whether times that are written in a way can be read in it."""
    try:
        datetime.strptime(datetime.now(UTC).strftime(form), form)
    except ValueError:
        return False
    return True


def pair_in_set(kwargs: _Kwargs, dataset: Dataset) -> Check | None:
    """Return the check that the values of two columns are one of some pairs."""
    sides = []
    for at, name in enumerate((kwargs["column_A"], kwargs["column_B"])):
        kind = column_of({"column": name}, dataset).type
        values = tuple(pair[at] for pair in kwargs["value_pairs_set"])
        # Great Expectations compares times with texts as they are.
        if kind == "datetime" or not all(one is None or fits(one, kind) for one in values):
            return None
        sides.append(Members(name, kind, values))
    if sides[0].column == sides[1].column:
        return None
    ignore = IGNORE[kwargs.get("ignore_row_if", "both_values_are_missing")]
    condition = PairAmong(sides[0], sides[1], ignore)
    return of_rows(condition, kwargs, lambda values: tuple(values.values()))


def same_values(kwargs: _Kwargs, dataset: Dataset, *, equal: bool) -> Check | None:
    """Return the check that several columns of a row are equal, or no two of them are."""
    names = tuple(kwargs["column_list"])
    types = {column.type for column in dataset.columns if column.name in names}
    numbers = equal and types == {"integer", "number"}
    if len(set(names)) < len(names) or (len(types) > 1 and not numbers):
        return None
    ignore = IGNORE[kwargs.get("ignore_row_if", "all_values_are_missing")]
    condition = AllEqual(names, ignore) if equal else AllDifferent(names, ignore)
    return of_rows(condition, kwargs)
