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
  two cuts (`penstock.data.split.table_hashes`) is enough: copies stand alone under either.
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

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from penstock.data.hashing.digest import Hashes

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

Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class DifferentRows:
    """The different rows of a table, or of a part that has all rows of each of its groups.

    Attributes:
        rows: Their hashes, rising; shape (d,), as all the others.
        features: Hashes of all columns but the target and identifiers.
        labels: Hashes of the target.
        parts: As those of `penstock.data.split.table_hashes.BatchHashes`.
        counts: How often each row is there.
    """

    rows: Hashes
    features: Hashes
    labels: Hashes
    parts: tuple[tuple[Hashes, Hashes], ...]
    counts: Numbers

    def once_for(self, times: int) -> DifferentRows:
        """Return the rows of a table that holds itself so many times, as if it did once."""
        return self if times == 1 else replace(self, counts=self.counts // times)


def columns_of(rows: DifferentRows, *, regression: bool) -> tuple[Hashes, ...]:
    """Return the columns of hashes of which `CopyRule` asks how many rows have some."""
    both = tuple(one for cut in rows.parts for one in cut)
    return (*both, rows.labels) if regression else both


@dataclass(frozen=True)
class Judged:
    """What is known of a part of a table before the sizes of all groups are.

    Attributes:
        beyond: For each different row whether chance does not explain its group.
        same_number: Of a regression: whether a row's target is nowhere else.
    """

    beyond: Flags
    same_number: Flags


class CopyRule:
    """Which different rows are copies, part by part: first each is judged, then all are settled.

    Args:
        regression: Whether the target is a number.
        setting: `auto`; `rows` takes all repeats for chance; `together` takes rows that are equal
            in all columns but the target for copies.
        rows: How many rows the whole table has.
    """

    def __init__(self, *, regression: bool, setting: Setting, rows: int) -> None:
        self._regression, self._setting, self._rows = regression, setting, rows
        self._sizes = _Sizes()

    def asked(self, part: DifferentRows) -> tuple[Hashes, ...]:
        """Return, for each of `columns_of`, the hashes whose number in the whole table is asked."""
        columns = columns_of(part, regression=self._regression)
        groups = _Groups.of(part)
        if self._setting != "auto" or not groups.many.any():
            # Not a slice, which would hold the whole column for as long as it is held.
            return tuple(np.empty(0, dtype=np.uint64) for _ in columns)
        of_many = groups.at[groups.many]
        cuts = tuple(column[of_many] for column in columns[: 2 * len(part.parts)])
        return (*cuts, part.labels[part.counts > 1]) if self._regression else cuts

    def judge(self, part: DifferentRows, counted: Sequence[Numbers]) -> Judged:
        """Return what is known of a part; `counted`: for `asked`, how many rows have each hash."""
        nothing = np.zeros(len(part.rows), dtype=np.bool_)
        groups = _Groups.of(part)
        if self._setting == "rows" or not groups.many.any():
            return Judged(nothing, nothing)
        if self._setting == "together":
            return Judged(groups.many[groups.of_row], nothing)
        sizes, many = groups.sizes, groups.many
        beyond = many & (bool(part.parts) | (sizes <= SMALL))
        for cut in range(len(part.parts)):
            left, right = counted[2 * cut : 2 * cut + 2]
            beyond[many] &= _beyond_chance(sizes[many], left, right, rows=self._rows)
        self._sizes.add(sizes[beyond], np.bincount(groups.of_row)[beyond])
        of_number = nothing
        if self._regression:
            with_label = np.zeros(len(part.rows), dtype=np.int64)
            with_label[part.counts > 1] = counted[-1]
            of_number = _same_number(sizes[groups.of_row], part.counts, with_label)
        return Judged(beyond[groups.of_row], of_number)

    def copies(self, part: DifferentRows, judged: Judged) -> tuple[Flags, Flags]:
        """Return which rows are copied by their features, and which as they are.

        Every part of the table must have been judged.
        """
        by_features = judged.beyond
        if self._setting == "auto" and by_features.any():
            groups = _Groups.of(part)
            exempt = self._sizes.no_copies(groups.sizes, rows=self._rows)
            by_features = by_features & ~exempt[groups.of_row]
        return by_features, judged.same_number & ~by_features


@dataclass(frozen=True)
class _Groups:
    """Rows that are equal but for their target.

    Attributes:
        of_row: The group of each different row.
        sizes: How many rows each group has.
        at: One of the different rows of each group.
    """

    of_row: Numbers
    sizes: Numbers
    at: Numbers

    @property
    def many(self) -> Flags:
        """Which groups have several rows."""
        return np.asarray(self.sizes > 1)

    @classmethod
    def of(cls, part: DifferentRows) -> _Groups:
        _, at, group = np.unique(part.features, return_index=True, return_inverse=True)
        return cls(group, np.bincount(group, weights=part.counts).astype(np.int64), at)


class _Sizes:
    """How many groups beyond chance there are of each size, and how many vary in their target."""

    def __init__(self) -> None:
        self._groups: Counter[int] = Counter()
        self._varied: Counter[int] = Counter()

    def add(self, sizes: Numbers, targets: Numbers) -> None:
        """Add groups of some sizes, with so many different targets."""
        self._groups.update(sizes.tolist())
        self._varied.update(sizes[targets > 1].tolist())

    def no_copies(self, sizes: Numbers, *, rows: int) -> Flags:
        """Return of groups beyond chance which are observations or a common value all the same."""
        if self._vary(large=True) and self._rows(SMALL) > self._rows(0) / 2:
            return np.asarray(sizes > (0 if self._vary(large=False) else SMALL))
        return np.asarray((sizes > _COMMON * rows) & (sizes > _UNUSUAL * self._usual()))

    def _vary(self, *, large: bool) -> bool:
        groups = sum(n for size, n in self._groups.items() if (size > SMALL) == large)
        varied = sum(n for size, n in self._varied.items() if (size > SMALL) == large)
        return varies(varied, groups)

    def _rows(self, above: int) -> int:
        return sum(size * groups for size, groups in self._groups.items() if size > above)

    def _usual(self) -> float:
        """Return the median of the sizes, of enough groups."""
        found = sum(self._groups.values())
        if found <= _ENOUGH:
            return 1.0
        sizes = sorted(self._groups)
        reached = np.cumsum([self._groups[size] for size in sizes])
        middle = [
            sizes[int(np.searchsorted(reached, at, side="right"))]
            for at in ((found - 1) // 2, found // 2)
        ]
        return sum(middle) / 2


def _beyond_chance(sizes: Numbers, left: Numbers, right: Numbers, *, rows: int) -> Flags:
    """Return which groups chance does not explain; `left`, `right`: rows equal in that part."""
    only_left, only_right = left - sizes, right - sizes
    explained = np.minimum(
        only_right * (left / np.maximum(rows - left, 1)),
        only_left * (right / np.maximum(rows - right, 1)),
    )
    dense = (sizes > SMALL) & (np.minimum(only_left, only_right) >= _EXPLAINED * sizes)
    return np.asarray((sizes > 1) & (explained < _EXPLAINED * (sizes - 1)) & ~dense)


def varies(varied: int, groups: int) -> bool:
    """Return whether so many of some groups differ in their target that they are observations."""
    return groups > 0 and varied / groups > _VARIED


def _same_number(same_features: Numbers, counts: Numbers, same_target: Numbers) -> Flags:
    """Return which different rows have a number as target that is nowhere else in the table."""
    others = same_features - counts
    return np.asarray((counts > 1) & (same_target == counts) & (others >= _EXPLAINED * counts))


def targets_of_copies(rows: DifferentRows, by_features: Flags) -> Numbers:
    """Return of each group of copies how many different targets it has."""
    return np.unique(rows.features[by_features], return_counts=True)[1]
