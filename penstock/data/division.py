"""A split carried out: rows are drawn, both parts written, and every claim proved from them."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from penstock.data.digest import CellHasher, plus
from penstock.data.drawing import Facts, Method, draw, filtered, scan
from penstock.data.spec import SplitSpec
from penstock.data.table import write_dataset
from penstock.errors import InputError, IntegrityError
from penstock.records.dataset import Dataset, ProfiledColumn, Split
from penstock.records.model import Task


def divide(
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
    """Draw, write and prove; see `penstock.data.split.split`."""
    facts = scan(folder, dataset, target=target, column=spec.column)
    if facts.content != dataset.content:
        raise IntegrityError(
            f"the rows have digest {facts.content}, the record says {dataset.content}",
            where=str(folder),
            remedy="The data was changed after it was written: ingest it again.",
        )
    held = draw(facts, spec, method)
    _check_classes(dataset, facts, held, target=target, task=task)
    with _removed_on_error() as made:
        parts = _write(folder, dataset, held, made, train=train, holdout=holdout)
        return _prove(facts, spec, method, parts, train=train, holdout=holdout, target=target)


def _check_classes(
    dataset: Dataset,
    facts: Facts,
    held: npt.NDArray[np.bool_],
    *,
    target: str,
    task: Task,
) -> None:
    """Refuse a part that cannot be learnt from or judged on."""
    if task == "regression":
        return
    train, holdout = np.unique(facts.labels[~held]), np.unique(facts.labels[held])
    names = _label_names(dataset, target)
    for part, labels in (("training part", train), ("holdout", holdout)):
        if len(labels) < 2:
            only = names.get(int(labels[0]), "?") if len(labels) else "none"
            raise InputError(
                f"the {part} would hold one class only ({only})",
                where=f"target {target!r}",
                remedy="Use split.method: stratified, another share, or bring more rows of the "
                "rarer class.",
            )
    unseen = np.setdiff1d(holdout, train)
    if len(unseen):
        raise InputError(
            f"the class {names.get(int(unseen[0]), '?')} would be in the holdout alone, where no "
            "model can know it",
            where=f"target {target!r}",
            remedy="Use split.method: stratified, another share, or bring more rows of this class.",
        )


def _label_names(dataset: Dataset, target: str) -> dict[int, str]:
    """Return the texts of the commonest labels by their hashes."""
    import pyarrow as pa

    from penstock.data.storage import arrow_type

    column = dataset.column(target)
    if column is None:
        return {}
    texts = [level.value for level in column.profile.top]
    values = pa.array(texts, pa.string())
    if column.type != "string":
        values = values.cast(arrow_type(column.type))
    return dict(zip(CellHasher(column).hashes(values).tolist(), map(repr, texts), strict=True))


def _write(
    folder: Path,
    dataset: Dataset,
    held: npt.NDArray[np.bool_],
    made: list[Path],
    *,
    train: Path,
    holdout: Path,
) -> tuple[Dataset, Dataset]:
    parts: tuple[tuple[Path, Literal["train", "holdout"], npt.NDArray[np.bool_]], ...] = (
        (train, "train", ~held),
        (holdout, "holdout", held),
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


def _prove(
    whole: Facts,
    spec: SplitSpec,
    method: Method,
    parts: tuple[Dataset, Dataset],
    *,
    train: Path,
    holdout: Path,
    target: str,
) -> Split:
    """Read both parts back and establish every claim of the record from them."""
    column = spec.column if method in ("time", "group") else ""
    left = scan(train, parts[0], target=target, column=column)
    right = scan(holdout, parts[1], target=target, column=column)
    for facts, part, path in ((left, parts[0], train), (right, parts[1], holdout)):
        _require(facts.content == part.content, "the rows read back are not the rows written", path)
    _require(
        plus(left.sums, right.sums) == whole.sums
        and len(left.rows) + len(right.rows) == len(whole.rows),
        "the two parts together are not the whole dataset",
        holdout,
    )
    both = len(np.intersect1d(left.rows, right.rows))
    groups = len(np.intersect1d(left.keys, right.keys)) if column else 0
    _require(method == "time" or both == 0, f"{both:,} rows are on both sides", holdout)
    _require(groups == 0, f"{groups:,} values of {column!r} are on both sides", holdout)
    if method == "time":
        _require(left.times.max() < right.times.min(), "the holdout is not the newest", holdout)
    return Split(
        method=method,
        column=column,
        seed=spec.seed,
        parent=parts[0].parent or "",
        train=parts[0].content,
        holdout=parts[1].content,
        train_rows=len(left.rows),
        holdout_rows=len(right.rows),
        duplicate_rows=len(whole.rows) - len(np.unique(whole.rows)),
        rows_in_both=both,
        groups_in_both=groups,
        boundary=_boundary(parts[1].column(column)) if method == "time" else None,
    )


def _require(proved: bool, otherwise: str, where: Path) -> None:
    if not proved:
        raise IntegrityError(
            f"the split failed its proof: {otherwise}",
            where=str(where),
            remedy="Run it again; if it persists, the disk or this program is at fault.",
        )


def _boundary(column: ProfiledColumn | None) -> datetime | None:
    """Return the first time in the holdout; a numeric time has none."""
    return column.profile.earliest if column is not None else None
