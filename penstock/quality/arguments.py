"""The arguments of expectations: which columns they name, and whether they can be meant."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from penstock.errors import InputError
from penstock.quality.spec import Expectation
from penstock.records.dataset import Dataset

_LARGEST = int(sys.float_info.max)


def named_columns(expectation: Expectation) -> tuple[str, ...]:
    """Return the columns whose values an expectation is about."""
    if is_about_the_table(expectation):
        return ()
    kwargs = expectation.kwargs
    single = [kwargs.get(key) for key in ("column", "column_A", "column_B")]
    several = kwargs.get("column_list")
    names = [*single, *(several if isinstance(several, list) else [])]
    return tuple(dict.fromkeys(name for name in names if isinstance(name, str)))


def is_about_the_table(expectation: Expectation) -> bool:
    """Return whether an expectation is about no value: about rows, columns or names."""
    return expectation.type.startswith("expect_table_") or (
        expectation.type == "expect_column_to_exist"
    )


def refuse_parameters(expectation: Expectation, where: str) -> None:
    """Refuse a suite parameter, which has no value here.

    Raises:
        InputError: If there is one.
    """
    for key, value in expectation.kwargs.items():
        if isinstance(value, Mapping) and "$PARAMETER" in value:
            raise InputError(
                f"the suite parameter {value['$PARAMETER']!r} has no value here",
                where=f"{where}.kwargs.{key}",
                remedy="Write the value itself.",
            )


def refuse_beyond_doubles(expectation: Expectation, where: str) -> None:
    """Refuse a whole number that no double is near to: no value can be compared with it.

    Raises:
        InputError: If there is one.
    """
    for key, value in expectation.kwargs.items():
        if any(abs(number) > _LARGEST for number in _whole_numbers(value)):
            raise InputError(
                "a number is larger than every value can be",
                where=f"{where}.kwargs.{key}",
                remedy=f"Give at most {sys.float_info.max:.3g}, or leave the bound out.",
            )


def _whole_numbers(value: Any) -> Iterator[int]:
    if isinstance(value, int):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _whole_numbers(each)
    elif isinstance(value, list):
        for each in value:
            yield from _whole_numbers(each)


def with_times(expectation: Expectation, dataset: Dataset) -> Expectation:
    """Return an expectation about a datetime column with bounds that can be compared to it.

    A text without an offset means UTC, as everywhere in a dataset; Great Expectations would refuse
    to compare it.
    """
    column = dataset.column(str(expectation.kwargs.get("column", "")))
    if column is None or column.type != "datetime":
        return expectation
    kwargs = dict(expectation.kwargs)
    for key in {"min_value", "max_value"} & kwargs.keys():
        kwargs[key] = in_utc(kwargs[key])
    if isinstance(kwargs.get("value_set"), list):
        kwargs["value_set"] = [in_utc(value) for value in kwargs["value_set"]]
    return expectation.model_copy(update={"kwargs": kwargs})


def in_utc(value: Any) -> Any:
    """Return a text that is a time as a time, UTC where it has no offset; else the value."""
    if not isinstance(value, str):
        return value
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return value
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def refused(expectation: Expectation, complaints: str, where: str) -> InputError:
    """Return the error for arguments that an expectation does not take."""
    return InputError(
        f"{expectation.type} refuses its arguments: {complaints}",
        where=f"{where}.kwargs",
        remedy="Correct them as the expectation's documentation says.",
    )
