"""Which rows of a dataset are held out, from hashes of the rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from penstock.data import arrow
from penstock.data.digest import CellHasher, Hashes, RowDigest, RowHashes, mix
from penstock.data.spec import SplitSpec
from penstock.data.table import iter_batches
from penstock.records.dataset import Dataset

if TYPE_CHECKING:
    import pyarrow as pa

Method = Literal["stratified", "random", "time", "group"]


@dataclass(frozen=True)
class Facts:
    """What a split needs to know of every row: hashes, not values."""

    content: str
    sums: tuple[int, int]
    rows: Hashes
    labels: Hashes
    keys: Hashes
    """Hash of the group, or nothing."""
    times: npt.NDArray[Any]
    """The time column's values, or nothing."""


def scan(folder: Path, dataset: Dataset, *, target: str, column: str) -> Facts:
    """Read a dataset once and keep the hashes of rows, labels and groups, and the times."""
    hashers = [CellHasher(c) for c in dataset.columns]
    digest = RowDigest(dataset.columns)
    found: dict[str, list[npt.NDArray[Any]]] = {"rows": [], "labels": [], "keys": [], "times": []}
    for batch in iter_batches(folder):
        hashes = RowHashes(batch.num_rows)
        for hasher, known, array in zip(hashers, dataset.columns, batch.columns, strict=True):
            cells = hasher.hashes(array)
            if known.name == target:
                found["labels"].append(cells.copy())
            if known.name == column:
                found["keys"].append(cells.copy())
                if known.type != "string":
                    found["times"].append(_values(array))
            hashes.add(cells, hasher.weight)
        found["rows"].append(digest.add(hashes))
    joined = {name: np.concatenate(p) if p else np.empty(0, np.uint64) for name, p in found.items()}
    return Facts(content=digest.content(), sums=digest.sums, **joined)


def _values(array: pa.Array) -> npt.NDArray[Any]:
    import pyarrow as pa

    plain = array.view(pa.int64()) if pa.types.is_timestamp(array.type) else array
    return np.asarray(plain.to_numpy(zero_copy_only=False))


def draw(facts: Facts, spec: SplitSpec, method: Method) -> npt.NDArray[np.bool_]:
    """Return for each row whether it is held out."""
    if method == "time":
        return _draw_by_time(facts.times, spec)
    if method == "group":
        return _draw_units(facts.keys, spec)
    if method == "random":
        return _draw_units(facts.rows, spec)
    held = np.zeros(len(facts.rows), dtype=np.bool_)
    for label in np.unique(facts.labels):
        members = np.flatnonzero(facts.labels == label)
        held[members] = _draw_units(facts.rows[members], spec)
    return held


def _draw_units(units: Hashes, spec: SplitSpec) -> npt.NDArray[np.bool_]:
    """Hold out whole units (rows with the same hash) whose sizes add up nearest to the share.

    With two units or more, each side gets at least one.
    """
    distinct, place, sizes = np.unique(units, return_inverse=True, return_counts=True)
    seed = mix(np.array([spec.seed], dtype=np.uint64))
    order = np.argsort(mix(distinct ^ seed), kind="stable")
    reached = np.cumsum(sizes[order])
    count = 1 + int(np.abs(reached - spec.holdout * len(units)).argmin())
    chosen = np.zeros(len(distinct), dtype=np.bool_)
    chosen[order[: min(count, len(distinct) - 1)]] = True
    return np.asarray(chosen[place])


def _draw_by_time(times: npt.NDArray[Any], spec: SplitSpec) -> npt.NDArray[np.bool_]:
    """Hold out the rows from a time on, chosen nearest to the share."""
    distinct, sizes = np.unique(times, return_counts=True)
    newer = np.cumsum(sizes[::-1])[::-1][1:]
    first = 1 + int(np.abs(newer - spec.holdout * len(times)).argmin())
    return np.asarray(times >= distinct[first])


def filtered(folder: Path, mask: npt.NDArray[np.bool_]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a dataset for which `mask` is true."""
    start = 0
    for batch in iter_batches(folder):
        yield batch.filter(arrow.booleans(mask[start : start + batch.num_rows]))
        start += batch.num_rows
