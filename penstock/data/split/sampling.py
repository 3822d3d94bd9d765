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
from penstock.data.hashing.digest import CellHasher, Hashes, RowDigest, RowHashes, mix
from penstock.data.spec import SplitSpec
from penstock.data.split.repeats import Repeats, RowFacts, Setting, find_repeats
from penstock.data.table import iter_batches
from penstock.records.dataset import Dataset

if TYPE_CHECKING:
    import pyarrow as pa

Method = Literal["stratified", "random", "time", "group"]

Flags = npt.NDArray[np.bool_]

LEARNED = 2
"""Rows of a class that the training part needs: each of two folds is fitted on one of them."""

ORDERS = 100
"""Orders in which groups are drawn until one comes near the share."""

NEAR = 0.01
"""How far from the share a draw of groups may be to be taken, as a share of all rows."""

MOST_CLASSES = 100
"""Different targets up to which a draw of groups looks at them: of a number it does not."""

_NEARLY_ALL = 0.95
"""Share of different values from which a column is counted exactly: sketches err by a percent."""


@dataclass(frozen=True)
class Facts(RowFacts):
    """What a split needs to know of every row: hashes, not values.

    Args:
        content: The content digest of the rows.
        keys: Hash of the group, or nothing.
        times: The time column's values, or nothing.
        unlabelled: Whether the target is missing.
    """

    content: str
    keys: Hashes
    times: npt.NDArray[Any]
    unlabelled: Flags

    def select(self, rows: Flags) -> Facts:
        """Return the facts of some rows."""

        def taken(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
            return values[rows] if len(values) else values

        return Facts(
            rows=self.rows[rows],
            features=self.features[rows],
            labels=self.labels[rows],
            parts=tuple((one[rows], other[rows]) for one, other in self.parts),
            content=self.content,
            keys=taken(self.keys),
            times=taken(self.times),
            unlabelled=self.unlabelled[rows],
        )


@dataclass(frozen=True)
class Comparing:
    """Which columns decide whether rows are equal but for their target.

    Args:
        columns: Their names: neither the target nor constant nor an identifier, which would hide
            that the rest of a row was copied.
        cuts: For each cut of them into two, the names of one part.
    """

    columns: frozenset[str]
    cuts: tuple[frozenset[str], ...]


def comparing(folder: Path, dataset: Dataset, *, target: str, column: str) -> Comparing:
    """Choose the columns by which rows are compared, and two cuts of them into parts.

    One cut keeps columns together whose names are neighbours, as those of one encoded category
    are, and parts them where both sides could hold equally many different rows. The other sets
    columns of few values apart from columns of many.

    Args:
        folder: The dataset.
        dataset: Its record.
        target: The column to predict.
        column: The column of the split, which is never taken for an identifier.
    """
    levels = {c.name: c.profile.distinct + (c.profile.nulls > 0) for c in dataset.columns}
    suspects = [
        c.name
        for c in dataset.columns
        if c.type in ("integer", "string")
        and c.name not in (target, column)
        and c.profile.distinct >= _NEARLY_ALL * dataset.rows
    ]
    apart = {name for name in suspects if _all_different(folder, dataset, name)}
    names = sorted(n for n, count in levels.items() if n not in apart and n != target and count > 1)
    if len(names) < 2:
        # A table of identifiers alone is compared by these.
        names = names or sorted(apart)
        return Comparing(frozenset(names), ())
    reached = np.cumsum([math.log(levels[name]) for name in names])
    even = 1 + int(np.abs(reached[:-1] - reached[-1] / 2).argmin())
    rising = sorted(names, key=lambda name: (levels[name], name))
    steps = np.diff([math.log(levels[name]) for name in rising])
    few = 1 + int(steps.argmax())
    return Comparing(frozenset(names), (frozenset(names[:even]), frozenset(rising[:few])))


def _all_different(folder: Path, dataset: Dataset, name: str) -> bool:
    column = dataset.column(name)
    assert column is not None
    hasher = CellHasher(column)
    found = [hasher.hashes(batch.column(0)) for batch in iter_batches(folder, [name])]
    return len(np.unique(np.concatenate(found))) == dataset.rows


def scan(folder: Path, dataset: Dataset, *, target: str, column: str, by: Comparing) -> Facts:
    """Read a dataset once and keep the hashes of rows, labels and groups, and the times."""
    hashers = [CellHasher(c) for c in dataset.columns]
    digest = RowDigest(dataset.columns)
    names = ("rows", "features", "labels", "keys", "times", *range(len(by.cuts)))
    found: dict[Any, list[npt.NDArray[Any]]] = {name: [] for name in names}
    for batch in iter_batches(folder):
        hashes = RowHashes(batch.num_rows)
        sums = np.zeros((1 + len(by.cuts), batch.num_rows), dtype=np.uint64)
        for hasher, known, array in zip(hashers, dataset.columns, batch.columns, strict=True):
            cells = hasher.hashes(array)
            if known.name == target:
                found["labels"].append(cells.copy())
            if known.name == column:
                found["keys"].append(cells.copy())
                if known.type != "string":
                    found["times"].append(_values(array))
            if known.name in by.columns:
                for place, part in enumerate((by.columns, *by.cuts)):
                    if known.name in part:
                        sums[place] += cells
            hashes.add(cells, hasher.weight)
        found["rows"].append(digest.add(hashes))
        found["features"].append(sums[0])
        for cut in range(len(by.cuts)):
            found[cut].append(sums[1 + cut])
    joined = {name: np.concatenate(p) if p else np.empty(0, np.uint64) for name, p in found.items()}
    cuts = [joined.pop(cut) for cut in range(len(by.cuts))]
    missing = {c.name: hasher.missing for c, hasher in zip(dataset.columns, hashers, strict=True)}
    return Facts(
        content=digest.content(),
        parts=tuple((part, joined["features"] - part) for part in cuts),
        unlabelled=joined["labels"] == missing[target],
        **joined,
    )


def _values(array: pa.Array) -> npt.NDArray[Any]:
    import pyarrow as pa

    plain = array.view(pa.int64()) if pa.types.is_timestamp(array.type) else array
    return np.asarray(plain.to_numpy(zero_copy_only=False))


def draw(facts: Facts, repeats: Repeats, spec: SplitSpec, method: Method) -> Flags:
    """Return for each row whether it is drawn for the holdout, further copies with their row."""
    weights = np.where(repeats.further, 0, 1)
    if method == "time":
        return _draw_by_time(facts.times, weights, spec)
    if method == "group":
        return _draw_groups(facts, weights, spec)
    if method == "random":
        return _draw_units(repeats.units, weights, spec)
    strata = _strata(facts.labels, repeats.units)
    held = np.zeros(len(facts.rows), dtype=np.bool_)
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


def _draw_groups(facts: Facts, weights: npt.NDArray[np.int64], spec: SplitSpec) -> Flags:
    """Hold out whole groups: in the first order of several that comes near to the share.

    An order in which no class is in the holdout alone, and both parts have two classes or as many
    as there are, goes before one that is nearer. Every order depends on the seed and the groups.
    """
    distinct, place = np.unique(facts.keys, return_inverse=True)
    sizes = np.bincount(place, weights=weights)
    total = sizes.sum()
    lacks = _lacking(facts.labels, place)
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
    """Return what tells whether a choice of groups leaves a part without classes that it needs."""
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


def read_repeats(
    folder: Path,
    dataset: Dataset,
    *,
    target: str,
    column: str,
    regression: bool,
    setting: Setting,
) -> Repeats:
    """Tell copies from rows that repeat by chance in a part of a split, by the split's own rule.

    Args:
        folder: The part.
        dataset: Its record.
        target: The column to predict.
        column: The column of the split, if it has one.
        regression: Whether the target is a number.
        setting: The split's.
    """
    by = comparing(folder, dataset, target=target, column=column)
    facts = scan(folder, dataset, target=target, column=column, by=by)
    return find_repeats(facts, regression=regression, setting=setting)


def filtered(folder: Path, mask: Flags) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a dataset for which `mask` is true."""
    start = 0
    for batch in iter_batches(folder):
        yield batch.filter(arrow.booleans(mask[start : start + batch.num_rows]))
        start += batch.num_rows
