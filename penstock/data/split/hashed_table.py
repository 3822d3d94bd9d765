"""The rows of a table as a split knows them: hashes, different rows and units, on disk.

Which rows are copies is the rule of `penstock.data.split.copy_rule`, applied part by part with the
memory of a part. The files take about 150 bytes a row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from penstock.data.hashing.digest import Hashes
from penstock.data.split.copy_rule import (
    CopyRule,
    DifferentRows,
    Judged,
    Setting,
    columns_of,
    targets_of_copies,
    varies,
)
from penstock.data.split.repeats import Frequency, further, ranks, times_of, units
from penstock.data.split.spilled import Records, Spilled, part_of, parts_for
from penstock.data.split.table_hashes import BatchHashes, iter_hashes
from penstock.records.dataset import Dataset

NO_PART = np.uint16(65_535)
"""Of a row without a target, in the order of the rows."""

_ASKED = 1 << 22
"""Hashes whose number in the table is counted in one pass."""

_COMPARED = ("rows", "features", "labels")
_DIFFERENT = [("counts", "<i8"), ("by_features", "?"), ("by_row", "?")]
_UNIT = np.dtype(
    [("unit", "<u8"), ("stratum", "<u8"), ("further", "?"), ("head", "?"), ("several", "?")]
)


@dataclass(frozen=True)
class HashedTable:
    """A table whose rows were hashed into a folder.

    Attributes:
        order: A file: the part of each row of the table, `NO_PART` without a target.
        hashes: Of each row with a target: `rows`, `second`, `features`, `labels`, and of the column
            of the split `keys` and `times`.
        units: Beside each of these, its `unit`; the `stratum`, which is the class by which the
            unit is drawn; whether it is a `further` copy; whether it is the `head`, one row of each
            unit; and whether the unit has `several` rows.
        different: The different rows of each part, rising: how often each is there (`counts`) and
            whether it has copies (`by_features`, `by_row`).
        found: How many rows there are of which kind.
    """

    order: Path
    hashes: Spilled
    units: Spilled
    different: Spilled
    found: Found

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return self.hashes.parts

    def pieces(self, at: int) -> Iterator[Piece]:
        """Yield the rows of a part."""
        return map(Piece, self.hashes.pieces(at), self.units.pieces(at))

    def everything(self) -> Iterator[Piece]:
        """Yield all rows, part after part."""
        for at in range(self.parts):
            yield from self.pieces(at)

    def classes(self) -> Hashes:
        """Return the hashes of the different targets, sorted."""
        found = np.empty(0, dtype=np.uint64)
        for piece in self.different.everything():
            found = np.union1d(found, piece["labels"])
        return found


@dataclass(frozen=True)
class Piece:
    """Some rows of a part: their `hashes` and `units`, shape (n,) each."""

    hashes: Records
    units: Records


@dataclass(frozen=True)
class Found:
    """How many rows with a target there are.

    Attributes:
        rows: All of them.
        different: Different ones.
        further: Further copies.
        times: How many times the table holds itself; 1 is once.
        observed: Whether copies differ in their target so often that each of them counts as a row.
        alike: Whether some rows have copies by all columns but the target.
    """

    rows: int = 0
    different: int = 0
    further: int = 0
    times: int = 1
    observed: bool = False
    alike: bool = False

    @property
    def repeats(self) -> bool:
        """Whether any row repeats, by all columns or by all but the target."""
        return self.rows > self.different or self.alike


def hash_into(
    work: Path,
    folder: Path,
    dataset: Dataset,
    *,
    target: str,
    column: str,
    regression: bool,
    setting: Setting,
) -> HashedTable:
    """Read a dataset once, hash its rows into files, and find which of them repeat.

    Args:
        work: An empty folder for the files; whoever made it removes it.
        folder: The dataset.
        dataset: Its record.
        target: The column to predict; rows without it are left out.
        column: The column of the split, if it has one.
        regression: Whether the target is a number.
        setting: How repeated rows are classified; see `penstock.data.split.copy_rule.CopyRule`.

    Raises:
        IntegrityError: If the rows are not the ones of the record.
    """
    order, parts = work / "order", parts_for(dataset.rows)
    batches = iter_hashes(folder, dataset, target=target, column=column)
    first = next(batches)
    hashes = Spilled(work, "hashes", parts, _dtype(first))
    with order.open("wb") as numbers, hashes.adding() as adding:
        for batch in _after(first, batches):
            known = ~batch.unlabelled
            at = part_of(batch.features, parts)
            numbers.write(np.where(known, at, NO_PART).astype("<u2").data)
            adding.add(at[known], _records(batch, hashes.dtype)[known])
    cuts = [name for name in hashes.dtype.names or () if name.startswith("cut")]
    kept = [(name, "<u8") for name in (*_COMPARED, *cuts)]
    different = Spilled(work, "different", parts, np.dtype(kept + _DIFFERENT))
    times = _gather_different(hashes, different, setting)
    _find_copies(different, times=times, regression=regression, setting=setting)
    rows = Spilled(work, "units", parts, _UNIT)
    found = _number_units(hashes, different, rows, times=times)
    return HashedTable(order=order, hashes=hashes, units=rows, different=different, found=found)


def _after(first: BatchHashes, others: Iterator[BatchHashes]) -> Iterator[BatchHashes]:
    yield first
    yield from others


def _dtype(batch: BatchHashes) -> np.dtype[Any]:
    fields = [(name, "<u8") for name in (*_COMPARED, "second")]
    fields += [(f"cut{at}", "<u8") for at in range(len(batch.parts))]
    if len(batch.keys):
        fields.append(("keys", "<u8"))
    if len(batch.times):
        fields.append(("times", batch.times.dtype.str))
    return np.dtype(fields)


def _records(batch: BatchHashes, dtype: np.dtype[Any]) -> Records:
    records = np.empty(len(batch.rows), dtype=dtype)
    for name in dtype.names or ():
        is_cut = name.startswith("cut")
        records[name] = batch.parts[int(name[3:])][0] if is_cut else getattr(batch, name)
    return records


def _gather_different(hashes: Spilled, different: Spilled, setting: Setting) -> int:
    """Write the different rows of each part; return how many times the table holds itself."""
    divisor = rows = 0
    for at in range(hashes.parts):
        known = np.empty(0, dtype=different.dtype)
        for piece in hashes.pieces(at):
            fresh = np.zeros(len(piece), dtype=different.dtype)
            for name in set(different.dtype.names or ()) & set(hashes.dtype.names or ()):
                fresh[name] = piece[name]
            fresh["counts"] = 1
            known = _once_each(np.concatenate([known, fresh]))
        different.write(at, known)
        rows += len(known)
        divisor = math.gcd(divisor, int(np.gcd.reduce(known["counts"])) if len(known) else 0)
    return times_of(rows, divisor) if setting == "auto" else 1


def _once_each(records: Records) -> Records:
    """Return the different rows among records, rising, with their counts added up."""
    _, first, place = np.unique(records["rows"], return_index=True, return_inverse=True)
    once = records[first]
    once["counts"] = np.bincount(place, weights=records["counts"])
    return once


def different_rows(records: Records, *, times: int) -> DifferentRows:
    """Return the different rows of a part, of a table that holds itself so many times."""
    cuts = [name for name in records.dtype.names or () if name.startswith("cut")]
    features = np.ascontiguousarray(records["features"])
    return DifferentRows(
        rows=np.ascontiguousarray(records["rows"]),
        features=features,
        labels=np.ascontiguousarray(records["labels"]),
        parts=tuple((np.ascontiguousarray(records[c]), features - records[c]) for c in cuts),
        counts=records["counts"] // times,
    )


def _find_copies(different: Spilled, *, times: int, regression: bool, setting: Setting) -> None:
    """Write beside the different rows which of them have copies."""
    rows = sum(int(piece["counts"].sum()) for piece in different.everything()) // times
    rule = CopyRule(regression=regression, setting=setting, rows=rows)
    asked: dict[int, tuple[Hashes, ...]] = {}
    for at in range(different.parts):
        asked[at] = rule.asked(different_rows(different.read(at), times=times))
        many = sum(len(column) for columns in asked.values() for column in columns)
        if many >= _ASKED or at == different.parts - 1:
            _judge(different, rule, asked, times=times, regression=regression)
            asked = {}
    for at in range(different.parts):
        records = different.read(at)
        judged = Judged(records["by_features"], records["by_row"])
        found = rule.copies(different_rows(records, times=times), judged)
        records["by_features"], records["by_row"] = found
        different.write(at, records)


def _judge(
    different: Spilled,
    rule: CopyRule,
    asked: dict[int, tuple[Hashes, ...]],
    *,
    times: int,
    regression: bool,
) -> None:
    """Judge some parts, and write what is known of them until all are."""
    columns = zip(*asked.values(), strict=True)
    frequent = [Frequency(np.concatenate(column)) for column in columns]
    if any(len(one.keys) for one in frequent):
        for at in range(different.parts):
            part = different_rows(different.read(at), times=times)
            for one, keys in zip(frequent, columns_of(part, regression=regression), strict=True):
                one.count(keys, part.counts)
    for at, wanted in asked.items():
        records = different.read(at)
        counted = [one.at(keys) for one, keys in zip(frequent, wanted, strict=True)]
        judged = rule.judge(different_rows(records, times=times), counted)
        records["by_features"], records["by_row"] = judged.beyond, judged.same_number
        different.write(at, records)


def _number_units(hashes: Spilled, different: Spilled, rows: Spilled, *, times: int) -> Found:
    """Write the unit of each row, and return how many rows there are of which kind."""
    total = unlike = copied = groups = varied = 0
    for at in range(hashes.parts):
        once = different.read(at)
        unlike += len(once)
        targets = targets_of_copies(different_rows(once, times=times), once["by_features"])
        groups, varied = groups + len(targets), varied + int((targets > 1).sum())
        strata, stands = _strata(once), _heads(once)
        repeats = once["by_features"] | once["by_row"]
        seen = np.zeros(len(once), dtype=np.int64)
        for piece in hashes.pieces(at):
            place = np.searchsorted(once["rows"], piece["rows"])
            rank = ranks(place, seen)
            found = np.empty(len(piece), dtype=_UNIT)
            found["unit"] = units(
                np.ascontiguousarray(piece["rows"]),
                np.ascontiguousarray(piece["features"]),
                rank // times,
                by_features=once["by_features"][place],
                by_row=once["by_row"][place],
            )
            found["stratum"] = strata[place]
            found["further"] = further(rank, repeats[place], times=times)
            found["head"] = stands[place] & ~found["further"]
            found["several"] = repeats[place] | (times > 1)
            rows.append(at, found)
            total += len(piece)
            copied += int(found["further"].sum())
    return Found(
        rows=total,
        different=unlike,
        further=copied,
        times=times,
        observed=varies(varied, groups),
        alike=groups > 0,
    )


def _strata(once: Records) -> Hashes:
    """Return the class by which each row is drawn: of a unit of several, the one hashed lowest."""
    strata = np.array(once["labels"])
    together = np.flatnonzero(once["by_features"])
    if len(together):
        _, group = np.unique(once["features"][together], return_inverse=True)
        lowest = np.full(group.max() + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
        np.minimum.at(lowest, group, strata[together])
        strata[together] = lowest[group]
    return strata


def _heads(once: Records) -> np.ndarray:
    """Return which different rows may stand for a unit: of a group of copies only one may."""
    _, first = np.unique(once["features"], return_index=True)
    heads = ~once["by_features"]
    heads[first] = True
    return np.asarray(heads)
