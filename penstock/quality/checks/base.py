"""A check: which states it needs, and what follows from what they found."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from penstock.quality.outcome import Outcome, observed_text, sample_texts
from penstock.quality.selections import Selection
from penstock.quality.states.base import State
from penstock.quality.states.kept import Condition, Kept
from penstock.quality.states.selected import Selected
from penstock.quality.states.unique_key import Key

IGNORE = {
    "both_values_are_missing": "all",
    "either_value_is_missing": "any",
    "neither": "none",
    "all_values_are_missing": "all",
    "any_value_is_missing": "any",
    "never": "none",
}
"""Which rows of several columns do not count, by Great Expectations' words."""


@dataclass(frozen=True)
class Request:
    """A state that is needed; two checks that make the same request share it.

    Args:
        kind: The state's class.
        arguments: What it is made with.
        where: The rows that it sees; None: all.
    """

    kind: Callable[..., State]
    arguments: tuple[Any, ...]
    where: Selection | None = None

    def begin(self) -> State:
        """Return the empty state."""
        state = self.kind(*self.arguments)
        return state if self.where is None else Selected(self.where, state)


@dataclass(frozen=True)
class Check:
    """What an expectation needs.

    Args:
        requests: The states.
        conclude: Turns what they found, in the same order, into the outcome.
        rows: What single rows keep to, or are unique by; None: no row alone breaks the check.
        selection: The rows that it is about; None: all.
    """

    requests: tuple[Request, ...]
    conclude: Callable[[Sequence[Any]], Outcome]
    rows: Condition | Key | None = None
    selection: Selection | None = None

    def where(self, selection: Selection) -> Check:
        """Return the check of the rows that a selection keeps."""
        narrowed = tuple(replace(request, where=selection) for request in self.requests)
        return replace(self, requests=narrowed, selection=selection)


_Shown = Callable[[Any], Any]


def _as_it_is(value: Any) -> Any:
    return value


def certain(outcome: Outcome) -> Check:
    """Return a check that needs no row."""
    return Check((), lambda _: outcome)


def of_rows(condition: Condition, kwargs: Mapping[str, Any], shown: _Shown = _as_it_is) -> Check:
    """Return a check that enough rows keep to a condition.

    Args:
        condition: What each row should keep to.
        kwargs: The expectation's.
        shown: What is shown of a broken row.
    """
    request = Request(Kept, (condition,))
    return Check((request,), lambda found: counted(found[0], kwargs, shown), rows=condition)


def counted(found: Any, kwargs: Mapping[str, Any], shown: _Shown = _as_it_is) -> Outcome:
    """Return the outcome of counted rows.

    Args:
        found: Has `checked`, `unexpected` and `drawn`.
        kwargs: The expectation's, for `mostly`.
        shown: What is shown of a broken row.
    """
    share = (found.checked - found.unexpected) / found.checked if found.checked else 1.0
    return Outcome(
        passed=share >= kwargs.get("mostly", 1),
        checked=found.checked,
        unexpected=found.unexpected,
        samples=sample_texts(shown(value) for _, value in found.drawn if value is not None),
    )


def bounded(value: Any, kwargs: Mapping[str, Any]) -> Outcome:
    """Return whether a figure keeps to `min_value` and `max_value`; one that is none does not.

    Args:
        value: A number or a time; None or NaN where there is none.
        kwargs: The expectation's.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return Outcome(passed=False)
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    above = low is None or (value > low if kwargs.get("strict_min") else value >= low)
    below = high is None or (value < high if kwargs.get("strict_max") else value <= high)
    return Outcome(passed=above and below, observed=observed_text(value))


def bounds(kwargs: Mapping[str, Any]) -> list[Any]:
    """Return the bounds that are given."""
    given = (kwargs.get("min_value"), kwargs.get("max_value"))
    return [bound for bound in given if bound is not None]


def comparable(kwargs: Mapping[str, Any], kind: str) -> bool:
    """Return whether the bounds are of a kind that a column's values are compared to."""
    accepted = datetime if kind == "datetime" else (int, float)
    return all(isinstance(bound, accepted) for bound in bounds(kwargs))
