"""Whether both parts of a split hold what a classification needs of each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from penstock.data.hashing.digest import CellHasher
from penstock.data.split.copy_rule import Numbers
from penstock.data.split.hashed_table import HashedTable
from penstock.data.split.sampling import LEARNED, Method
from penstock.data.table import iter_batches
from penstock.errors import InputError
from penstock.records.dataset import Dataset

_SHOWN = 5


class Classes:
    """The classes of a table whose rows are split, and their names for messages.

    Args:
        folder: The dataset.
        dataset: Its record.
        target: The column to predict.
        table: Its rows. Copies are one row here.

    Attributes:
        codes: Hash of each class, rising.
    """

    def __init__(self, folder: Path, dataset: Dataset, *, target: str, table: HashedTable) -> None:
        self._folder, self._dataset, self._target = folder, dataset, target
        self.codes = table.classes()
        self._rows, self._different = (np.zeros(len(self.codes), dtype=np.int64) for _ in range(2))
        for piece in table.everything():
            place = np.searchsorted(self.codes, piece.hashes["labels"])
            self._rows += np.bincount(place, minlength=len(self.codes))
            counted = place[~piece.units["further"]]
            self._different += np.bincount(counted, minlength=len(self.codes))

    def check_before(self, method: Method) -> None:
        """Refuse classes of too few rows to be in both parts of a stratified split.

        Raises:
            InputError: If a class has fewer than three rows, copies counted once.
        """
        if method != "stratified":
            return
        few = self._different < LEARNED + 1
        if few.any():
            self._refuse(
                few,
                f"{LEARNED + 1} are needed: 1 to judge on and {LEARNED} to learn from in "
                "cross-validation",
            )

    def check(self, train: Numbers, holdout: Numbers) -> tuple[str, ...]:
        """Refuse parts that cannot be learned from or judged on; return what is worth knowing.

        Args:
            train: How many rows the training part has of each class, in the order of `codes`.
            holdout: How many the holdout has.

        Raises:
            InputError: If a part holds one class only, a class is in the holdout alone, or the
                training part has too few rows of one for cross-validation.
        """
        for part, counts in (("training part", train), ("holdout", holdout)):
            if (counts > 0).sum() < 2:
                only = self._names(np.flatnonzero(counts > 0))
                raise InputError(
                    f"the {part} would hold one class only ({only or 'none'})",
                    where=f"target {self._target!r}",
                    remedy="Use split.method: stratified, another share, or bring more rows of "
                    f"the other class{'es' if len(counts) > 2 else ''}: "
                    f"{self._names(np.flatnonzero(counts == 0))}.",
                )
        unseen = np.flatnonzero((train == 0) & (holdout > 0))
        if len(unseen):
            raise InputError(
                f"the class {self._names(unseen[:1])} would be in the holdout alone, where no "
                "model can know it",
                where=f"target {self._target!r}",
                remedy="Use split.method: stratified, another share, or bring more rows of this "
                "class.",
            )
        if (train < LEARNED).any():
            self._refuse(
                train < LEARNED,
                f"the training part needs {LEARNED} of it, for cross-validation",
            )
        absent = np.flatnonzero(holdout == 0)
        if not len(absent):
            return ()
        return (
            f"The holdout has no row of {self._names(absent)}: how well "
            f"{'it is' if len(absent) == 1 else 'they are'} predicted is not judged.",
        )

    def _refuse(self, short: np.ndarray, needed: str) -> None:
        place = int(np.flatnonzero(short)[0])
        rows = int(self._rows[place])
        counted = int(self._different[place])
        copies = f", copies of {counted}" if counted < rows else ""
        others = int(short.sum()) - 1
        also = f" ({others} more classes are as rare)" if others else ""
        raise InputError(
            f"the class {self._names([place])} has only {rows} row{'s' if rows > 1 else ''}"
            f"{copies}; {needed}{also}",
            where=f"target {self._target!r}",
            remedy="Bring more rows of this class, merge it with another, or leave its rows out of "
            "the table. A class that has fewer rows in the training part than training.folds makes "
            "the number of folds smaller.",
        )

    def _names(self, places: Sequence[int] | np.ndarray) -> str:
        """Return some classes as a message lists them."""
        shown = {int(self.codes[place]) for place in places[:_SHOWN]}
        column = self._dataset.column(self._target)
        assert column is not None
        hasher = CellHasher(column)
        found: dict[int, str] = {}
        for batch in iter_batches(self._folder, [self._target]):
            hashes, first = np.unique(hasher.hashes(batch.column(0)), return_index=True)
            for one, at in zip(hashes.tolist(), first.tolist(), strict=True):
                if one in shown:
                    found.setdefault(one, repr(batch.column(0)[at].as_py()))
            if len(found) == len(shown):
                break
        more = len(places) - len(shown)
        return ", ".join(sorted(found.values())) + (f" and {more} more" if more > 0 else "")
