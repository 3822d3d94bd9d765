"""Whether the values of a column rise or fall from row to row."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from penstock.data import arrow
from penstock.quality.outcome import DRAWN
from penstock.quality.states.base import OnePass, Rows, plain
from penstock.quality.states.kept import first


@dataclass(frozen=True)
class Rule:
    """What each value must be to the one before it, missing ones passed over.

    Args:
        column: A column of numbers or times.
        rising: Whether it must not be less, or else not be more.
        strictly: Whether it must differ.
    """

    column: str
    rising: bool
    strictly: bool

    def holds(self, before: Any, after: Any) -> Any:
        """Return whether values keep to it: two numbers, or two arrays of numbers."""
        low, high = (before, after) if self.rising else (after, before)
        return low < high if self.strictly else low <= high


@dataclass(frozen=True)
class Run:
    """The values of the rows of a batch.

    Args:
        start: Number of the batch's first row.
        first: The first value as a number; `row` and `shown` are the number of its row and itself.
        last: The last value as a number.
    """

    start: int
    first: Any
    row: int
    shown: Any
    last: Any


@dataclass
class Ordered(OnePass):
    """Counts the values that break a rule of order.

    Args:
        rule: The rule.
        checked: Values.
        unexpected: Of these, those that break it within a batch.
        drawn: The first 200 of them: number of the row and its value.
        runs: One for each batch that has values: how they follow each other is known at the end.
    """

    rule: Rule
    checked: int = 0
    unexpected: int = 0
    drawn: list[tuple[int, Any]] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.rule.column,)

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        numbers = rows.numbers(self.rule.column)
        if not len(numbers):
            return
        column = rows.column(self.rule.column)
        at = np.flatnonzero(arrow.flags(column.is_valid()))
        broken = np.flatnonzero(~self.rule.holds(numbers[:-1], numbers[1:])) + 1
        self.checked += len(numbers)
        self.unexpected += len(broken)
        numbered = rows.numbers_in_table
        seen = [(int(numbered[row]), plain(column[int(row)])) for row in at[broken[:DRAWN]]]
        self.drawn = first(self.drawn + seen)
        start = int(at[0])
        shown = plain(column[start])
        self.runs.append(Run(rows.start, numbers[0], int(numbered[start]), shown, numbers[-1]))

    def merge(self, other: Ordered) -> None:
        """Take in what another state saw."""
        self.checked += other.checked
        self.unexpected += other.unexpected
        self.drawn = first(self.drawn + other.drawn)
        self.runs += other.runs

    def finish(self) -> Ordered:
        """Return the counts over all batches, and the first values that break the rule."""
        runs = sorted(self.runs, key=lambda run: run.start)
        across = [
            (run.row, run.shown)
            for before, run in itertools.pairwise(runs)
            if not self.rule.holds(before.last, run.first)
        ]
        drawn = first(self.drawn + across)
        return replace(self, unexpected=self.unexpected + len(across), drawn=drawn)
