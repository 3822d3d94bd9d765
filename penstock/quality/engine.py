"""Checks expectations: by exact states in one pass over the rows, the rest by Great Expectations.

Great Expectations is imported only where an expectation needs it: one of a type that is not in
`penstock.quality.forms`, with a row condition that is more than comparisons with values, or about a
kind of values that it has its own ways with.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.data import arrow
from penstock.data.engine import Each, here
from penstock.data.table import Part, iter_parts, parts_of
from penstock.quality import _gx
from penstock.quality.arguments import refuse_beyond_doubles, refuse_parameters, with_times
from penstock.quality.checks.base import Check, Request
from penstock.quality.checks.plan import plan
from penstock.quality.forms import are_plain
from penstock.quality.outcome import Outcome
from penstock.quality.row_conditions import (
    UnclearError,
    has_condition,
    selection_of,
    without_condition,
)
from penstock.quality.spec import Expectation
from penstock.quality.states.base import Rows, State
from penstock.records.dataset import Column, Dataset, ProfiledColumn

_COLUMNS = 32
"""Columns that are read at once: memory does not grow with the width of a table."""

_LEVELS = 8_000


def run(
    folder: Path,
    dataset: Dataset,
    expectations: Mapping[int, Expectation],
    *,
    each: Each = here,
) -> dict[int, Outcome]:
    """Check expectations and return the outcome of each.

    Args:
        folder: The dataset.
        dataset: Its record.
        expectations: By position in the suite, which errors name. Their columns are all there.
        each: The engine that reads the parts of the dataset. Great Expectations reads them here.

    Raises:
        InputError: If an expectation is not known or does not take its arguments.
    """
    checks: dict[int, Check] = {}
    left: dict[int, Expectation] = {}
    for at, given in expectations.items():
        check = planned(given, dataset, at)
        if check is None:
            left[at] = given
        else:
            checks[at] = check
    # First, as it refuses what cannot be meant.
    outcomes = _gx.run(folder, dataset, left) if left else {}
    return outcomes | evaluate(folder, dataset, checks, each=each)


def evaluate(
    folder: Path, dataset: Dataset, checks: Mapping[int, Check], *, each: Each = here
) -> dict[int, Outcome]:
    """Return the outcome of each check of a dataset."""
    requests = [one for check in checks.values() for one in check.requests]
    results = found(folder, dataset, requests, each=each)
    return {
        at: check.conclude([results[request] for request in check.requests])
        for at, check in checks.items()
    }


def found(
    folder: Path, dataset: Dataset, requests: Iterable[Request], *, each: Each = here
) -> dict[Request, Any]:
    """Return what the state of each request finds; the same request is made once."""
    states = {request: request.begin() for request in dict.fromkeys(requests)}
    return _found(dataset, states, parts_of(folder), each)


def planned(given: Expectation, dataset: Dataset, at: int) -> Check | None:
    """Return how an expectation is checked; None if only Great Expectations can.

    Args:
        given: The expectation.
        dataset: The record of the data; the columns that it names are there.
        at: Its place in the suite, for errors.

    Raises:
        InputError: If its arguments cannot be meant.
    """
    where = f"expectations[{at}]"
    refuse_parameters(given, where)
    refuse_beyond_doubles(given, where)
    try:
        selection = selection_of(given, dataset, where) if has_condition(given) else None
    except UnclearError:
        return None
    expectation = with_times(without_condition(given), dataset)
    return plan(expectation, dataset, selection) if are_plain(expectation, where) else None


def _is_coded(column: ProfiledColumn) -> bool:
    """Whether it is text with few values: each value is checked but once."""
    return column.type == "string" and 0 < column.profile.distinct <= _LEVELS


def _found(
    dataset: Dataset,
    states: dict[Request, State],
    parts: Sequence[Part],
    each: Each,
) -> dict[Request, Any]:
    """Return what each state finds, reading the rows as often as one of them needs."""
    found: dict[Request, Any] = {}
    while states:
        further: dict[Request, State] = {}
        for block in _blocks(states):
            for request, state in _seen(dataset, block, parts, each).items():
                follow_up = state.follow_up()
                if follow_up is None:
                    found[request] = state.finish()
                else:
                    further[request] = follow_up
        states = further
    return found


def _seen(
    dataset: Dataset,
    block: dict[Request, State],
    parts: Sequence[Part],
    each: Each,
) -> dict[Request, State]:
    """Return states that have seen all rows."""
    names = {name for state in block.values() for name in state.columns}
    if not names:
        return block
    columns = tuple(column for column in dataset.columns if column.name in names)
    work = Pass(
        columns=tuple(Column(name=column.name, type=column.type) for column in columns),
        coded=tuple(column.name for column in columns if _is_coded(column)),
        states=tuple(block.values()),
    )
    seen: list[State] = []
    for states in each(work, parts):
        if seen:
            for state, other in zip(seen, states, strict=True):
                state.merge(other)
        else:
            seen = list(states)
    return dict(zip(block, seen, strict=True))


@dataclass(frozen=True)
class Pass:
    """One pass over parts of a dataset: states take their rows in.

    It holds no path: the parts say where they lie, which may be elsewhere for another machine.

    Args:
        columns: What the states read.
        coded: Those of them that are text with few values.
        states: As they are before any row.
    """

    columns: tuple[Column, ...]
    coded: tuple[str, ...]
    states: tuple[State, ...]

    def __call__(self, parts: Sequence[Part]) -> tuple[State, ...]:
        """Return the states after the rows of some parts."""
        states = copy.deepcopy(self.states)
        with arrow.system_memory():
            for batch, start in iter_parts(parts, self.columns, coded=self.coded):
                rows = Rows(batch, start)
                for state in states:
                    state.update(rows)
        return states


def _blocks(states: Mapping[Request, State]) -> Iterator[dict[Request, State]]:
    """Yield states that together read not many columns."""
    block: dict[Request, State] = {}
    names: set[str] = set()
    for request, state in sorted(states.items(), key=lambda pair: pair[1].columns):
        if block and len(names | set(state.columns)) > _COLUMNS:
            yield block
            block, names = {}, set()
        block[request] = state
        names |= set(state.columns)
    yield block
