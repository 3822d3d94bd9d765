"""What a split knows of the rows of its training part, kept beside them for training.

Training needs hashes of its rows for three things: that the rows are the ones that were split,
which of them are copies, and what the model carries to know them again. The split has hashed them,
so it writes the last two beside the rows, and the digest of all these files into its record. Files
with that digest are those that the split read back, value by value: training hashes bytes, which is
cheaper, and no row again. Without such a digest, or where the files have another, it hashes rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from penstock.common import files
from penstock.data.hashing.digest import Hashes
from penstock.data.hashing.rows import kept
from penstock.data.split.repeats import Copies, Flags, Numbers, Repeats, Setting, find_repeats
from penstock.data.split.table_hashes import TableHashes, hash_table
from penstock.records.dataset import Dataset, Split, TrainingRows

HASHES, COPIES = "_hashes.npy", "_copies.npy"
"""Whatever reads the folder as Parquet passes them over."""

_COPY = np.dtype([("row", "<i8"), ("unit", "<i8"), ("further", "?")])


@dataclass(frozen=True)
class KnownRows:
    """What is known of the rows of a training part.

    Attributes:
        hashes: The different row hashes, sorted; the lowest of them where there are too many.
        complete: Whether these are all.
        known: Share of fresh rows that would equal one of them by chance.
        copies: Which rows are copies of others; None where none is.
    """

    hashes: Hashes
    complete: bool
    known: float
    copies: Copies | None

    def of(self, chosen: Numbers) -> KnownRows:
        """Return the same, with the copies among some of the rows: `hashes` are still of all.

        Where none of a unit's rows is judged, as the one that was is not among them, its first is.
        """
        if self.copies is None:
            return self
        units, further = self.copies.units[chosen], self.copies.further[chosen]
        _, first, place = np.unique(units, return_index=True, return_inverse=True)
        judged = np.bincount(place, weights=~further)
        further[first[judged == 0]] = False
        return replace(self, copies=Copies(units, further))


def known_rows(hashes: TableHashes, repeats: Repeats, chosen: Flags | None = None) -> KnownRows:
    """Return what is known of some rows of a table.

    Args:
        hashes: Of all its rows.
        repeats: Which of them repeat.
        chosen: Which rows are meant, whole units; None: all.
    """
    rows = hashes.rows if chosen is None else hashes.rows[chosen]
    lowest, complete = kept(rows)
    if not repeats.equal and not repeats.by_features.any():
        return KnownRows(lowest, complete, 0.0, None)
    copies: Copies = repeats
    if chosen is not None:
        copies = Copies(repeats.units[chosen], repeats.further[chosen])
    return KnownRows(lowest, complete, repeats.known(hashes.rows, chosen), copies)


def write_known_rows(folder: Path, known: KnownRows) -> None:
    """Write what is known of its rows into the folder of a training part, before it is whole."""
    _save(folder / HASHES, known.hashes.astype("<u8"))
    if known.copies is not None:
        _save(folder / COPIES, _together(known.copies))


def record_of(folder: Path, dataset: Dataset, known: KnownRows) -> TrainingRows:
    """Return what a split's record says of a training part that was written and read back."""
    return TrainingRows(
        files=_digest_of_files(folder, dataset), all_hashed=known.complete, known=known.known
    )


def read_known_rows(
    folder: Path, dataset: Dataset, *, target: str, regression: bool, split: Split | None
) -> KnownRows:
    """Return what is known of a training part, as its split found it or by hashing its rows.

    Args:
        folder: The training part.
        dataset: Its record.
        target: The column to predict.
        regression: Whether the target is a number.
        split: The record of the split that made the part, if there is one.

    Raises:
        IntegrityError: If the rows are not the ones of the record.
    """
    told = split.training_rows if split is not None else None
    if told is not None and told.files == _digest_of_files(folder, dataset):
        there = (folder / COPIES).is_file()
        copies = _apart(np.load(folder / COPIES), dataset.rows) if there else None
        return KnownRows(np.load(folder / HASHES), told.all_hashed, told.known, copies)
    setting: Setting = "auto" if split is None else split.repeats
    column = "" if split is None else split.column
    hashes = hash_table(folder, dataset, target=target, column=column)
    return known_rows(hashes, find_repeats(hashes, regression=regression, setting=setting))


def _digest_of_files(folder: Path, dataset: Dataset) -> str:
    names = [listed.name for listed in dataset.files]
    names += [name for name in (HASHES, COPIES) if (folder / name).is_file()]
    body = {
        "columns": [[column.name, column.type] for column in dataset.columns],
        "files": {name: files.digest_of_file(folder / name) for name in names},
    }
    return files.digest_of_text(files.canonical_json(body))


def _together(copies: Copies) -> np.ndarray:
    """Return the rows of units of several, which are few where copies are."""
    _, unit, counts = np.unique(copies.units, return_inverse=True, return_counts=True)
    rows = np.flatnonzero(counts[unit] > 1)
    found = np.empty(len(rows), dtype=_COPY)
    found["row"], found["unit"], found["further"] = rows, unit[rows], copies.further[rows]
    return found


def _apart(found: np.ndarray, rows: int) -> Copies:
    """Return the units of all rows: those that are not among the found ones are alone in theirs."""
    units, further = np.arange(rows, dtype=np.uint64), np.zeros(rows, dtype=np.bool_)
    units[found["row"]] = rows + found["unit"]
    further[found["row"]] = found["further"]
    return Copies(units, further)


def _save(path: Path, values: np.ndarray) -> None:
    with path.open("wb") as stream:
        np.save(stream, values, allow_pickle=False)
