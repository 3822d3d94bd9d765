"""Checks of the table: its rows, its columns and their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.quality.checks.base import Check, bounded, certain
from penstock.quality.outcome import Outcome, observed_text
from penstock.records.dataset import Dataset

_Kwargs = Mapping[str, Any]


def row_count(kwargs: _Kwargs, dataset: Dataset) -> Check | None:
    """Return the check of the number of rows."""
    return _number(kwargs, dataset.rows)


def column_count(kwargs: _Kwargs, dataset: Dataset) -> Check | None:
    """Return the check of the number of columns."""
    return _number(kwargs, len(dataset.columns))


def _number(kwargs: _Kwargs, found: int) -> Check | None:
    if "value" in kwargs:
        return certain(Outcome(passed=found == kwargs["value"], observed=observed_text(found)))
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    if low is not None and high is not None and low > high:
        return None
    return certain(bounded(found, kwargs))


def column_there(kwargs: _Kwargs, dataset: Dataset) -> Check:
    """Return the check that a column is there, at a place if one is given."""
    names, at = [column.name for column in dataset.columns], kwargs.get("column_index")
    if at is None:
        return certain(Outcome(passed=kwargs["column"] in names))
    there = -len(names) <= at < len(names) and names[at] == kwargs["column"]
    return certain(Outcome(passed=there))


def column_order(kwargs: _Kwargs, dataset: Dataset) -> Check:
    """Return the check of the columns' names in order."""
    names = [column.name for column in dataset.columns]
    return certain(Outcome(passed=names == kwargs["column_list"], observed=observed_text(names)))


def column_set(kwargs: _Kwargs, dataset: Dataset) -> Check:
    """Return the check of the columns' names in any order."""
    names, due = {column.name for column in dataset.columns}, set(kwargs["column_set"])
    passed = names == due if kwargs.get("exact_match", True) else due <= names
    return certain(Outcome(passed=passed, observed=observed_text(sorted(names))))
