"""Which rows an expectation is about: the tests that a row condition puts on them.

A test says yes, no or, where whole numbers are missing, unknown, as pandas does; unknown rows are
left out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from penstock.data import arrow
from penstock.quality.conditions import Among, Between, Missing
from penstock.quality.states.base import Rows

if TYPE_CHECKING:
    import pyarrow as pa


class Selection(Protocol):
    """Says of each row whether an expectation is about it."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""

    def __call__(self, rows: Rows) -> pa.BooleanArray:
        """Return for each row whether it counts; null is unknown."""


@dataclass(frozen=True)
class Compared:
    """A value of one column compared with values that are written down.

    Args:
        condition: The comparison; null where the value is missing.
        absent: What a missing value gives; None: unknown.
    """

    condition: Between | Among | Missing
    absent: bool | None

    @property
    def columns(self) -> tuple[str, ...]:
        """The column."""
        return self.condition.columns

    def __call__(self, rows: Rows) -> pa.BooleanArray:
        """Return for each row whether it counts."""
        found = self.condition(rows)
        return found if self.absent is None else found.fill_null(self.absent)


@dataclass(frozen=True)
class Together:
    """Several tests: all of them, or any."""

    parts: tuple[Selection, ...]
    every: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of all tests."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.columns))

    def __call__(self, rows: Rows) -> pa.BooleanArray:
        """Return for each row whether it counts."""
        import pyarrow.compute as pc

        gather: Callable[..., pa.BooleanArray] = pc.and_kleene if self.every else pc.or_kleene
        return functools.reduce(gather, (part(rows) for part in self.parts))


@dataclass(frozen=True)
class Opposite:
    """The opposite of a test."""

    of: Selection

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the test."""
        return self.of.columns

    def __call__(self, rows: Rows) -> pa.BooleanArray:
        """Return for each row whether it counts."""
        import pyarrow.compute as pc

        return pc.invert(self.of(rows))


def selected(rows: Rows, selection: Selection) -> Rows:
    """Return the rows of a batch that a selection keeps, in their order."""
    kept = rows.kept.get(selection)
    if kept is None:
        flags = arrow.flags(selection(rows))
        kept = rows if flags.all() else rows.where(flags)
        rows.kept[selection] = kept
    return kept
