"""Checks of the table: its rows, its columns and their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.quality.checks.base import Check, Request, bounded, certain
from penstock.quality.outcome import Outcome, observed_text
from penstock.quality.states.selected import RowCount
from penstock.records.dataset import Dataset

_Kwargs = Mapping[str, Any]


def row_count(kwargs: _Kwargs, dataset: Dataset) -> Check | None:
    """Return the check of the number of rows."""
    return _number(kwargs, dataset.rows)


def column_count(kwargs: _Kwargs, dataset: Dataset) -> Check | None:
    """Return the check of the number of columns."""
    return _number(kwargs, len(dataset.columns))


def selected_count(kwargs: _Kwargs, _: Dataset) -> Check | None:
    """Return the check of the number of rows that a row condition selects."""
    if _crossed(kwargs):
        return None
    return Check((Request(RowCount, ()),), lambda found: _held(kwargs, found[0]))


def _held(kwargs: _Kwargs, found: int) -> Outcome:
    if "value" in kwargs:
        return Outcome(passed=found == kwargs["value"], observed=observed_text(found))
    return bounded(found, kwargs)


def _number(kwargs: _Kwargs, found: int) -> Check | None:
    return None if _crossed(kwargs) else certain(_held(kwargs, found))


def _crossed(kwargs: _Kwargs) -> bool:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    return low is not None and high is not None and bool(low > high)


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
