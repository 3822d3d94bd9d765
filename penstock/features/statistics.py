"""What is known of the columns of a training part: by its record, and one pass over its rows.

Sums and counts of parts are those of the whole, so what is found does not depend on how the rows
are cut or ordered, and memory does not grow with them.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.data import arrow
from penstock.data.profile.profiler import MAX_EXACT
from penstock.data.table import iter_batches
from penstock.features.column_states import Calendar, CalendarParts, Numbered
from penstock.features.levels import MISSING, KeptLevels, kept_levels
from penstock.features.spec import FeaturesSpec
from penstock.quality.states.base import Rows, State
from penstock.quality.states.levels import Counted, LevelBins, LevelCounts
from penstock.quality.states.words import Words
from penstock.records.dataset import Dataset, ProfiledColumn

FEW = 20
"""Up to this many different values a text column is always a category."""

COUNTER_ROWS = 100
"""Rows from which a column of whole numbers is recognised as a row number."""

_COLUMNS = 32
"""Columns that are read at once: memory does not grow with the width of a table."""

_EXACT = 2.0**53
"""Whole numbers up to here are exact in the profile, which holds doubles."""


@dataclass(frozen=True)
class ColumnStatistics:
    """What is known of a column.

    Args:
        column: Its record. Its number of different values is an estimate beyond 10,000.
        rows: Rows of the training part.
        words: Texts of more than 20 different values: mean number of words.
        counted: Whole texts, and categories: rows by level, those above the rare share at least.
        calendar: Times.
        numbered: Whole numbers: whether no two rows have the same, within twice as many as there
            are rows.
    """

    column: ProfiledColumn
    rows: int
    words: float = 0.0
    counted: Counted | None = None
    calendar: Calendar | None = None
    numbered: bool = False

    @property
    def missing(self) -> int:
        """Rows where it is missing."""
        return self.column.profile.nulls

    @property
    def distinct(self) -> int:
        """Different values in the other rows, an estimate beyond 10,000."""
        return self.column.profile.distinct

    @property
    def distinct_text(self) -> str:
        """How many different values it has, in words."""
        return count_text(self.distinct)

    def kept(self, spec: FeaturesSpec) -> KeptLevels:
        """Return which levels a category keeps; missing is a level."""
        assert self.counted is not None
        counts = dict(self.counted.levels)
        if self.missing:
            level = MISSING if self.column.type == "string" else math.nan
            counts[level] = counts.get(level, 0) + self.missing
        return kept_levels(
            counts, rows=self.rows, rare_share=spec.rare_share, max_levels=spec.max_levels
        )


def count_text(values: int) -> str:
    """Return a number of different values in words: beyond 10,000 it is an estimate."""
    return f"{'about ' * (values > MAX_EXACT)}{values:,}"


def statistics_of(
    folder: Path, dataset: Dataset, *, target: str, spec: FeaturesSpec
) -> tuple[ColumnStatistics, ...]:
    """Return what is known of each column but the target, in order.

    Args:
        folder: The training part.
        dataset: Its record.
        target: The column to predict.
        spec: What is declared: categories are counted.
    """
    columns = [column for column in dataset.columns if column.name != target]
    needed = {column.name: _needed(column, rows=dataset.rows, spec=spec) for column in columns}
    # Each value of a column of few is looked at once.
    coded = {c.name for c in columns if c.type == "string" and c.profile.distinct <= MAX_EXACT}
    found: dict[str, dict[str, Any]] = {column.name: {} for column in columns}
    read = [name for name in needed if needed[name]]
    for at in range(0, len(read), _COLUMNS):
        states = {
            (name, what): state
            for name in read[at : at + _COLUMNS]
            for what, state in needed[name].items()
        }
        for (name, what), result in _found(folder, states, coded).items():
            found[name][what] = result
    return tuple(ColumnStatistics(c, dataset.rows, **found[c.name]) for c in columns)


def _needed(column: ProfiledColumn, *, rows: int, spec: FeaturesSpec) -> dict[str, State]:
    """Return what must be found of a column, by field of `ColumnStatistics`."""
    declared = spec.columns.get(column.name)
    few = column.profile.distinct <= MAX_EXACT
    if declared == "drop":
        return {}
    if column.type == "datetime":
        return {"calendar": CalendarParts(column.name)}
    if column.type == "string" or declared == "category":
        counts = LevelCounts(column) if few else LevelBins(column, spec.rare_share)
        states: dict[str, State] = {"counted": counts}
        if column.type == "string" and column.profile.distinct > FEW and declared is None:
            states["words"] = Words(column.name)
        return states
    least, most = column.profile.minimum, column.profile.maximum
    if (
        column.type == "integer"
        and declared is None
        and rows >= COUNTER_ROWS
        and not column.profile.nulls
        and least is not None
        and most is not None
        and max(-least, most) < _EXACT
        and most - least + 1 <= 2 * rows
    ):
        return {"numbered": Numbered(column.name, int(least), int(most))}
    return {}


def _found(
    folder: Path, begun: Mapping[tuple[str, str], State], coded: Container[str]
) -> dict[tuple[str, str], Any]:
    """Return what each state finds, reading the rows as often as one of them needs."""
    states, found = dict(begun), {}
    with arrow.system_memory():
        while states:
            names = sorted({name for state in states.values() for name in state.columns})
            few = [name for name in names if name in coded]
            start = 0
            for batch in iter_batches(folder, names, coded=few):
                rows = Rows(batch, start)
                for state in states.values():
                    state.update(rows)
                start += len(rows)
            further = {}
            for key, state in states.items():
                follow_up = state.follow_up()
                if follow_up is None:
                    found[key] = state.finish()
                else:
                    further[key] = follow_up
            states = further
    return found
