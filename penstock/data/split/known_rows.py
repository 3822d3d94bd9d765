"""What a split knows of the rows of its training part, kept beside them for training.

Training needs hashes of its rows for three things: that the rows are the ones that were split,
which of them are copies, and what the model carries to know them again. The split has hashed them,
so it writes the last two beside the rows, and the digest of all these files into its record. Files
with that digest are those that the split read back, value by value: training hashes bytes, which is
cheaper, and no row again. Without such a digest, or where the files have another, it hashes rows as
a split does: into files, part by part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from penstock.common import files
from penstock.data.hashing.digest import Hashes
from penstock.data.split.assignment import TRAIN, Assignment, assign
from penstock.data.split.copy_rule import Flags, Numbers
from penstock.data.split.hashed_table import NO_PART, Piece, hash_into
from penstock.data.split.repeats import Copies
from penstock.data.split.spilled import SLICE
from penstock.data.table.disk import disk_errors
from penstock.records.dataset import Dataset, Split, TrainingRows

HASHES, COPIES = "_hashes.npy", "_copies.npy"
"""Whatever reads the folder as Parquet passes them over."""

_COPY = np.dtype([("row", "<i8"), ("unit", "<i8"), ("further", "?")])
_SEVERAL = np.dtype([("row", "<i8"), ("unit", "<u8"), ("further", "?")])


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


def write_known_rows(folder: Path, assignment: Assignment) -> None:
    """Write what is known of its rows into the folder of a training part, before it is whole.

    Memory is about 40 bytes for each row of the training part that has a copy in it.
    """
    lowest, _ = assignment.train.lowest.kept()
    _save(folder / HASHES, lowest.astype("<u8"))
    if assignment.table.found.repeats:
        _save(folder / COPIES, _together(assignment))


def record_of(folder: Path, dataset: Dataset, assignment: Assignment) -> TrainingRows:
    """Return what a split's record says of a training part that was written and read back."""
    return TrainingRows(
        files=_digest_of_files(folder, dataset),
        all_hashed=assignment.train.lowest.kept()[1],
        known=assignment.known,
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
    return _hashed(folder, dataset, target=target, regression=regression, split=split)


def _hashed(
    folder: Path, dataset: Dataset, *, target: str, regression: bool, split: Split | None
) -> KnownRows:
    """Hash the rows of a training part into files, some 130 bytes a row, removed at the end."""
    with TemporaryDirectory(prefix="penstock-rows-") as name:
        work = Path(name)
        with disk_errors(work):
            table = hash_into(
                work,
                folder,
                dataset,
                target=target,
                column="" if split is None else split.column,
                regression=regression,
                setting="auto" if split is None else split.repeats,
            )
            none = np.empty(0, dtype=np.uint64)
            assignment = assign(table, dataset, _Undivided(), work=work, method="", classes=none)
        lowest, complete = assignment.train.lowest.kept()
        copies = _apart(_together(assignment), dataset.rows) if table.found.repeats else None
        return KnownRows(lowest, complete, assignment.known, copies)


class _Undivided:
    """The draw of a table that is all training part."""

    def held(self, rows: Piece) -> Flags:
        return np.zeros(len(rows.hashes), dtype=np.bool_)


def _digest_of_files(folder: Path, dataset: Dataset) -> str:
    names = [listed.name for listed in dataset.files]
    names += [name for name in (HASHES, COPIES) if (folder / name).is_file()]
    body = {
        "columns": [[column.name, column.type] for column in dataset.columns],
        "files": {name: files.digest_of_file(folder / name) for name in names},
    }
    return files.digest_of_text(files.canonical_json(body))


def _together(assignment: Assignment) -> np.ndarray:
    """Return the rows of the training part that are in units of several, and the unit's number.

    Units are numbered in the order of all of the training part.
    """
    rows = _of_several(assignment)
    units = np.unique(rows["unit"])
    lower = np.zeros(len(units) + 1, dtype=np.int64)
    for at in range(assignment.table.parts):
        pieces = zip(assignment.sides.pieces(at), assignment.table.units.pieces(at), strict=True)
        for sides, piece in pieces:
            heads = piece["unit"][(sides == TRAIN) & piece["head"]]
            place = np.searchsorted(units, heads, side="right")
            lower += np.bincount(place, minlength=len(lower))
    number = np.cumsum(lower)[:-1]
    found = np.empty(len(rows), dtype=_COPY)
    found["row"], found["further"] = rows["row"], rows["further"]
    found["unit"] = number[np.searchsorted(units, rows["unit"])]
    return found


def _of_several(assignment: Assignment) -> np.ndarray:
    """Return the rows of units of several in the order of the training part."""
    table, found, start = assignment.table, [np.empty(0, dtype=_SEVERAL)], 0
    with (
        table.order.open("rb") as order,
        assignment.sides.in_order() as sides,
        table.units.in_order() as units,
    ):
        while len(parts := np.fromfile(order, dtype="<u2", count=SLICE)):
            parts = parts[parts != NO_PART]
            learned = units.take(parts)[sides.take(parts) == TRAIN]
            places = np.flatnonzero(learned["several"])
            here = np.empty(len(places), dtype=_SEVERAL)
            here["row"] = start + places
            here["unit"], here["further"] = learned["unit"][places], learned["further"][places]
            found.append(here)
            start += len(learned)
    return np.concatenate(found)


def _apart(found: np.ndarray, rows: int) -> Copies:
    """Return the units of all rows: those that are not among the found ones are alone in theirs."""
    units, further = np.arange(rows, dtype=np.uint64), np.zeros(rows, dtype=np.bool_)
    units[found["row"]] = rows + found["unit"]
    further[found["row"]] = found["further"]
    return Copies(units, further)


def _save(path: Path, values: np.ndarray) -> None:
    with path.open("wb") as stream:
        np.save(stream, values, allow_pickle=False)
