"""Checks of values against the spread of their column."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from penstock.quality.checks.base import Check, Request, counted
from penstock.quality.checks.of_values import column_of
from penstock.quality.states.base import State
from penstock.quality.states.derived import Derived, Fences, FromMean, ZScores
from penstock.quality.states.ranks import Histogram, Place
from penstock.quality.states.sums import Sums
from penstock.records.dataset import Dataset

_Kwargs = Mapping[str, Any]

_QUARTILES = (Place(Fraction(1, 4), between=True), Place(Fraction(3, 4), between=True))


def z_scores(kwargs: _Kwargs, dataset: Dataset) -> Check | None:
    """Return the check that values are so many standard deviations from the mean at most."""
    name = kwargs["column"]
    if column_of(kwargs, dataset).type not in ("integer", "number"):
        return None
    rule = ZScores(name, kwargs["threshold"], kwargs["double_sided"])
    return _check(kwargs, _of_sums, (name, rule))


def outliers(kwargs: _Kwargs, dataset: Dataset) -> Check | None:
    """Return the check that values are no outliers: by quartiles, or by the mean."""
    name, kind = kwargs["column"], column_of(kwargs, dataset).type
    if kind not in ("integer", "number"):
        return None
    multiplier = kwargs.get("multiplier", 1.5)
    if kwargs.get("method", "iqr") == "iqr":
        return _check(kwargs, _of_quartiles, (name, Fences(name, multiplier, kind)))
    return _check(kwargs, _of_sums, (name, FromMean(name, multiplier, kind)))


def _check(kwargs: _Kwargs, kind: Any, arguments: tuple[Any, ...]) -> Check:
    return Check((Request(kind, arguments),), lambda found: counted(found[0], kwargs))


def _of_sums(column: str, rule: ZScores | FromMean) -> State:
    return Derived(Sums(column, True), rule)


def _of_quartiles(column: str, rule: Fences) -> State:
    return Derived(Histogram(column, _QUARTILES), rule)
