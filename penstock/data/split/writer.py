"""A split carried out: rows are drawn, both parts written in one pass, and every claim proved."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np

from penstock.common.progress import say
from penstock.data.hashing.digest import RowDigest, RowHashes
from penstock.data.spec import SplitSpec
from penstock.data.split.checks import check_table, resolve_method
from penstock.data.split.classes import Classes
from penstock.data.split.known_rows import KnownRows, known_rows, record_of, write_known_rows
from penstock.data.split.proof import check_written, prove
from penstock.data.split.repeats import find_repeats
from penstock.data.split.sampling import Drawn, Method, divided, draw
from penstock.data.split.table_hashes import TableHashes, hash_table
from penstock.data.table import read_dataset, writing
from penstock.records.dataset import Dataset, ProfiledColumn, Split
from penstock.records.model import Task

_OFF = 0.1
"""How far from the requested share, as a part of it, a split may be without a note."""


def split(
    folder: Path, spec: SplitSpec, *, target: str, task: Task, train: Path, holdout: Path
) -> Split:
    """Divide a dataset into two, and prove the division from what was written.

    `stratified` draws within each class, `random` from all rows. `group` draws whole groups: of
    many orders the first that comes near the share, or the one that comes nearest. `time` holds out
    the newest rows, cut between two different times. Copies of a row stay on its side, and the
    holdout has each copied row once; rows that repeat by chance are split like any others
    (`penstock.data.split.repeats` decides which). A draw depends on the seed and the rows'
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
    hashes = hash_table(folder, dataset, target=target, column=spec.column)
    drawn = _draw(hashes, folder, dataset, spec, method, target=target, task=task)
    with _removed_on_error() as made:
        known = known_rows(drawn.hashes, drawn.repeats, ~drawn.held)
        parts = _write(folder, dataset, drawn, made, train=train, holdout=holdout, known=known)
        check_written(folder, drawn, train=train, holdout=holdout)
        record = _record(drawn, spec, method, parts, target=target, task=task)
        told = record_of(train, parts[0], known)
        record = record.model_copy(update={"training_rows": told})
        return prove(record, drawn, where=str(holdout))


def _draw(
    hashes: TableHashes,
    folder: Path,
    dataset: Dataset,
    spec: SplitSpec,
    method: Method,
    *,
    target: str,
    task: Task,
) -> Drawn:
    labelled = ~hashes.unlabelled
    chosen = hashes if labelled.all() else hashes.select(labelled)
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
    # A copy shows nothing more of a model than the row it repeats, and intervals would take it for
    # another one.
    holdout[labelled] = held & ~repeats.further
    share = holdout.sum() / (~repeats.further).sum()
    if abs(share - spec.holdout) > _OFF * spec.holdout:
        what = {"group": "the groups", "time": "the times"}.get(method, "the rows")
        notes.append(f"{spec.holdout:.1%} were to be held out; {what} allow {share:.1%}.")
    return Drawn(chosen, repeats, held, train, holdout, tuple(notes))


def _write(
    folder: Path,
    dataset: Dataset,
    drawn: Drawn,
    made: list[Path],
    *,
    train: Path,
    holdout: Path,
    known: KnownRows,
) -> tuple[Dataset, Dataset]:
    """Write both parts in one pass; their digests are sums of hashes that are known."""
    digests = [_digest(dataset, hashes) for hashes in drawn.parts()]
    facts = {
        "source": dataset.source,
        "notes": dataset.notes,
        "assumptions": dataset.assumptions,
        "reading": dataset.reading,
        "parent": dataset.content,
    }
    sample_of = int(drawn.holdout.sum())
    with writing(train, digest=digests[0]) as to_train:
        with writing(holdout, digest=digests[1], sample_of=sample_of) as to_holdout:
            for learned, judged in divided(folder, drawn):
                to_train.add(learned)
                to_holdout.add(judged)
            held_out = to_holdout.finish(part="holdout", **facts)
        made.append(holdout)
        write_known_rows(to_train.folder, known)
        learned_from = to_train.finish(part="train", **facts)
    made.append(train)
    return learned_from, held_out


def _digest(dataset: Dataset, hashes: TableHashes) -> RowDigest:
    digest = RowDigest(dataset.columns)
    digest.add(RowHashes(hashes.rows, hashes.second))
    return digest


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
    drawn: Drawn,
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


def _boundary(column: ProfiledColumn | None) -> datetime | None:
    """Return the first time in the holdout; a numeric time has none."""
    return column.profile.earliest if column is not None else None
