"""Takes the rows that break checks out of a dataset, with the reasons; the rest goes on.

A row is taken out where it breaks an expectation about single rows that failed: one that tolerates
some (`mostly`) and holds leaves them in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from penstock.common import files
from penstock.data import arrow
from penstock.data.table import iter_batches, writing
from penstock.errors import InputError, IntegrityError
from penstock.quality import engine, wording
from penstock.quality.arguments import named_columns
from penstock.quality.checks.base import Check, Request
from penstock.quality.selections import selected
from penstock.quality.spec import Expectation
from penstock.quality.states.base import Rows
from penstock.quality.states.located import located
from penstock.quality.states.unique_key import Key
from penstock.records.dataset import Dataset
from penstock.records.quality import Unchanged

if TYPE_CHECKING:
    import pyarrow as pa

ROW, EXPECTATIONS, COLUMNS, REASONS = (
    "quarantine_row",
    "quarantine_expectations",
    "quarantine_columns",
    "quarantine_reasons",
)
"""Columns that quarantined rows have besides their own."""

_UNCHANGED = "_unchanged.json"
_BETWEEN = "; "

_Flags: TypeAlias = npt.NDArray[np.bool_]

_Test: TypeAlias = Callable[[Rows], _Flags]
"""Says of each row whether it breaks an expectation."""


@dataclass(frozen=True)
class BrokenRows:
    """The rows of a dataset that break some expectations about single rows.

    Args:
        folder: The dataset.
        dataset: Its record.
        failed: The expectations, by their place in the suite.
        tests: Of each, which rows break it.
        counts: Of each, how many do.
        rows: How many rows break one of them.
    """

    folder: Path
    dataset: Dataset
    failed: Mapping[int, Expectation]
    tests: Mapping[int, _Test]
    counts: Mapping[int, int]
    rows: int

    def write(
        self, *, valid: Path, quarantined: Path, accept: Callable[[Path], None]
    ) -> tuple[Dataset, Dataset]:
        """Write the rest and the broken rows as datasets: both, or neither.

        Args:
            valid: Where to write the rest.
            quarantined: Where to write the broken rows, with their reasons.
            accept: Is given the folder of the rest before it is in its place; may raise.

        Returns:
            The records of both.
        """
        note = f"{self.rows:,} of {self.dataset.rows:,} rows of {self.dataset.content}"
        with writing(valid) as rest, writing(quarantined) as apart:
            for rows in _rows_of(self.folder, [one.name for one in self.dataset.columns]):
                broken = self._matrix(rows)
                some = _any(broken)
                rest.add(rows.batch.filter(arrow.booleans(~some)))
                if some.any():
                    apart.add(self._with_reasons(rows, broken))
            facts = {
                "source": self.dataset.source,
                "reading": self.dataset.reading,
                "origin": self.dataset.origin_of_parts,
            }
            taken = apart.finish(**facts, notes=(f"quarantined: {note}",))
            left = rest.finish(
                **facts,
                assumptions=self.dataset.assumptions,
                notes=(*self.dataset.notes, f"without quarantined rows: {note}"),
            )
            accept(rest.folder)
        return left, taken

    def _matrix(self, rows: Rows) -> _Flags:
        return _matrix(rows, self.tests.values())

    def _with_reasons(self, rows: Rows, broken: _Flags) -> pa.RecordBatch:
        """Return the broken rows of a batch with the columns that say why."""
        import pyarrow as pa

        some = _any(broken)
        kinds, which = np.unique(broken[:, some], axis=1, return_inverse=True)
        taken = rows.batch.filter(arrow.booleans(some))
        arrays, names = list(taken.columns), list(taken.schema.names)
        arrays.append(arrow.integers(rows.numbers_in_table[some] + 1))
        sets = [self._broken_by(kind) for kind in kinds.T]
        at = arrow.integers(which.astype(np.int64))
        arrays += [arrow.texts(texts).take(at) for texts in zip(*map(_reasons, sets), strict=True)]
        return pa.RecordBatch.from_arrays(
            arrays, names=[*names, ROW, EXPECTATIONS, COLUMNS, REASONS]
        )

    def _broken_by(self, kind: _Flags) -> list[Expectation]:
        return [self.failed[at] for at, holds in zip(self.tests, kind, strict=True) if holds]


def _reasons(broken: Sequence[Expectation]) -> tuple[str, str, str]:
    columns = dict.fromkeys(name for one in broken for name in named_columns(one))
    return (
        _BETWEEN.join(one.type for one in broken),
        _BETWEEN.join(columns),
        _BETWEEN.join(map(wording.requirement, broken)),
    )


def tells_rows(expectation: Expectation, dataset: Dataset, at: int) -> bool:
    """Return whether an expectation is about single rows, and which rows break it is known.

    Args:
        expectation: Its columns are there.
        dataset: The record of the data.
        at: Its place in the suite.
    """
    check = engine.planned(expectation, dataset, at)
    return check is not None and check.rows is not None


def broken_rows(folder: Path, dataset: Dataset, failed: Mapping[int, Expectation]) -> BrokenRows:
    """Count the rows that break expectations about single rows.

    Args:
        folder: The dataset.
        dataset: Its record.
        failed: The expectations by their place in the suite; of each `tells_rows` is true.

    Raises:
        InputError: If the dataset has a column of a name that quarantined rows get.
    """
    taken = {ROW, EXPECTATIONS, COLUMNS, REASONS} & {one.name for one in dataset.columns}
    if taken:
        raise InputError(
            f"the column {min(taken)!r} has the name of one that quarantined rows get",
            where=str(folder),
            remedy="Give it another name, or set `validation.on_fail: refuse`.",
        )
    checks = {
        at: check
        for at, one in failed.items()
        if (check := engine.planned(one, dataset, at)) is not None
    }
    tests = {at: _test_of(folder, dataset, check) for at, check in checks.items()}
    columns = {name for check in checks.values() for name in check.requests[0].begin().columns}
    counts, total = np.zeros(len(tests), np.int64), 0
    for rows in _rows_of(folder, sorted(columns)):
        broken = _matrix(rows, tests.values())
        counts += broken.sum(axis=1)
        total += int(_any(broken).sum())
    by = dict(zip(tests, counts.tolist(), strict=True))
    return BrokenRows(folder, dataset, failed, tests, by, total)


def _test_of(folder: Path, dataset: Dataset, check: Check) -> _Test:
    if isinstance(check.rows, Key):
        request = Request(located, (check.rows, dataset.rows), check.selection)
        repeated = engine.found(folder, dataset, [request])[request]
        return lambda rows: _mask(rows, repeated)
    condition, selection = check.rows, check.selection
    assert condition is not None

    def breaks(rows: Rows) -> _Flags:
        import pyarrow.compute as pc

        among = rows if selection is None else selected(rows, selection)
        wrong = arrow.flags(pc.invert(condition(among)))
        return _mask(rows, among.numbers_in_table[wrong])

    return breaks


def _mask(rows: Rows, numbers: npt.NDArray[np.int64]) -> _Flags:
    """Return which rows of a batch are among those numbered, in order."""
    ends = [rows.start, rows.start + len(rows)]
    first, last = np.searchsorted(numbers, ends).tolist()
    mask = np.zeros(len(rows), dtype=bool)
    mask[numbers[first:last] - rows.start] = True
    return mask


def _any(broken: _Flags) -> _Flags:
    return np.asarray(broken.any(axis=0), dtype=bool)


def _matrix(rows: Rows, tests: Iterable[_Test]) -> _Flags:
    """Return for each test and each row whether the row breaks it."""
    return np.stack([test(rows) for test in tests])


def _rows_of(folder: Path, columns: Sequence[str]) -> Iterator[Rows]:
    start = 0
    for batch in iter_batches(folder, columns):
        yield Rows(batch, start)
        start += batch.num_rows


def say_unchanged(place: Path, dataset: Dataset) -> None:
    """Write in the place of a dataset that none was written, as no row was quarantined.

    Raises:
        InputError: If something is there.
    """
    with files.whole_folder(place) as folder:
        Unchanged(dataset=dataset.content).write(folder / _UNCHANGED)


def what_goes_on(dataset: Path, valid: Path | None) -> Path:
    """Return the dataset that goes on after a validation.

    Args:
        dataset: What was validated.
        valid: What the validation wrote as the rows that go on; None: all do.

    Raises:
        IntegrityError: If `valid` is of another dataset, or is none.

    Example:
        >>> what_goes_on(Path("people"), None)
        PosixPath('people')
    """
    if valid is None or Dataset.record_in(valid) is not None:
        return dataset if valid is None else valid
    place = valid / _UNCHANGED
    checked = Unchanged.read(place).dataset if place.is_file() else "none"
    content = Dataset.of(dataset).content
    if checked != content:
        raise IntegrityError(
            f"the rows that go on are those of the dataset {checked}, and not of {content}",
            where=str(valid),
            remedy="Give the step the dataset that was validated, and what validation wrote of it.",
        )
    return dataset
