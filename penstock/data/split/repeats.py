"""Which rows of a table are copies of others, whole columns of hashes at a time.

The rule is `penstock.data.split.copy_rule`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from penstock.data.hashing.digest import Hashes, mix
from penstock.data.split.copy_rule import (
    CopyRule,
    DifferentRows,
    Flags,
    Numbers,
    Setting,
    columns_of,
    targets_of_copies,
    varies,
)

_WHOLE_TABLE = 20
"""Different rows from which a common divisor of their numbers is no accident: 2 to the -20."""

_FEATURES, _ROW = np.uint64(0xA0761D6478BD642F), np.uint64(0xE7037ED1A0B428DB)


@dataclass(frozen=True)
class Copies:
    """Which rows are copies of others, shape (n,) each.

    Args:
        units: Rows with the same number must stay together. Rows that repeat by chance differ in it
            by which of the equal rows they are, and by nothing else.
        further: Whether the row is a further copy of a row: it is learned from, and never judged.
    """

    units: Hashes
    further: Flags

    @property
    def copies(self) -> int:
        """How many rows are further copies."""
        return int(self.further.sum())


@dataclass(frozen=True)
class Repeats(Copies):
    """What was found of every row, shape (n,) each, and how many repeat.

    Args:
        by_features: Whether the row has copies by all columns but the target.
        by_row: Whether it has copies by all columns.
        observed: Whether copies differ in their target so often that each of them counts as a row.
        times: How many times the table holds itself; 1 is once.
        equal: Rows that equal an earlier row, copies and others.
    """

    by_features: Flags
    by_row: Flags
    observed: bool
    times: int
    equal: int

    def known(self, rows: Hashes) -> float:
        """Return the share of fresh rows that would equal one of the table by chance.

        One less the share of rows that are there once (Good, The population frequencies of
        species, 1953).

        Args:
            rows: Hashes of the table's rows.
        """
        copied = self.by_features | self.by_row
        _, first, counts = np.unique(rows, return_index=True, return_counts=True)
        counts //= self.times
        counts[copied[first] & (not self.observed)] = 1
        return float(1 - (counts == 1).sum() / max(counts.sum(), 1))


@dataclass(frozen=True)
class ComparedRows:
    """Hashes of every row, by which rows are compared; shape (n,) each.

    Args:
        rows: Of the whole row.
        features: Of all columns but the target and identifiers.
        labels: Of the target.
        parts: For each cut of these columns into two, of one part and of the other; none where
            there is only one column.
    """

    rows: Hashes
    features: Hashes
    labels: Hashes
    parts: tuple[tuple[Hashes, Hashes], ...]


def find_repeats(hashes: ComparedRows, *, regression: bool, setting: Setting = "auto") -> Repeats:
    """Distinguish rows that repeat by chance from copies; the rule is described above.

    The order of the rows makes no difference but to which of equal rows is the further one.
    Whole columns of hashes are held. `penstock.data.split.hashed_table` does the same part by part.

    Args:
        hashes: Hashes of every row.
        regression: Whether the target is a number.
        setting: `auto`; `rows` takes all repeats for chance; `together` takes rows that are equal
            in all columns but the target for copies.
    """
    distinct, first, place, counts = np.unique(
        hashes.rows, return_index=True, return_inverse=True, return_counts=True
    )
    times = times_of(len(counts), int(np.gcd.reduce(counts))) if setting == "auto" else 1
    rows = DifferentRows(
        rows=distinct,
        features=hashes.features[first],
        labels=hashes.labels[first],
        parts=tuple((one[first], other[first]) for one, other in hashes.parts),
        counts=counts // times,
    )
    rule = CopyRule(regression=regression, setting=setting, rows=int(rows.counts.sum()))
    counted = []
    for asked, keys in zip(rule.asked(rows), columns_of(rows, regression=regression), strict=True):
        frequent = Frequency(asked)
        frequent.count(keys, rows.counts)
        counted.append(frequent.at(asked))
    found = rule.judge(rows, counted)
    by_features, by_row = rule.copies(rows, found)
    targets = targets_of_copies(rows, by_features)
    rank = ranks(place, np.zeros(len(distinct), dtype=np.int64))
    copied = by_features | by_row
    return Repeats(
        units=units(
            hashes.rows,
            hashes.features,
            rank // times,
            by_features=by_features[place],
            by_row=by_row[place],
        ),
        further=further(rank, copied[place], times=times),
        by_features=by_features[place],
        by_row=by_row[place],
        observed=varies(int((targets > 1).sum()), len(targets)),
        times=times,
        equal=len(place) - len(distinct),
    )


def units(
    rows: Hashes, features: Hashes, rank: Numbers, *, by_features: Flags, by_row: Flags
) -> Hashes:
    """Return the unit of each row; `rank`: which of the equal rows that are no copies it is."""
    # The first of equal rows keeps its hash: without repeats a draw is that of the rows' hashes.
    found = rows ^ mix(rank.astype(np.uint64))
    found = np.where(by_row, mix(rows ^ _ROW), found)
    return np.where(by_features, mix(features ^ _FEATURES), found)


def further(rank: Numbers, copied: Flags, *, times: int) -> Flags:
    """Return which rows are further copies; `rank`: how many equal ones come before each."""
    return np.asarray((rank % times != 0) | (copied & (rank > 0)))


def ranks(place: Numbers, before: Numbers) -> Numbers:
    """Return of each row how many equal ones come before it.

    Args:
        place: Which of the different rows each row is.
        before: How many of each different row came earlier; these rows are added to it.
    """
    order = np.argsort(place, kind="stable")
    counts = np.bincount(place, minlength=len(before))
    starts = np.cumsum(counts) - counts
    rank = np.empty(len(place), dtype=np.int64)
    rank[order] = np.arange(len(place)) - np.repeat(starts, counts)
    rank += before[place]
    before += counts
    return rank


def times_of(different: int, divisor: int) -> int:
    """Return how many times a table holds itself, from the divisor that all numbers share."""
    return divisor if different >= _WHOLE_TABLE else 1


class Frequency:
    """How many rows have each of some hashes.

    Args:
        asked: The hashes, in any order.
    """

    def __init__(self, asked: Hashes) -> None:
        self.keys = np.unique(asked)
        self._rows = np.zeros(len(self.keys), dtype=np.int64)

    def count(self, keys: Hashes, counts: Numbers) -> None:
        """Add rows with some hashes; `counts`: how many have each of these."""
        if not len(self.keys):
            return
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        known = self.keys[place] == keys
        found = np.bincount(place[known], weights=counts[known], minlength=len(self.keys))
        self._rows += found.astype(np.int64)

    def at(self, keys: Hashes) -> Numbers:
        """Return how many rows have each of some of the hashes that were asked for."""
        return np.asarray(self._rows[np.searchsorted(self.keys, keys)])
