"""Which rows of a dataset are held out, from hashes of the rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from penstock.data import arrow
from penstock.data.hashing.digest import Hashes, mix
from penstock.data.spec import SplitSpec
from penstock.data.split.repeats import Flags, Repeats
from penstock.data.split.table_hashes import TableHashes
from penstock.data.table import iter_batches

if TYPE_CHECKING:
    import pyarrow as pa

Method = Literal["stratified", "random", "time", "group"]

LEARNED = 2
"""Rows of a class that the training part needs: each of two folds is fitted on one of them."""

ORDERS = 100
"""Orders in which groups are drawn until one comes near the share."""

NEAR = 0.01
"""How far from the share a draw of groups may be to be taken, as a share of all rows."""

MOST_CLASSES = 100
"""Different targets up to which a draw of groups looks at them: of a number it does not."""


@dataclass(frozen=True)
class Drawn:
    """A table whose rows were drawn.

    Attributes:
        hashes: Of the rows that have a target.
        repeats: Which of them repeat.
        held: Which of them are drawn for the holdout.
        train: Which rows of the whole table go into the training part.
        holdout: Which go into the holdout.
        notes: What a reader should know.
    """

    hashes: TableHashes
    repeats: Repeats
    held: Flags
    train: Flags
    holdout: Flags
    notes: tuple[str, ...]

    def parts(self) -> tuple[TableHashes, TableHashes]:
        """Return the hashes of the rows of both parts."""
        judged = self.held & ~self.repeats.further
        return self.hashes.select(~self.held), self.hashes.select(judged)


def divided(folder: Path, drawn: Drawn) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """Yield the rows of a dataset, batch by batch: what goes into each of the two parts."""
    start = 0
    for batch in iter_batches(folder):
        here = slice(start, start + batch.num_rows)
        start += batch.num_rows
        learned, judged = (arrow.booleans(mask[here]) for mask in (drawn.train, drawn.holdout))
        yield batch.filter(learned), batch.filter(judged)


def draw(hashes: TableHashes, repeats: Repeats, spec: SplitSpec, method: Method) -> Flags:
    """Return for each row whether it is drawn for the holdout, further copies with their row."""
    weights = np.where(repeats.further, 0, 1)
    if method == "time":
        return _draw_by_time(hashes.times, weights, spec)
    if method == "group":
        return _draw_groups(hashes, weights, spec)
    if method == "random":
        return _draw_units(repeats.units, weights, spec)
    strata = _strata(hashes.labels, repeats.units)
    held = np.zeros(len(hashes.rows), dtype=np.bool_)
    for label in np.unique(strata):
        members = np.flatnonzero(strata == label)
        held[members] = _draw_units(repeats.units[members], weights[members], spec, leave=LEARNED)
    return held


def _strata(labels: Hashes, units: Hashes) -> Hashes:
    """Return the class by which each row is drawn: of a unit of several, the one hashed lowest."""
    _, place = np.unique(units, return_inverse=True)
    lowest = np.full(place.max(initial=-1) + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(lowest, place, labels)
    return np.asarray(lowest[place])


def _draw_units(
    units: Hashes, weights: npt.NDArray[np.int64], spec: SplitSpec, *, leave: int = 1
) -> Flags:
    """Hold out whole units whose weights add up nearest to the share.

    The holdout gets at least one, the training part `leave` as far as there are more than these.
    """
    distinct, place = np.unique(units, return_inverse=True)
    order = _order(distinct, spec.seed)
    reached = np.cumsum(np.bincount(place, weights=weights)[order])
    count = 1 + int(np.abs(reached - spec.holdout * reached[-1]).argmin())
    chosen = np.zeros(len(distinct), dtype=np.bool_)
    most = max(len(distinct) - leave, min(1, len(distinct) - 1))
    chosen[order[: min(count, most)]] = True
    return np.asarray(chosen[place])


def _order(distinct: Hashes, seed: int) -> npt.NDArray[np.int64]:
    return np.argsort(mix(distinct ^ mix(np.array([seed], dtype=np.uint64))), kind="stable")


def _draw_groups(hashes: TableHashes, weights: npt.NDArray[np.int64], spec: SplitSpec) -> Flags:
    """Hold out whole groups: in the first order of several that comes near to the share.

    An order in which no class is in the holdout alone, and both parts have two classes or as many
    as there are, goes before one that is nearer. Every order depends on the seed and the groups.
    """
    distinct, place = np.unique(hashes.keys, return_inverse=True)
    sizes = np.bincount(place, weights=weights)
    total = sizes.sum()
    lacks = _lacking(hashes.labels, place)
    best, best_rank = np.zeros(len(distinct), dtype=np.bool_), (True, math.inf)
    for number in range(ORDERS):
        # The first order is the seed's own, as of all other methods.
        order = _order(mix(distinct ^ np.uint64(number)) if number else distinct, spec.seed)
        reached = np.cumsum(sizes[order])
        count = min(1 + int(np.abs(reached - spec.holdout * total).argmin()), len(distinct) - 1)
        chosen = np.zeros(len(distinct), dtype=np.bool_)
        chosen[order[:count]] = True
        off = abs(float(reached[count - 1]) - spec.holdout * total) / total
        rank = (lacks(chosen), 0.0 if off <= NEAR * min(1.0, 5 * spec.holdout) else off)
        if rank < best_rank:
            best, best_rank = chosen, rank
        if best_rank == (False, 0.0):
            break
    return np.asarray(best[place])


def _lacking(labels: Hashes, place: npt.NDArray[np.int64]) -> Callable[[Flags], bool]:
    """Return a check whether a choice of groups leaves a part without classes that it needs."""
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) > MOST_CLASSES:
        return lambda _: False
    pairs = np.unique(place * len(classes) + codes)
    group, code = np.divmod(pairs, len(classes))

    def lacks(chosen: Flags) -> bool:
        held = np.unique(code[chosen[group]])
        kept = np.unique(code[~chosen[group]])
        return len(kept) < len(classes) or len(held) < min(2, len(classes))

    return lacks


def _draw_by_time(
    times: npt.NDArray[Any], weights: npt.NDArray[np.int64], spec: SplitSpec
) -> Flags:
    """Hold out the rows from a time on, chosen nearest to the share."""
    distinct, place = np.unique(times, return_inverse=True)
    sizes = np.bincount(place, weights=weights)
    newer = np.cumsum(sizes[::-1])[::-1][1:]
    first = 1 + int(np.abs(newer - spec.holdout * sizes.sum()).argmin())
    return np.asarray(times >= distinct[first])
