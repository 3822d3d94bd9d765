"""Which rows repeat by chance, and which are copies of one row.

Rows of a few category columns repeat because there are only so many of them: each is a row of its
own. Rows of measured columns do not repeat by chance: equal ones are one row, written down several
times. The first kind must be split like any other rows, or the parts are two different tables; the
second must not be on both sides, or what is judged was learned by heart.

The rule, for rows that are equal in every column but the target (a group of m):

- The columns are cut into two parts, A and B, and rows are counted that are equal to the group in A
  alone (a), and in B alone (b). Of two parts that have nothing to do with each other, about
  b p / (1 - p) rows would be equal in both, p being the share of rows equal in A; and the other way
  round. If the smaller of the two explains a fourth of m - 1, the group is there by chance. One of
  two cuts (`penstock.data.split.sampling`) is enough: copies stand alone under either.
- Parts may depend on each other, so a group of more than `SMALL` rows is also taken for chance when
  a and b are both at least m/4: copies have none such. Small groups are not given that benefit, for
  to keep a few rows together costs nothing, and to part copies does.
- Groups that are left are copies, with two exceptions. Where most of these rows are in large groups
  and the target differs within more than a tenth of them, things were observed again and again (the
  buyers of a product). And a group of over a hundredth of the table and over ten times the usual
  size is one common value (all zeros), not a row copied so often.
- Of a regression, rows within a chance group whose target is the same number, found nowhere else in
  the table, are copies too.
- A table in which the number of every row is divisible by k holds itself k times.

Two tables remain that no rule can distinguish: few category columns with rows copied unevenly,
and rows that were drawn unevenly. They are taken for drawn. See docs/training.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from penstock.data.hashing.digest import Hashes, mix

Setting = Literal["auto", "rows", "together"]

SMALL = 4
"""Rows up to which a group may be kept together on slight grounds."""

_EXPLAINED = 0.25
"""Share of a group that chance must explain, and of its size that a half must have besides."""

_VARIED = 0.1
"""Share of large groups with different targets from which they are observations, not copies."""

_COMMON = 0.01
_UNUSUAL = 10
_ENOUGH = 5
"""Groups from which there is a usual size."""

_WHOLE_TABLE = 20
"""Different rows from which a common divisor of their numbers is no accident: 2 to the -20."""

_FEATURES, _ROW = np.uint64(0xA0761D6478BD642F), np.uint64(0xE7037ED1A0B428DB)

Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


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

    def known(self, rows: Hashes, chosen: Flags | None = None) -> float:
        """Return the share of fresh rows that would equal one of some rows by chance.

        One less the share of rows that are there once (Good, The population frequencies of
        species, 1953).

        Args:
            rows: Hashes of the table's rows.
            chosen: Which of the rows are meant; None: all.
        """
        copied = self.by_features | self.by_row
        if chosen is not None:
            rows, copied = rows[chosen], copied[chosen]
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

    Args:
        hashes: Hashes of every row.
        regression: Whether the target is a number.
        setting: `auto`; `rows` takes all repeats for chance; `together` takes rows that are equal
            in all columns but the target for copies.
    """
    distinct, first, place, counts = np.unique(
        hashes.rows, return_index=True, return_inverse=True, return_counts=True
    )
    rank = _rank(place, counts)
    times = _times(counts) if setting == "auto" else 1
    counts = counts // times
    by_features, by_row = _copied(hashes, first, counts, regression=regression, setting=setting)
    # The first of equal rows keeps its hash: without repeats a draw is that of the rows' hashes.
    units = hashes.rows ^ mix((rank // times).astype(np.uint64))
    units = np.where(by_row[place], mix(hashes.rows ^ _ROW), units)
    units = np.where(by_features[place], mix(hashes.features ^ _FEATURES), units)
    copied = by_features | by_row
    return Repeats(
        units=units,
        further=(rank % times != 0) | (copied[place] & (rank > 0)),
        by_features=by_features[place],
        by_row=by_row[place],
        observed=_observed(hashes.features[first], by_features),
        times=times,
        equal=len(place) - len(distinct),
    )


def _rank(place: Numbers, counts: Numbers) -> Numbers:
    """Return of each row how many equal ones come before it."""
    order = np.argsort(place, kind="stable")
    starts = np.cumsum(counts) - counts
    rank = np.empty(len(place), dtype=np.int64)
    rank[order] = np.arange(len(place)) - np.repeat(starts, counts)
    return rank


def _times(counts: Numbers) -> int:
    return int(np.gcd.reduce(counts)) if len(counts) >= _WHOLE_TABLE else 1


def _copied(
    hashes: ComparedRows, first: Numbers, counts: Numbers, *, regression: bool, setting: Setting
) -> tuple[Flags, Flags]:
    """Return which different rows are copied by their features, and which as they are."""
    nothing = np.zeros(len(first), dtype=np.bool_)
    group, sizes = _grouped(hashes.features[first], counts)
    if setting == "rows" or not (sizes > 1).any():
        return nothing, nothing
    if setting == "together":
        return (sizes > 1)[group], nothing
    at = _representatives(group, len(sizes))
    beyond = (sizes > 1) & (bool(hashes.parts) | (sizes <= SMALL))
    for parts in hashes.parts:
        left, right = (_alike(part[first], counts)[at] for part in parts)
        beyond &= _beyond_chance(sizes, left, right, rows=int(counts.sum()))
    beyond &= ~_no_copies(sizes, beyond, targets=np.bincount(group))
    by_features = beyond[group]
    if not regression:
        return by_features, nothing
    same_target = _alike(hashes.labels[first], counts)
    return by_features, ~by_features & _same_number(sizes[group], counts, same_target)


def _observed(features: Hashes, copied: Flags) -> bool:
    """Whether copies differ in their target so often that fresh rows may well be equal to some."""
    _, targets = np.unique(features[copied], return_counts=True)
    return _varies(targets)


def _grouped(keys: Hashes, counts: Numbers) -> tuple[Numbers, Numbers]:
    """Return the group of each different row, and how many rows each group has."""
    _, group = np.unique(keys, return_inverse=True)
    return group, np.bincount(group, weights=counts).astype(np.int64)


def _alike(keys: Hashes, counts: Numbers) -> Numbers:
    """Return how many rows have the key of each different row."""
    group, sizes = _grouped(keys, counts)
    return np.asarray(sizes[group])


def _representatives(group: Numbers, groups: int) -> Numbers:
    at = np.empty(groups, dtype=np.int64)
    at[group] = np.arange(len(group))
    return at


def _beyond_chance(sizes: Numbers, left: Numbers, right: Numbers, *, rows: int) -> Flags:
    """Return which groups chance does not explain; `left`, `right`: rows equal in that part."""
    only_left, only_right = left - sizes, right - sizes
    explained = np.minimum(
        only_right * (left / np.maximum(rows - left, 1)),
        only_left * (right / np.maximum(rows - right, 1)),
    )
    dense = (sizes > SMALL) & (np.minimum(only_left, only_right) >= _EXPLAINED * sizes)
    return np.asarray((sizes > 1) & (explained < _EXPLAINED * (sizes - 1)) & ~dense)


def _no_copies(sizes: Numbers, beyond: Flags, *, targets: Numbers) -> Flags:
    """Return which of the groups beyond chance are observations or a common value all the same."""
    found = sizes[beyond]
    large, small = beyond & (sizes > SMALL), beyond & (sizes <= SMALL)
    if _varies(targets[large]) and sizes[large].sum() > found.sum() / 2:
        return beyond if _varies(targets[small]) else large
    usual = float(np.median(found)) if len(found) > _ENOUGH else 1.0
    return np.asarray(beyond & (sizes > _COMMON * sizes.sum()) & (sizes > _UNUSUAL * usual))


def _varies(targets: Numbers) -> bool:
    return bool(len(targets)) and bool((targets > 1).mean() > _VARIED)


def _same_number(same_features: Numbers, counts: Numbers, same_target: Numbers) -> Flags:
    """Return which different rows have a number as target that is nowhere else in the table."""
    others = same_features - counts
    return np.asarray((counts > 1) & (same_target == counts) & (others >= _EXPLAINED * counts))
