"""Which rows of a table are held out, by the order of its units, its groups or its times."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Literal, Protocol

import numpy as np

from penstock.data.hashing.digest import Hashes, mix
from penstock.data.spec import SplitSpec
from penstock.data.split.copy_rule import Flags, Numbers
from penstock.data.split.hashed_table import HashedTable, Piece
from penstock.data.split.selection import nearest, rising, select
from penstock.data.split.spilled import Records

Method = Literal["stratified", "random", "time", "group"]

LEARNED = 2
"""Rows of a class that the training part needs: each of two folds is fitted on one of them."""

ORDERS = 100
"""Orders in which groups are drawn until one comes near the share."""

NEAR = 0.01
"""How far from the share a draw of groups may be to be taken, as a share of all rows."""

MOST_CLASSES = 100
"""Different targets up to which a draw of groups looks at them: of a number it does not."""


class Draw(Protocol):
    """What says which rows are drawn for the holdout, further copies with their row."""

    def held(self, rows: Piece) -> Flags:
        """Return for each of some rows whether it is drawn."""
        ...


def draw(table: HashedTable, spec: SplitSpec, method: Method) -> Draw:
    """Return which rows are held out. A further copy does not count for the share.

    Memory does not grow with rows; `group` holds about 100 bytes a group.
    """
    if method == "time":
        return _ByTime(table, spec)
    if method == "group":
        return _ByGroup(table, spec)
    return _ByUnit(table, spec, stratified=method == "stratified")


class _ByUnit:
    """Whole units are held out whose rows add up nearest to the share, in each class by itself.

    The holdout gets at least one unit, the training part `LEARNED` of each class, of all rows one,
    as far as there are more than these.
    """

    def __init__(self, table: HashedTable, spec: SplitSpec, *, stratified: bool) -> None:
        self._seed = spec.seed
        self._strata = table.classes() if stratified else np.zeros(1, dtype=np.uint64)
        self._stratified = stratified
        leave = LEARNED if stratified else 1
        around = select(
            lambda: self._keys(table),
            strata=len(self._strata),
            share=spec.holdout,
            rows=table.found.rows,
        )
        self._last = [stratum.last(share=spec.holdout, leave=leave) for stratum in around]

    def held(self, rows: Piece) -> Flags:
        strata, keys = self._of(rows.units)
        none = np.array([last is None for last in self._last])
        last = np.array([last or 0 for last in self._last], dtype=np.uint64)
        return np.asarray((keys <= last[strata]) & ~none[strata])

    def _of(self, units: Records) -> tuple[Numbers, Hashes]:
        keys = _scrambled(np.ascontiguousarray(units["unit"]), self._seed)
        if not self._stratified:
            return np.zeros(len(keys), dtype=np.int64), keys
        return np.searchsorted(self._strata, units["stratum"]), keys

    def _keys(self, table: HashedTable) -> Iterator[tuple[Numbers, Hashes, Flags]]:
        """Yield stratum and key of rows that are no further copies, and which stand for a unit."""
        for piece in table.units.everything():
            counted = piece[~piece["further"]]
            yield (*self._of(counted), counted["head"])


def _scrambled(keys: Hashes, seed: int) -> Hashes:
    return mix(keys ^ mix(np.array([seed], dtype=np.uint64)))


def _order(distinct: Hashes, seed: int) -> Numbers:
    return np.argsort(_scrambled(distinct, seed), kind="stable")


class _ByTime:
    """The rows from a time on are held out, chosen nearest to the share."""

    def __init__(self, table: HashedTable, spec: SplitSpec) -> None:
        def times() -> Iterator[Hashes]:
            for rows in table.everything():
                yield rising(rows.hashes["times"][~rows.units["further"]])

        self._first = nearest(times, share=spec.holdout)

    def held(self, rows: Piece) -> Flags:
        return np.asarray(rising(rows.hashes["times"]) >= self._first)


class _ByGroup:
    """Whole groups are held out: in the first order of several that comes near to the share.

    An order in which no class is in the holdout alone, and both parts have two classes or as many
    as there are, goes before one that is nearer. Every order depends on the seed and the groups.
    """

    def __init__(self, table: HashedTable, spec: SplitSpec) -> None:
        self._distinct, sizes = _group_sizes(table)
        total = sizes.sum()
        lacks = _lacking(table, self._distinct)
        self._chosen = np.zeros(len(self._distinct), dtype=np.bool_)
        best = (True, math.inf)
        for number in range(ORDERS):
            # The first order is the seed's own, as of all other methods.
            keys = mix(self._distinct ^ np.uint64(number)) if number else self._distinct
            order = _order(keys, spec.seed)
            reached = np.cumsum(sizes[order])
            off = np.abs(reached - spec.holdout * total)
            count = min(1 + int(off.argmin()), len(self._distinct) - 1)
            chosen = np.zeros(len(self._distinct), dtype=np.bool_)
            chosen[order[:count]] = True
            far = float(off[count - 1]) / float(total)
            rank = (lacks(chosen), 0.0 if far <= NEAR * min(1.0, 5 * spec.holdout) else far)
            if rank < best:
                self._chosen, best = chosen, rank
            if best == (False, 0.0):
                break

    def held(self, rows: Piece) -> Flags:
        return np.asarray(self._chosen[np.searchsorted(self._distinct, rows.hashes["keys"])])


def _group_sizes(table: HashedTable) -> tuple[Hashes, Numbers]:
    """Return the groups, rising, and how many rows each has, further copies aside."""
    distinct, sizes = np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64)
    for rows in table.everything():
        known = np.concatenate([distinct, rows.hashes["keys"]])
        counted = np.concatenate([sizes, ~rows.units["further"]])
        distinct, place = np.unique(known, return_inverse=True)
        sizes = np.bincount(place, weights=counted).astype(np.int64)
    return distinct, sizes


def _lacking(table: HashedTable, groups: Hashes) -> Callable[[Flags], bool]:
    """Return a check whether a choice of groups leaves a part without classes that it needs."""
    classes = np.empty(0, dtype=np.uint64)
    for piece in table.different.everything():
        classes = np.union1d(classes, piece["labels"])
        if len(classes) > MOST_CLASSES:
            return lambda _: False
    pairs = np.empty(0, dtype=np.int64)
    for hashes in table.hashes.everything():
        place = np.searchsorted(groups, hashes["keys"])
        code = np.searchsorted(classes, hashes["labels"])
        pairs = np.union1d(pairs, place * len(classes) + code)
    group, code = np.divmod(pairs, len(classes))

    def lacks(chosen: Flags) -> bool:
        held = np.unique(code[chosen[group]])
        kept = np.unique(code[~chosen[group]])
        return len(kept) < len(classes) or len(held) < min(2, len(classes))

    return lacks
