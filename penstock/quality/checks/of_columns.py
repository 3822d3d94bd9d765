"""Checks of a figure of a whole column."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from penstock.quality.checks.base import Check, Request, bounded, comparable
from penstock.quality.checks.of_values import column_of, key_of, members_of
from penstock.quality.conditions import Missing
from penstock.quality.outcome import Outcome, observed_text, sample_texts
from penstock.quality.states.commonest import Commonest
from penstock.quality.states.distinct import Distinct
from penstock.quality.states.extremes import Extremes
from penstock.quality.states.kept import Kept
from penstock.quality.states.members import Seen
from penstock.quality.states.ranks import Histogram, Place
from penstock.quality.states.sliced import uniqueness
from penstock.quality.states.sums import Moments, Sums
from penstock.quality.values import time_of
from penstock.records.dataset import Dataset

_Kwargs = Mapping[str, Any]

_KEPT = 1 << 20
"""Different texts that are kept to be counted; of more, keys are, one slice at a time."""

_TOLERANCE, _LEAST_TOLERANCE = 1e-4, 1e-8
"""How far a quantile may be beyond a bound: Great Expectations takes `numpy.isclose` for that."""


def extreme(kwargs: _Kwargs, dataset: Dataset, *, largest: bool) -> Check | None:
    """Return the check of the smallest or largest value."""
    kind = column_of(kwargs, dataset).type
    if kind in ("boolean", "string") or not comparable(kwargs, kind):
        return None

    def value(found: Extremes) -> Any:
        end = found.most if largest else found.least
        return time_of(int(end)) if kind == "datetime" and end is not None else end

    return _figure(kwargs, Request(Extremes, (kwargs["column"],)), value)


def moment(kwargs: _Kwargs, dataset: Dataset, *, name: str) -> Check | None:
    """Return the check of a sum, mean or standard deviation, as `name` says."""
    kind = column_of(kwargs, dataset).type
    if kind in ("string", "datetime"):
        return None
    read: dict[str, Callable[[Moments], Any]] = {
        "sum": lambda found: found.sum(whole=kind != "number"),
        "mean": Moments.mean,
        "stdev": Moments.deviation,
    }
    return _figure(kwargs, Request(Sums, (kwargs["column"], name == "stdev")), read[name])


def median(kwargs: _Kwargs, dataset: Dataset) -> Check | None:
    """Return the check of the median."""
    if column_of(kwargs, dataset).type in ("string", "datetime"):
        return None
    request = Request(Histogram, (kwargs["column"], (Place(Fraction(1, 2), between=True),)))
    return _figure(kwargs, request, lambda found: None if found[0] is None else float(found[0]))


def quantiles(kwargs: _Kwargs, dataset: Dataset) -> Check | None:
    """Return the check of quantiles, each the nearest value."""
    kind = column_of(kwargs, dataset).type
    if kind not in ("integer", "number"):
        return None
    shares, ranges = (
        kwargs["quantile_ranges"]["quantiles"],
        kwargs["quantile_ranges"]["value_ranges"],
    )
    # 0.1 is meant as a tenth, and not as the double next to it.
    places = tuple(Place(Fraction(repr(share))) for share in shares)

    def conclude(found: Any) -> Outcome:
        values = [math.nan if value is None else value for value in found[0]]
        held = all(_in_range(value, pair) for value, pair in zip(values, ranges, strict=True))
        observed = observed_text({"quantiles": shares, "values": values})
        return Outcome(passed=held, observed=observed)

    return Check((Request(Histogram, (kwargs["column"], places)),), conclude)


def _in_range(value: float, pair: list[float | None]) -> bool:
    low, high = pair
    close = any(
        abs(value - end) <= _LEAST_TOLERANCE + _TOLERANCE * abs(end)
        for end in pair
        if end is not None
    )
    above, below = low is None or value >= low, high is None or value <= high
    return not math.isnan(value) and (close or (above and below))


def distinct_count(kwargs: _Kwargs, dataset: Dataset) -> Check:
    """Return the check of the number of different values."""
    return _figure(kwargs, _distinct(kwargs, dataset), lambda found: found.distinct)


def distinct_share(kwargs: _Kwargs, dataset: Dataset) -> Check:
    """Return the check of the number of different values beside that of values."""
    return _figure(
        kwargs,
        _distinct(kwargs, dataset),
        lambda found: found.distinct / found.checked if found.checked else 0,
    )


def _distinct(kwargs: _Kwargs, dataset: Dataset) -> Request:
    column = column_of(kwargs, dataset)
    if column.type == "string" and column.profile.distinct <= _KEPT:
        return Request(Distinct, (kwargs["column"],))
    return Request(uniqueness, (key_of(kwargs, dataset), False, dataset.rows))


def present_share(kwargs: _Kwargs, _: Dataset) -> Check:
    """Return the check of the share of values that are not missing."""
    request = Request(Kept, (Missing(kwargs["column"], negated=True),))
    return _figure(
        kwargs,
        request,
        lambda found: (found.checked - found.unexpected) / found.checked if found.checked else 0,
    )


def commonest(kwargs: _Kwargs, dataset: Dataset) -> Check | None:
    """Return the check that the value which occurs most often is in a set."""
    members = members_of(kwargs, dataset)
    if members is None or column_of(kwargs, dataset).profile.distinct > _KEPT:
        return None

    def conclude(found: Any) -> Outcome:
        expected = sum(value in members.values for value in found[0])
        passed = expected > 0 if kwargs.get("ties_okay") else expected == len(found[0]) == 1
        return Outcome(passed=passed, observed=observed_text(found[0]))

    return Check((Request(Commonest, (kwargs["column"],)),), conclude)


def distinct_set(kwargs: _Kwargs, dataset: Dataset, *, only: bool, every: bool) -> Check | None:
    """Return the check of the set of different values.

    Args:
        kwargs: The expectation's.
        dataset: The record of the data.
        only: Whether other values than those of the set break it.
        every: Whether a value of the set that is not there does.
    """
    members = members_of(kwargs, dataset)
    if members is None:
        return None

    def conclude(found: Any) -> Outcome:
        others = found[0].others if only else []
        passed = not others and not (every and found[0].missing())
        return Outcome(passed=passed, samples=sample_texts(others))

    return Check((Request(Seen, (members,)),), conclude)


def _figure(kwargs: _Kwargs, request: Request, value: Callable[[Any], Any]) -> Check:
    return Check((request,), lambda found: bounded(value(found[0]), kwargs))
