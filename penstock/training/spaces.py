"""Ranges and sets of values that are searched, and what Optuna draws from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from penstock.training.spec import RangeSpec, Searched

if TYPE_CHECKING:
    from optuna.trial import Trial


@dataclass(frozen=True)
class Number:
    """A range that is searched, ends included; `log` draws evenly over the orders of magnitude."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Whole:
    """A range of whole numbers that is searched, ends included."""

    low: int
    high: int
    log: bool = True


@dataclass(frozen=True)
class Steps:
    """Numbers that are searched, in order: nearer ones would score alike."""

    values: tuple[float, ...]


@dataclass(frozen=True)
class OneOf:
    """A set of values that is searched."""

    values: tuple[bool | float | str, ...]


Space = Number | Whole | Steps | OneOf


def suggest(trial: Trial, label: str, space: Space) -> Any:
    """Let Optuna choose a value."""
    if isinstance(space, OneOf):
        return trial.suggest_categorical(label, space.values)
    if isinstance(space, Steps):
        return space.values[trial.suggest_int(label, 0, len(space.values) - 1)]
    if isinstance(space, Whole):
        return trial.suggest_int(label, int(space.low), int(space.high), log=space.log)
    return trial.suggest_float(label, space.low, space.high, log=space.log)


def as_proposed(space: Space, value: Any) -> Any:
    """Return a value of a space as Optuna would have to propose it for `suggest`."""
    return space.values.index(value) if isinstance(space, Steps) else value


def declared(searched: Searched, *, whole: bool) -> Space:
    """Return what a project file says of a parameter.

    Args:
        searched: A range, a list of values, or one value.
        whole: Whether the parameter takes whole numbers alone; Kubeflow hands 3 over as 3.0.

    Example:
        >>> declared(RangeSpec(low=3.0, high=8.0), whole=True)
        Whole(low=3, high=8, log=False)
        >>> declared(0.5, whole=False)
        OneOf(values=(0.5,))
    """
    if isinstance(searched, RangeSpec):
        if whole:
            return Whole(int(searched.low), int(searched.high), log=searched.log)
        return Number(searched.low, searched.high, log=searched.log)
    values = searched if isinstance(searched, tuple) else (searched,)
    return OneOf(tuple(int(v) if whole and isinstance(v, float) else v for v in values))


def nearest(space: Space, value: Any) -> Any:
    """Return the value of a space that a search begins with: the default, or what is next to it."""
    if isinstance(space, OneOf | Steps):
        return value if value in space.values else space.values[0]
    if not isinstance(value, int | float):
        return space.low
    return min(max(value, space.low), space.high)
