"""What is known of the columns of a training part: by its record, and one pass over its rows.

Sums and counts of parts are those of the whole, so what is found does not depend on how the rows
are cut or ordered, and memory does not grow with them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from penstock.data.engine import Each, here
from penstock.data.profile.profiler import MAX_EXACT
from penstock.features.column_states import Calendar, CalendarParts, Numbered
from penstock.features.levels import MISSING, KeptLevels, kept_levels
from penstock.features.spec import FeaturesSpec
from penstock.quality.checks.base import Request
from penstock.quality.engine import found
from penstock.quality.states.levels import Counted, LevelBins, LevelCounts
from penstock.quality.states.words import Words
from penstock.records.dataset import Column, Dataset, ProfiledColumn

FEW = 20
"""Up to this many different values a text column is always a category."""

COUNTER_ROWS = 100
"""Rows from which a column of whole numbers is recognised as a row number."""

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
    folder: Path, dataset: Dataset, *, target: str, spec: FeaturesSpec, each: Each = here
) -> tuple[ColumnStatistics, ...]:
    """Return what is known of each column but the target, in order.

    Args:
        folder: The training part.
        dataset: Its record.
        target: The column to predict.
        spec: What is declared: categories are counted.
        each: What maps over the parts of the dataset.
    """
    columns = [column for column in dataset.columns if column.name != target]
    needed = {column.name: _needed(column, rows=dataset.rows, spec=spec) for column in columns}
    requests = [request for wanted in needed.values() for request in wanted.values()]
    results = found(folder, dataset, requests, each=each)
    return tuple(
        ColumnStatistics(
            column,
            dataset.rows,
            **{what: results[request] for what, request in needed[column.name].items()},
        )
        for column in columns
    )


def _needed(column: ProfiledColumn, *, rows: int, spec: FeaturesSpec) -> dict[str, Request]:
    """Return what must be found of a column, by field of `ColumnStatistics`."""
    declared, name = spec.columns.get(column.name), column.name
    if declared == "drop":
        return {}
    if column.type == "datetime":
        return {"calendar": Request(CalendarParts, (name,))}
    if column.type == "string" or declared == "category":
        bare = Column(name=name, type=column.type)
        few = column.profile.distinct <= MAX_EXACT
        counts = (
            Request(LevelCounts, (bare,)) if few else Request(LevelBins, (bare, spec.rare_share))
        )
        wanted = {"counted": counts}
        if column.type == "string" and column.profile.distinct > FEW and declared is None:
            wanted["words"] = Request(Words, (name,))
        return wanted
    if declared is None and _may_number_rows(column, rows=rows):
        profile = column.profile
        ends = (int(profile.minimum or 0), int(profile.maximum or 0))
        return {"numbered": Request(Numbered, (name, *ends))}
    return {}


def _may_number_rows(column: ProfiledColumn, *, rows: int) -> bool:
    """Whether whole numbers lie so close together that they may be row numbers."""
    least, most = column.profile.minimum, column.profile.maximum
    if column.type != "integer" or rows < COUNTER_ROWS or column.profile.nulls:
        return False
    if least is None or most is None or max(-least, most) >= _EXACT:
        return False
    return most - least + 1 <= 2 * rows
