"""A split carried out: rows are drawn, both parts written, and every claim proved from them."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np

from penstock.common.progress import say
from penstock.data.spec import SplitSpec
from penstock.data.split.checks import check_table, resolve_method
from penstock.data.split.classes import Classes
from penstock.data.split.repeats import Repeats, find_repeats
from penstock.data.split.sampling import Facts, Flags, Method, comparing, draw, filtered, scan
from penstock.data.table import read_dataset, write_dataset
from penstock.errors import IntegrityError
from penstock.records.dataset import Dataset, ProfiledColumn, Split
from penstock.records.model import Task

_OFF = 0.1
"""How far from the share asked for, as a part of it, a split may be without a word."""


@dataclass(frozen=True)
class _Drawn:
    """A table whose rows were drawn: facts of those with a target, and where every row goes."""

    facts: Facts
    repeats: Repeats
    held: Flags
    train: Flags
    holdout: Flags
    notes: tuple[str, ...]


def split(
    folder: Path, spec: SplitSpec, *, target: str, task: Task, train: Path, holdout: Path
) -> Split:
    """Divide a dataset into two, and prove the division from what was written.

    `stratified` draws within each class, `random` from all rows. `group` draws whole groups: of
    many orders the first that comes near the share, or the one that comes nearest. `time` holds out
    the newest rows, cut between two different times. Copies of a row stay on its side, and the
    holdout has each copied row once; rows that repeat by chance are split like any others
    (`penstock.data.split.repeats` tells them apart). A draw depends on the seed and the rows'
    content, not on their order. Memory is about 150 bytes a row.

    Args:
        folder: The dataset.
        spec: Method, column, share and seed; `auto` is stratified for classes, random for numbers.
        target: The column to predict; it must have a value in every row, unless
            `spec.drop_missing_target` leaves those rows out that have none.
        task: The resolved task.
        train: The folder to make for the training part.
        holdout: The folder to make for the holdout.

    Returns:
        The record of what was proved.

    Raises:
        InputError: If a column is absent or unfit, the target is missing, constant or has one class
            in a part, a class has too few rows, or there are too few at all. Nothing is left behind
            then.
        IntegrityError: If the dataset is not the one its record describes, or a proof fails.
    """
    dataset = read_dataset(folder)
    method = resolve_method(spec, task)
    check_table(dataset, spec, method, target=target, task=task)
    record = _divide(
        folder, dataset, spec, method, target=target, task=task, train=train, holdout=holdout
    )
    say(record.line())
    return record


def _divide(
    folder: Path,
    dataset: Dataset,
    spec: SplitSpec,
    method: Method,
    *,
    target: str,
    task: Task,
    train: Path,
    holdout: Path,
) -> Split:
    """Draw, write and prove; see `split`."""
    by = comparing(folder, dataset, target=target, column=spec.column)
    facts = scan(folder, dataset, target=target, column=spec.column, by=by)
    if facts.content != dataset.content:
        raise IntegrityError(
            f"the rows have digest {facts.content}, the record says {dataset.content}",
            where=str(folder),
            remedy="The data was changed after it was written: ingest it again.",
        )
    drawn = _draw(facts, folder, dataset, spec, method, target=target, task=task)
    with _removed_on_error() as made:
        parts = _write(folder, dataset, drawn, made, train=train, holdout=holdout)
        record = _record(drawn, spec, method, parts, target=target, task=task)
        scanned = [
            scan(path, part, target=target, column=record.column, by=by)
            for path, part in zip((train, holdout), parts, strict=True)
        ]
        return _proved(record, drawn, parts, scanned, where=str(holdout))


def _draw(
    facts: Facts,
    folder: Path,
    dataset: Dataset,
    spec: SplitSpec,
    method: Method,
    *,
    target: str,
    task: Task,
) -> _Drawn:
    labelled = ~facts.unlabelled
    chosen = facts if labelled.all() else facts.select(labelled)
    repeats = find_repeats(chosen, regression=task == "regression", setting=spec.repeats)
    notes: list[str] = []
    if task == "regression":
        held = draw(chosen, repeats, spec, method)
    else:
        classes = Classes(folder, dataset, target=target, labels=chosen.labels, repeats=repeats)
        classes.check_before(method)
        held = draw(chosen, repeats, spec, method)
        notes += classes.check(held)
    train, holdout = np.zeros_like(labelled), np.zeros_like(labelled)
    train[labelled] = ~held
    # A copy tells nothing more of a model than the row it repeats, and intervals would take it for
    # another one.
    holdout[labelled] = held & ~repeats.further
    share = holdout.sum() / (~repeats.further).sum()
    if abs(share - spec.holdout) > _OFF * spec.holdout:
        what = {"group": "the groups", "time": "the times"}.get(method, "the rows")
        notes.append(f"{spec.holdout:.1%} were to be held out; {what} allow {share:.1%}.")
    return _Drawn(chosen, repeats, held, train, holdout, tuple(notes))


def _write(
    folder: Path, dataset: Dataset, drawn: _Drawn, made: list[Path], *, train: Path, holdout: Path
) -> tuple[Dataset, Dataset]:
    parts: tuple[tuple[Path, Literal["train", "holdout"], Flags], ...] = (
        (train, "train", drawn.train),
        (holdout, "holdout", drawn.holdout),
    )
    records = []
    for path, part, mask in parts:
        records.append(
            write_dataset(
                filtered(folder, mask),
                output=path,
                source=dataset.source,
                notes=dataset.notes,
                assumptions=dataset.assumptions,
                reading=dataset.reading,
                parent=dataset.content,
                part=part,
                sample_of=int(mask.sum()) if part == "holdout" else None,
            )
        )
        made.append(path)
    return records[0], records[1]


@contextlib.contextmanager
def _removed_on_error() -> Iterator[list[Path]]:
    """Yield a list for the folders that were made, which go if the block fails."""
    made: list[Path] = []
    try:
        yield made
    except BaseException:
        for folder in made:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _record(
    drawn: _Drawn,
    spec: SplitSpec,
    method: Method,
    parts: tuple[Dataset, Dataset],
    *,
    target: str,
    task: Task,
) -> Split:
    """Return the record, with what both parts have yet to prove."""
    repeats = drawn.repeats
    return Split(
        method=method,
        column=spec.column if method in ("time", "group") else "",
        seed=spec.seed,
        target=target,
        task=task,
        parent=parts[0].parent or "",
        train=parts[0].content,
        holdout=parts[1].content,
        train_rows=parts[0].rows,
        holdout_rows=parts[1].rows,
        share=parts[1].rows / int((~repeats.further).sum()),
        repeats=spec.repeats,
        duplicate_rows=repeats.equal,
        copied_rows=repeats.copies,
        copies_left_out=int((drawn.held & repeats.further).sum()),
        rows_in_both=0,
        groups_in_both=0,
        without_target=len(drawn.train) - len(drawn.held),
        boundary=_boundary(parts[1].column(spec.column)) if method == "time" else None,
        notes=drawn.notes,
    )


def _proved(
    record: Split,
    drawn: _Drawn,
    parts: tuple[Dataset, Dataset],
    scanned: list[Facts],
    *,
    where: str,
) -> Split:
    """Establish every claim of the record from both parts as they were read back."""
    left, right = scanned
    for facts, part in zip(scanned, parts, strict=True):
        _require(facts.content == part.content, "the rows read back are not those written", where)
    written = drawn.facts.rows[~(drawn.held & drawn.repeats.further)]
    both_parts = np.concatenate([left.rows, right.rows])
    _require(
        np.array_equal(np.sort(both_parts), np.sort(written)),
        "the two parts together are not the whole dataset",
        where,
    )
    copies = _copies_in_both(left, right, drawn)
    groups = len(np.intersect1d(left.keys, right.keys)) if record.column else 0
    _require(copies == 0, f"copies of {copies:,} rows are on both sides", where)
    _require(groups == 0, f"{groups:,} values of {record.column!r} are on both sides", where)
    if record.method == "time":
        _require(left.times.max() < right.times.min(), "the holdout is not the newest", where)
    both = len(np.intersect1d(left.rows, right.rows))
    return record.model_copy(update={"rows_in_both": both})


def _copies_in_both(left: Facts, right: Facts, drawn: _Drawn) -> int:
    """Return how many rows have copies on both sides."""
    repeats, facts = drawn.repeats, drawn.facts
    found = 0
    for hashes, flags, sides in (
        (facts.features, repeats.by_features, (left.features, right.features)),
        (facts.rows, repeats.by_row, (left.rows, right.rows)),
    ):
        found += len(np.intersect1d(np.intersect1d(*sides), hashes[flags]))
    if repeats.times > 1:
        counts = np.unique(left.rows, return_counts=True)[1]
        found += int((counts % repeats.times != 0).sum())
    return found


def _require(proved: bool, otherwise: str, where: str) -> None:
    if not proved:
        raise IntegrityError(
            f"the split failed its proof: {otherwise}",
            where=where,
            remedy="Run it again; if it persists, the disk or this program is at fault.",
        )


def _boundary(column: ProfiledColumn | None) -> datetime | None:
    """Return the first time in the holdout; a numeric time has none."""
    return column.profile.earliest if column is not None else None
