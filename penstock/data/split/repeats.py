"""What is said of each row where rows repeat: its unit, and whether it is a further copy.

Which rows are copies is the rule of `penstock.data.split.copy_rule`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from penstock.data.hashing.digest import Hashes, mix
from penstock.data.split.copy_rule import Flags, Numbers

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
