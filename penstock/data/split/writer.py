"""A split carried out: rows are drawn, both parts written in one pass, and every claim proved."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np

from penstock.common.files import folder_beside
from penstock.common.memory import return_freed
from penstock.common.progress import say
from penstock.data.spec import SplitSpec
from penstock.data.split.assignment import Assignment, assign, assigned
from penstock.data.split.checks import check_table, resolve_method
from penstock.data.split.classes import Classes
from penstock.data.split.hashed_table import HashedTable, hash_into
from penstock.data.split.known_rows import record_of, write_known_rows
from penstock.data.split.proof import check_written, prove
from penstock.data.split.sampling import Method, draw
from penstock.data.table import read_dataset, writing
from penstock.data.table.disk import disk_errors
from penstock.records.dataset import Dataset, ProfiledColumn, Split
from penstock.records.model import Task

_OFF = 0.1
"""How far from the requested share, as a part of it, a split may be without a note."""


def split(
    folder: Path, spec: SplitSpec, *, target: str, task: Task, train: Path, holdout: Path
) -> Split:
    """Divide a dataset into two, and prove the assignment from what was written.

    `stratified` draws within each class, `random` from all rows. `group` draws whole groups: of
    many orders the first that comes near the share, or the one that comes nearest. `time` holds out
    the newest rows, cut between two different times. Copies of a row stay on its side, and the
    holdout has each copied row once; rows that repeat by chance are split like any others
    (`penstock.data.split.repeats` decides which). A draw depends on the seed and the rows'
    content, not on their order. Memory does not grow with rows, except for copies (some 40 bytes
    each) and groups; about 150 bytes a row lie beside the training part meanwhile.

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
    with (
        disk_errors(train),
        folder_beside(train, kind="hashes") as work,
        _removed_on_error() as made,
    ):
        table = hash_into(
            work,
            folder,
            dataset,
            target=target,
            column=spec.column,
            regression=task == "regression",
            setting=spec.repeats,
        )
        return_freed()
        assignment, notes = _draw(table, work, folder, dataset, spec, method, target, task)
        return_freed()
        parts = _write(folder, dataset, assignment, made, train=train, holdout=holdout)
        return_freed()
        check_written(folder, assignment, train=train, holdout=holdout)
        record = _record(
            assignment, spec, method, parts, notes, rows=dataset.rows, target=target, task=task
        )
        told = record_of(train, parts[0], assignment)
        record = record.model_copy(update={"training_rows": told})
        return prove(record, assignment, where=str(holdout))


def _draw(
    table: HashedTable,
    work: Path,
    folder: Path,
    dataset: Dataset,
    spec: SplitSpec,
    method: Method,
    target: str,
    task: Task,
) -> tuple[Assignment, tuple[str, ...]]:
    """Draw rows, and return what a reader should know of it."""
    if task == "regression":
        none = np.empty(0, dtype=np.uint64)
        drawn = draw(table, spec, method)
        assignment = assign(table, dataset, drawn, work=work, method=method, classes=none)
        notes: tuple[str, ...] = ()
    else:
        classes = Classes(folder, dataset, target=target, table=table)
        classes.check_before(method)
        drawn = draw(table, spec, method)
        assignment = assign(table, dataset, drawn, work=work, method=method, classes=classes.codes)
        notes = classes.check(assignment.train.classes, assignment.holdout.classes)
    if abs(assignment.share - spec.holdout) > _OFF * spec.holdout:
        what = {"group": "the groups", "time": "the times"}.get(method, "the rows")
        share = f"{spec.holdout:.1%} were to be held out; {what} allow {assignment.share:.1%}."
        notes = (*notes, share)
    return assignment, notes


def _write(
    folder: Path,
    dataset: Dataset,
    assignment: Assignment,
    made: list[Path],
    *,
    train: Path,
    holdout: Path,
) -> tuple[Dataset, Dataset]:
    """Write both parts in one pass; their digests are sums of hashes that are known."""
    facts = {
        "source": dataset.source,
        "notes": dataset.notes,
        "assumptions": dataset.assumptions,
        "reading": dataset.reading,
        "parent": dataset.content,
        "origin": dataset.origin_of_parts,
    }
    sample_of = assignment.holdout.digest.rows
    with writing(train, digest=assignment.train.digest) as to_train:
        with writing(holdout, digest=assignment.holdout.digest, sample_of=sample_of) as to_holdout:
            for learned, judged in assigned(folder, assignment):
                to_train.add(learned)
                to_holdout.add(judged)
            held_out = to_holdout.finish(part="holdout", **facts)
        made.append(holdout)
        write_known_rows(to_train.folder, assignment)
        learned_from = to_train.finish(part="train", **facts)
    made.append(train)
    return learned_from, held_out


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
    assignment: Assignment,
    spec: SplitSpec,
    method: Method,
    parts: tuple[Dataset, Dataset],
    notes: tuple[str, ...],
    *,
    rows: int,
    target: str,
    task: Task,
) -> Split:
    """Return the record, with what both parts have yet to prove."""
    found = assignment.table.found
    return Split(
        method=method,
        column=spec.column if method in ("time", "group") else "",
        seed=spec.seed,
        settings=spec.model_dump(mode="json", exclude_defaults=True),
        target=target,
        task=task,
        parent=parts[0].parent or "",
        train=parts[0].content,
        holdout=parts[1].content,
        train_rows=parts[0].rows,
        holdout_rows=parts[1].rows,
        share=assignment.share,
        repeats=spec.repeats,
        duplicate_rows=found.rows - found.different,
        copied_rows=found.further,
        copies_left_out=assignment.left_out,
        rows_in_both=0,
        groups_in_both=0,
        without_target=rows - found.rows,
        boundary=_boundary(parts[1].column(spec.column)) if method == "time" else None,
        notes=notes,
    )


def _boundary(column: ProfiledColumn | None) -> datetime | None:
    """Return the first time in the holdout; a numeric time has none."""
    return column.profile.earliest if column is not None else None
